"""What the tests of links use: a link in this process, what it dials, and its dialers."""

import asyncio
import contextlib
import socket
import struct

from harness import events as ev
from harness.addresses import family_of, place
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
    """A link in this process, what it dials, and its dialers; between unix sockets where a directory is given."""

    def __init__(self, directory=None):
        self.recorder = Kept()
        self.events = self.recorder.events
        self.loop = asyncio.get_running_loop()
        self.resets = ResetWatch(self.loop)
        self.listener = listener() if directory is None else unix_listener(directory / "target.sock")
        self.target = self.listener.getsockname() if directory is None else (str(directory / "target.sock"), 0)
        front = free_address() if directory is None else (str(directory / "front.sock"), 0)
        self.front = Front("a->b", [front], self.target, self.resets, self.recorder)
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
        return await self.dial_at(self.front.addresses[0])

    async def dial_at(self, address):
        sock = socket.socket(family_of(address))
        sock.setblocking(False)
        side = Side(sock)
        self.sides.append(side)
        await self.loop.sock_connect(sock, place(tuple(address)))
        return side

    async def pair(self):
        return await self.pair_at(self.front.addresses[0])

    async def pair_at(self, address):
        """Return two ends; of a connection without the link when ``address`` is the target's own."""
        dialer = await self.dial_at(address)
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


def unix_listener(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen(100)
    sock.setblocking(False)
    return sock


def free_address():
    with listener() as sock:
        return sock.getsockname()
