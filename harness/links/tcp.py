"""One TCP connection through a link: two pumps over plain non-blocking sockets, which pass FIN as FIN and RST as RST.

Nothing is buffered here but the one chunk that the sink did not take: a reader who stops makes the sender block.
Callbacks on the loop rather than streams: a link may add no more than a millisecond, on a machine that is busy.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import struct
from collections.abc import Callable
from typing import Literal

End = Literal["dialer", "target", "link"]
"""Who did it: an end of the connection, or the link on our own orders."""
CHUNK_BYTES = 65_536
_buffer = memoryview(bytearray(CHUNK_BYTES))  # one for all: a chunk is passed on before the next callback runs
_LINGER_NONE = struct.pack("ii", 1, 0)


def close_with_reset(sock: socket.socket) -> None:
    """Close with RST instead of FIN; what was not yet delivered is thrown away."""
    with contextlib.suppress(OSError):  # it may be reset already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
    sock.close()


class ResetWatch:
    """Notices a reset at once, also on a socket that nobody reads from or writes to for the moment.

    The loop's selector only reports errors on sockets it reads or writes. epoll itself reports them on every socket
    it knows; this second one knows them for nothing else, and the loop reads it like a file.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hang it into the loop."""
        self._loop = loop
        self._epoll = select.epoll()
        self._calls: dict[int, Callable[[], None]] = {}
        loop.add_reader(self._epoll.fileno(), self._look)

    def add(self, sock: socket.socket, call: Callable[[], None]) -> None:
        """Call ``call`` when ``sock`` has an error pending."""
        self._calls[sock.fileno()] = call
        self._epoll.register(sock, select.EPOLLET)  # edges: a hang-up after both FINs would be reported for ever

    def drop(self, sock: socket.socket) -> None:
        """Forget a socket; before it is closed. Dropping twice is fine."""
        if self._calls.pop(sock.fileno(), None) is not None:
            self._epoll.unregister(sock)

    def close(self) -> None:
        """Take it out of the loop."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _look(self) -> None:
        for fd, events in self._epoll.poll(0):
            if events & select.EPOLLERR and fd in self._calls:
                self._calls[fd]()


class Pump:
    """One direction of a connection: what is read from ``source`` is written to ``sink``."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, source: socket.socket, sink: socket.socket, *,
        finished: Callable[[], None], source_broke: Callable[[], None], sink_broke: Callable[[], None],
    ) -> None:  # fmt: skip
        """Describe it; ``run`` starts. One of the three is called, once, when it has come to its end."""
        self._loop, self._source, self._sink = loop, source, sink
        self._finished, self._source_broke, self._sink_broke = finished, source_broke, sink_broke
        self._kept = b""
        self.carried_bytes = 0
        self.is_finished = False
        """True once the source's FIN was passed on."""

    def run(self) -> None:
        """Begin to read."""
        self._loop.add_reader(self._source, self._readable)

    def halt(self) -> None:
        """Neither read nor write any more."""
        self._loop.remove_reader(self._source)
        self._loop.remove_writer(self._sink)

    def drain(self) -> None:
        """Hand on what had arrived when the source was reset, as far as the sink takes it at once."""
        if self._kept or self.is_finished:
            return
        with contextlib.suppress(OSError):
            while size := self._source.recv_into(_buffer):
                if self._send(_buffer[:size]) < size:
                    return

    def _readable(self) -> None:
        try:
            size = self._source.recv_into(_buffer)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._source_broke()
            return
        try:
            if size:
                self._pass_on(_buffer[:size])
            else:
                self._loop.remove_reader(self._source)
                self._sink.shutdown(socket.SHUT_WR)
        except OSError:
            self._sink_broke()
            return
        if not size:
            self.is_finished = True
            self._finished()

    def _pass_on(self, chunk: memoryview) -> None:
        """Every chunk comes through here: the place to look at one, or to hold it back."""
        sent = self._send(chunk)
        if sent < len(chunk):
            self._kept = bytes(chunk[sent:])
            self._loop.remove_reader(self._source)
            self._loop.add_writer(self._sink, self._writable)

    def _writable(self) -> None:
        try:
            self._kept = self._kept[self._send(memoryview(self._kept)) :]
        except OSError:
            self._sink_broke()
            return
        if not self._kept:
            self._loop.remove_writer(self._sink)
            self._loop.add_reader(self._source, self._readable)

    def _send(self, chunk: memoryview) -> int:
        try:
            sent = self._sink.send(chunk)
        except (BlockingIOError, InterruptedError):
            return 0
        self.carried_bytes += sent
        return sent


class Connection:
    """A dialer's connection and ours to the target, as one."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, resets: ResetWatch, dialer: socket.socket, target: socket.socket, *,
        number: int, ended: Callable[[Connection, str, End], None],
    ) -> None:  # fmt: skip
        """Take over two connected (the target: connecting) non-blocking sockets; ``run`` starts the pumps.

        ``ended(connection, how, first)`` is called once: ``how`` is fin, reset or vanished.
        """
        self.number = number
        self._resets, self._ended = resets, ended
        self.dialer, self.target = dialer, target
        self.to_target = Pump(
            loop, dialer, target, finished=lambda: self._half_done("dialer"),
            source_broke=lambda: self.reset("dialer"), sink_broke=lambda: self.reset("target"),
        )  # fmt: skip
        self.to_dialer = Pump(
            loop, target, dialer, finished=lambda: self._half_done("target"),
            source_broke=lambda: self.reset("target"), sink_broke=lambda: self.reset("dialer"),
        )  # fmt: skip
        self._first: End | None = None
        self._is_over = False
        resets.add(dialer, lambda: self.reset("dialer"))

    def run(self) -> None:
        """Begin to relay: the target is connected."""
        self._resets.add(self.target, lambda: self.reset("target"))
        self.to_target.run()
        self.to_dialer.run()

    def reset(self, first: End) -> None:
        """End it with RST at both sides, because ``first`` did."""
        if self._is_over:
            return
        if first == "dialer":
            self.to_target.drain()
        elif first == "target":
            self.to_dialer.drain()
        self._let_go()
        close_with_reset(self.dialer)
        close_with_reset(self.target)
        self._ended(self, "reset", first)

    def silence(self) -> None:
        """Never read, write or close again until ``release``: the ends see what they see of a host without power."""
        self._let_go()
        self._ended(self, "vanished", "link")

    def release(self) -> None:
        """Reset both sides of a silent connection."""
        close_with_reset(self.dialer)
        close_with_reset(self.target)

    def _half_done(self, end: End) -> None:
        self._first = self._first or end
        if self.to_target.is_finished and self.to_dialer.is_finished:
            self._let_go()
            self.dialer.close()
            self.target.close()
            self._ended(self, "fin", self._first)

    def _let_go(self) -> None:
        self._is_over = True
        self.to_target.halt()
        self.to_dialer.halt()
        self._resets.drop(self.dialer)
        self._resets.drop(self.target)
