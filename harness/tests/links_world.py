"""What the tests of links use: a link in this process, what it dials, and its dialers."""

import asyncio
import contextlib
import socket
import struct

from harness import events as ev
from harness.history import Recorder
from harness.links.front import Front
from harness.links.tcp import ResetWatch
from harness.waiting import NotYet, until

HOST = "127.0.0.1"


class Side:
    """One end of a connection, as the test holds it."""

    def __init__(self, sock):
        self.sock = sock
        sock.setblocking(False)
        self.loop = asyncio.get_running_loop()

    async def send(self, data):
        await asyncio.wait_for(self.loop.sock_sendall(self.sock, data), 5)

    async def get(self, limit=65536, within_s=2.0):
        return await asyncio.wait_for(self.loop.sock_recv(self.sock, limit), within_s)

    async def get_all(self):
        found = bytearray()
        while chunk := await self.get():
            found += chunk
        return bytes(found)

    def finish(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def fill(self):
        """Send until the kernel takes no more; return how much it took."""
        total = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                total += self.sock.send(bytes(65536))
        return total


class Kept(Recorder):
    """Keeps what is recorded, in a list."""

    def __init__(self):
        self.events: list[ev.Event] = []
        self.heard = []

    def emit(self, event, *, t_ns=None):
        self.events.append(event)

    def frames(self, hop, speaker, index, flags=0, *, t_ns=None):
        self.heard.append((hop, speaker, index, flags, t_ns))


class Bench:
    """A link in this process, what it dials, and its dialers."""

    def __init__(self):
        self.recorder = Kept()
        self.events = self.recorder.events
        self.loop = asyncio.get_running_loop()
        self.resets = ResetWatch(self.loop)
        self.listener = listener()
        self.target = self.listener.getsockname()
        self.front = Front("a->b", [free_address()], self.target, self.resets, self.recorder)
        self.front.listen()
        self.sides = []

    def close(self):
        self.front.close()
        self.front.reset()
        self.front.release()
        self.resets.close()
        self.listener.close()
        for side in self.sides:
            side.sock.close()

    async def dial(self):
        sock = socket.socket()
        sock.setblocking(False)
        side = Side(sock)
        self.sides.append(side)
        await self.loop.sock_connect(sock, tuple(self.front.addresses[0]))
        return side

    async def pair(self):
        dialer = await self.dial()
        sock, _ = await asyncio.wait_for(self.loop.sock_accept(self.listener), 2)
        self.sides.append(Side(sock))
        return dialer, self.sides[-1]

    async def event(self, kind):
        def probe():
            found = [event for event in self.events if isinstance(event, kind)]
            return found[-1] if found else NotYet(f"{self.events}")

        return await until(probe, what=kind.__name__, within_s=2)


def listener(address=(HOST, 0)):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(address)
    sock.listen(4096)  # a full backlog makes the kernel drop and retransmit after a second
    sock.setblocking(False)
    return sock


def free_address():
    with listener() as sock:
        return sock.getsockname()
