"""One direction of a connection: bytes from a source to a sink, read along, held at a moment, shaped, or stopped.

Nothing is buffered but what a sink did not take at once, what a trigger keeps back, and what a delay has on its way
(never more than a kernel's buffer): a reader who stops makes the sender block.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections import deque
from collections.abc import Callable
from typing import Literal

from harness.clock import now_ns
from harness.links.kernel import undelivered_bytes
from harness.links.reading import Said, Way
from harness.links.shaping import Shape, Shaping
from harness.links.triggers import KEPT_BYTES, Listener, Trigger

CHUNK_BYTES = 65_536
_buffer = memoryview(bytearray(CHUNK_BYTES))  # one for all: a chunk is passed on before the next callback runs
UNDELIVERED_LOOK_S = 0.001
"""A cut behind exactly so many bytes waits until the other end's kernel has them all; nothing tells but a look."""
Stop = Literal["full", "held", "shaped", "stalled", "hole", "reset"]
"""Why a source is not read: the sink is full, a trigger holds, a shaper is full, a fault of ours, its own reset."""


class Pump:
    """One direction of a connection."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, way: Way, source: socket.socket, sink: socket.socket, listener: Listener,
        *, finished: Callable[[], None], source_broke: Callable[[], None], sink_broke: Callable[[], None],
    ) -> None:  # fmt: skip
        """Describe it; ``run`` starts. One of the three is called, once, when it has come to its end."""
        self._loop, self.way, self.source, self._sink, self._listener = loop, way, source, sink, listener
        self._finished, self._source_broke, self._sink_broke = finished, source_broke, sink_broke
        self._kept = b""
        """What the sink did not take."""
        self._pending = bytearray()
        """What was read and not yet released, for the sake of triggers."""
        self._unweighed: deque[Said] = deque()
        self._due: deque[tuple[Trigger, Said]] = deque()
        """Triggers that have yet to act on what was said last."""
        self._behind: Callable[[], None] | None = None
        """The source's reset, which waits behind what is held."""
        self._stops: set[Stop] = set()
        self._is_running = self._is_reading = False
        self._source_ended = False
        self.shaper: Shaping | None = None
        self._when_shaped: Callable[[], None] | None = None
        self._is_end_marked = self._throws_away = False
        self._left_bytes: int | None = None
        self._when_counted: Callable[[], Callable[[], None]] | None = None
        self._when_cut: Callable[[], None] = lambda: None
        self.read_bytes = 0
        self.carried_bytes = 0
        self.is_finished = False
        """True once a FIN was passed on: the source's, or ours."""

    # -- running -----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Begin to read."""
        self._is_running = True
        self._look_again()

    def halt(self) -> None:
        """Neither read nor write any more."""
        self._is_running = False
        self._look_again()
        self._loop.remove_writer(self._sink)
        if self.shaper is not None:
            self.shaper.close(flush=False)
            self.shaper = None

    def stop(self, why: Stop) -> None:
        """Do not read, for one more reason."""
        self._stops.add(why)
        self._look_again()
        if why == "hole" and self._kept:
            self._loop.remove_writer(self._sink)

    def go(self, why: Stop) -> None:
        """Read again, when there is no other reason not to."""
        self._stops.discard(why)
        if why == "hole" and self._kept and self._is_running:
            self._loop.add_writer(self._sink, self._writable)
        self._look_again()

    @property
    def is_done(self) -> bool:
        """Tell whether its end was passed on, and the source has nothing more to say."""
        return self.is_finished and self._source_ended

    def is_stopped(self, why: Stop) -> bool:
        """Tell whether this is a reason not to read."""
        return why in self._stops

    def _look_again(self) -> None:
        want = self._is_running and not self._stops and not self._source_ended
        if want and not self._is_reading:
            self._loop.add_reader(self.source, self._readable)
        elif self._is_reading and not want:
            self._loop.remove_reader(self.source)
        self._is_reading = want

    def drain(self) -> None:
        """Hand on what had arrived when the source was reset, as far as the sink takes it at once."""
        if self._kept or self._pending or self.is_finished or self._left_bytes is not None:
            return
        with contextlib.suppress(OSError):
            while size := self.source.recv_into(_buffer):
                if self.shaper is not None:
                    self.shaper.put(bytes(_buffer[:size]))
                elif self._send(_buffer[:size]) < size:
                    return

    # -- reading -----------------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        room = CHUNK_BYTES if self.shaper is None else max(1, self.shaper.room())
        try:
            size = self.source.recv_into(_buffer, min(room, CHUNK_BYTES))
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._source_broke()
            return
        try:
            if self._throws_away:
                self._throw_away(size)
            elif size:
                self._take(_buffer[:size])
            else:
                self._take_end()
        except OSError:
            self._sink_broke()

    def _take(self, chunk: memoryview) -> None:
        """Every chunk comes through here. It is read along behind its back, unless a trigger wants to see it first."""
        talk = self._listener.conversation
        t_ns = now_ns()
        self.read_bytes += len(chunk)
        if not self._listener.triggers and not self._pending:
            data = bytes(chunk) if talk is not None and not talk.unreadable else b""
            self._release(chunk)
            if talk is not None and not talk.unreadable:
                self._listener.heard(talk.feed(self.way, data), t_ns)
            return
        data = bytes(chunk)
        self._pending += data
        said = talk.feed(self.way, data) if talk is not None else []
        self._listener.heard(said, t_ns)
        self._unweighed.extend(said)
        self._weigh()

    def _take_end(self) -> None:
        self._source_ended = True
        self._look_again()
        if self._listener.triggers:
            at = self.read_bytes
            self._unweighed.append(Said(self.way, "end", "fin", at, at))
        self._weigh()

    # -- holding -----------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Release what is only kept back for a trigger that is no longer armed."""
        try:
            self._weigh()
        except OSError:
            self._sink_broke()

    def _weigh(self) -> None:
        if not self._is_running:
            return
        while "held" not in self._stops and (self._due or self._unweighed):
            if not self._due:
                said = self._unweighed.popleft()
                self._due.extend((trigger, said) for trigger in self._listener.triggers.taking(said))
                continue
            trigger, said = self._due.popleft()
            if not trigger.is_armed:
                continue
            self._release_to(said.start if trigger.before else said.end)
            self._act(trigger, said)
            if not self._is_running:
                return  # it was cut
        if "held" not in self._stops:
            self._release_to(self._settled())
        self._finish()

    def _act(self, trigger: Trigger, said: Said) -> None:
        if trigger.act == "cut":
            trigger.fire(self._listener.number, said)
            self._cut_when_delivered()
            return
        if trigger.holds:
            self.stop("held")
            trigger.held.append(self._let_go)
        trigger.fire(self._listener.number, said)

    def _let_go(self, drop: bool) -> None:
        if not self._is_running:
            return  # the connection ended meanwhile, and what was held with it
        if drop:
            self._listener.cut()
            return
        self._stops.discard("held")
        try:
            self._weigh()
        except OSError:
            self._sink_broke()
            return
        if self._behind is not None and "held" not in self._stops:
            self._behind()
            return
        self._look_again()

    def keeps_behind(self, reset: Callable[[], None]) -> bool:
        """Keep the source's reset back behind what is held here; false when nothing is."""
        self._behind = reset if "held" in self._stops else None
        return self._behind is not None

    def _settled(self) -> int:
        talk = self._listener.conversation
        if talk is None or not self._listener.triggers or self._source_ended or len(self._pending) > KEPT_BYTES:
            return self.read_bytes
        return talk.settled(self.way)

    def _release_to(self, offset: int) -> None:
        """Let go on what lies before ``offset`` of this direction's bytes."""
        size = len(self._pending) - (self.read_bytes - offset)
        if size > 0:
            data = bytes(self._pending[:size])
            del self._pending[:size]
            self._release(memoryview(data))

    # -- writing -----------------------------------------------------------------------------------------------------

    def _release(self, chunk: memoryview) -> None:
        if self._left_bytes is not None:
            chunk = chunk[: self._left_bytes]
            self._left_bytes -= len(chunk)
        if self.shaper is None:
            self._write(chunk)
        else:
            self.shaper.put(bytes(chunk))
            if not self.shaper.room():
                self.stop("shaped")
        if self._left_bytes == 0 and self._when_counted is not None:
            self._when_cut = self._when_counted()
            self._cut_when_delivered()

    def _write(self, chunk: memoryview) -> None:
        """Send, and keep what the sink does not take.

        Raises:
            OSError: the sink broke.
        """
        if self._kept:
            self._kept += bytes(chunk)
            return
        sent = self._send(chunk)
        if sent < len(chunk):
            self._kept = bytes(chunk[sent:])
            self.stop("full")
            if "hole" not in self._stops:
                self._loop.add_writer(self._sink, self._writable)

    def _writable(self) -> None:
        try:
            self._kept = self._kept[self._send(memoryview(self._kept)) :]
            if not self._kept:
                self._loop.remove_writer(self._sink)
                self.go("full")
                self._finish()
        except OSError:
            self._sink_broke()

    def _send(self, chunk: memoryview) -> int:
        try:
            sent = self._sink.send(chunk) if "hole" not in self._stops else 0
        except (BlockingIOError, InterruptedError):
            return 0
        self.carried_bytes += sent
        return sent

    def _finish(self) -> None:
        """Pass the end on, once everything before it has gone."""
        if self.is_finished or not (self._source_ended or self._throws_away):
            return
        if self._kept or self._pending or self._stops & {"held", "hole"}:
            return
        if self.shaper is not None and not self._is_end_marked:
            self._is_end_marked = True
            self.shaper.put(b"")
        if self.shaper is not None and not self.shaper.is_empty():
            return
        self.is_finished = True
        self._sink.shutdown(socket.SHUT_WR)
        self._finished()

    # -- faults ------------------------------------------------------------------------------------------------------

    def shape(self, shape: Shape, dice: random.Random) -> None:
        """Shape this direction from now on; a shape of nothing lets all go on at once that is on its way."""
        if self.shaper is not None and shape:
            self.shaper.reshape(shape)
        elif shape:
            self.shaper = Shaping(
                self._loop, shape, dice=dice, write=self._write_shaped, moved=self._shaped_moved,
                limit_bytes=self.source.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF),
            )  # fmt: skip
        elif self.shaper is not None:
            shaper, self.shaper = self.shaper, None
            shaper.close(flush=True)
            self._shaped_moved()

    def _write_shaped(self, data: bytes) -> None:
        try:
            self._write(memoryview(data))
        except OSError:
            self._sink_broke()

    def _shaped_moved(self) -> None:
        if not self._is_running:
            return
        if self._when_shaped is not None and (self.shaper is None or self.shaper.is_empty()):
            call, self._when_shaped = self._when_shaped, None
            call()
            return
        if self.shaper is None or self.shaper.room():
            self.go("shaped")
        try:
            self._finish()
        except OSError:
            self._sink_broke()

    def reset_later(self, call: Callable[[], None]) -> bool:
        """Call when all that is on its way is there: the reset of a delayed source travels as its bytes do.

        Returns false when nothing is shaped: then a reset is passed on at once.
        """
        if self.shaper is None or not self._is_running:
            return False
        self.stop("reset")
        self._when_shaped = call
        self.shaper.put(b"")
        return True

    def half_close(self) -> bool:
        """Send a FIN to the sink though the source sent none; what it says from now on is read and thrown away.

        Returns false when a FIN was sent already.
        """
        if self.is_finished or self._source_ended or self._throws_away:
            return False
        self._unweighed.clear()
        try:
            self._release_to(self.read_bytes)
            self._throws_away = True
            self._finish()
        except OSError:
            self._sink_broke()
        return True

    def _throw_away(self, size: int) -> None:
        self.read_bytes += size
        if not size:
            self._source_ended = True
            self._look_again()
            self._finish()
            if self.is_finished:
                self._finished()

    def cut_after(self, left_bytes: int | None, counted: Callable[[], Callable[[], None]] | None = None) -> None:
        """Reset the connection when so many bytes more have arrived at the sink, not one more; None: do not.

        ``counted`` is called when the last of them is read, and returns what is called when it is reset.
        """
        if self._when_counted is None or "held" not in self._stops:  # else it is the one that is being cut
            self._left_bytes, self._when_counted = left_bytes, counted

    def _cut_when_delivered(self) -> None:
        self.stop("held")
        if not self._is_running:
            return
        is_on_its_way = bool(self._kept) or (self.shaper is not None and not self.shaper.is_empty())
        if is_on_its_way or undelivered_bytes(self._sink):
            self._loop.call_later(UNDELIVERED_LOOK_S, self._cut_when_delivered)
            return
        self._listener.cut()
        self._when_cut()
