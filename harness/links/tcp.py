"""One TCP connection through a link: two pumps over plain non-blocking sockets, which pass FIN as FIN and RST as RST.

Callbacks on the loop rather than streams: a link may add no more than a millisecond, on a machine that is busy.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import struct
from collections.abc import Callable
from typing import Literal, Protocol

from harness.links.kernel import waiting_bytes
from harness.links.pump import Pump
from harness.links.reading import Conversation, Said, Way
from harness.links.triggers import Triggers

End = Literal["dialer", "target", "link"]
"""Who did it: an end of the connection, or the link on our own orders."""
_LINGER_NONE = struct.pack("ii", 1, 0)


def close_with_reset(sock: socket.socket) -> None:
    """Close with RST instead of FIN; what was not yet delivered is thrown away. A unix socket knows no RST."""
    with contextlib.suppress(OSError):  # it may be reset already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
    sock.close()


def _way_from(end: End) -> Way:
    return "to-target" if end == "dialer" else "to-dialer"


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
        """Call ``call``, and no other any more, when ``sock`` has an error pending."""
        is_known = sock.fileno() in self._calls
        self._calls[sock.fileno()] = call
        register = self._epoll.modify if is_known else self._epoll.register
        register(sock, select.EPOLLET)  # edges: a hang-up after both FINs would be reported for ever

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


class Owner(Protocol):
    """The link a connection belongs to."""

    triggers: Triggers

    def ended(self, connection: Connection, how: str, first: End) -> None:
        """Take note of its end, told once: ``how`` is fin, reset or vanished."""
        ...

    def heard(self, connection: Connection, said: list[Said], t_ns: int) -> None:
        """Write down what its reader understood of bytes that came at ``t_ns``."""
        ...

    def is_hole(self, way: Way) -> bool:
        """Tell whether nothing of a direction comes through."""
        ...


class Connection:
    """A dialer's connection and ours to the target, as one."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, resets: ResetWatch, dialer: socket.socket, target: socket.socket, *,
        number: int, owner: Owner, conversation: Conversation | None,
    ) -> None:  # fmt: skip
        """Take over two connected (the target: connecting) non-blocking sockets; ``run`` starts the pumps."""
        self.number = number
        self.conversation = conversation
        self._resets, self._owner = resets, owner
        self.dialer, self.target = dialer, target
        self.to_target = Pump(
            loop, "to-target", dialer, target, self, finished=lambda: self._half_done("dialer"),
            source_broke=lambda: self.reset("dialer"), sink_broke=lambda: self.reset("target"),
        )  # fmt: skip
        self.to_dialer = Pump(
            loop, "to-dialer", target, dialer, self, finished=lambda: self._half_done("target"),
            source_broke=lambda: self.reset("target"), sink_broke=lambda: self.reset("dialer"),
        )  # fmt: skip
        self._first: End | None = None
        self.waiting_reset: End | None = None
        """Who reset it, while a hole keeps that from the other end."""
        self._resetting: End | None = None
        """Who reset it, while what came before is passed on."""
        self.stalled_bytes: dict[Way, int] = {"to-target": 0, "to-dialer": 0}
        """What had waited in a stalled direction when the connection was reset."""
        self.is_over = False
        self._is_running = False
        self._watch(dialer, "dialer", "to-target")

    @property
    def triggers(self) -> Triggers:
        """The link's."""
        return self._owner.triggers

    def pump(self, way: Way) -> Pump:
        """Return one direction."""
        return self.to_target if way == "to-target" else self.to_dialer

    def heard(self, said: list[Said], t_ns: int) -> None:
        """Hand on what the reader understood."""
        self._owner.heard(self, said, t_ns)

    def cut(self) -> None:
        """Reset it on our own orders."""
        self.reset("link")

    def run(self) -> None:
        """Begin to relay: the target is connected."""
        if self.is_over:
            return
        self._is_running = True
        self._watch(self.target, "target", "to-dialer")
        self.to_target.run()
        self.to_dialer.run()

    def settle(self) -> None:
        """Let go on what was kept back for a trigger that is no longer armed."""
        for pump in (self.to_target, self.to_dialer):
            pump.settle()

    def open_hole(self, way: Way) -> None:
        """Let nothing of a direction through any more, its end included, until ``close_hole``."""
        source = self.pump(way).source
        self._resets.drop(source)
        self.pump(way).stop("hole")

    def close_hole(self, way: Way) -> None:
        """Let go on what waits."""
        if self.is_over:
            return
        first = self.waiting_reset
        if first is not None and not self._owner.is_hole(_way_from(first)):
            self.waiting_reset = None
            self.pump(_way_from(first)).go("hole")  # what came before the reset goes on before it
            self.reset(first)
            return
        if way == "to-target" or self._is_running:
            self._watch(self.pump(way).source, "dialer" if way == "to-target" else "target", way)
        self.pump(way).go("hole")

    def reset(self, first: End) -> None:
        """End it with RST at both sides, because ``first`` did; a trigger may hold that back, a delay make it late."""
        if self.is_over or (first != "link" and first == self._resetting):
            return
        for pump in (self.to_target, self.to_dialer):
            self.stalled_bytes[pump.way] = waiting_bytes(pump.source) if pump.is_stopped("stalled") else 0
        if first == "link" or self._resetting is not None:  # by both ends now: there is nobody to tell it late
            self._really_reset(first)
        elif self._owner.is_hole(_way_from(first)):
            self._wait_with_reset(first)
        else:
            self._resetting = first
            self.pump(_way_from(first)).break_off(lambda: self._pass_reset(first))
            if not self.is_over:
                self.pump(_way_from("target" if first == "dialer" else "dialer")).stop("reset")

    def _pass_reset(self, first: End) -> None:
        if self._owner.is_hole(_way_from(first)):  # which was opened while the reset was on its way
            self._wait_with_reset(first)
        else:
            self._really_reset(first)

    def _wait_with_reset(self, first: End) -> None:
        self.waiting_reset, self._resetting = first, None
        for pump in (self.to_target, self.to_dialer):
            pump.stop("reset")

    def half_close(self, towards: Literal["target", "dialer"]) -> bool:
        """Send a FIN to one end though the other did not; false when it has had one."""
        self._first = self._first or "link"
        return self.pump("to-target" if towards == "target" else "to-dialer").half_close()

    def _really_reset(self, first: End) -> None:
        if self.is_over:
            return
        self._let_go()
        close_with_reset(self.dialer)
        close_with_reset(self.target)
        self._owner.ended(self, "reset", first)

    def silence(self) -> None:
        """Never read, write or close again until ``release``: the ends see what they see of a host without power."""
        self._let_go()
        self._owner.ended(self, "vanished", "link")

    def release(self) -> None:
        """Reset both sides of a silent connection."""
        close_with_reset(self.dialer)
        close_with_reset(self.target)

    def _watch(self, sock: socket.socket, end: End, way: Way) -> None:
        if not self._owner.is_hole(way):
            self._resets.add(sock, lambda: self.reset(end))

    def _half_done(self, end: End) -> None:
        self._first = self._first or end
        if self.to_target.is_done and self.to_dialer.is_done and not self.is_over:
            self._let_go()
            self.dialer.close()
            self.target.close()
            self._owner.ended(self, "fin", self._first)

    def _let_go(self) -> None:
        self.is_over = True
        self.to_target.halt()
        self.to_dialer.halt()
        self._resets.drop(self.dialer)
        self._resets.drop(self.target)
