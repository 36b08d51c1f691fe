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
from dataclasses import dataclass

from harness.clock import now_ns
from harness.links.flow import Flow
from harness.links.kernel import undelivered_bytes
from harness.links.reading import Said, Way
from harness.links.shaping import Shape, Shaping
from harness.links.triggers import KEPT_BYTES, Listener, Trigger

CHUNK_BYTES = 65_536
_buffer = memoryview(bytearray(CHUNK_BYTES))  # one for all: a chunk is passed on before the next callback runs
LOOK_S = 0.001
"""A cut behind exactly so many bytes waits until the other end's kernel has them all; nothing tells but a look."""
SLOWEST_LOOK_S = 0.05
TAKES_NOTHING_S = 10.0
"""An end that takes nothing for so long does not get to the cut: it goes on uncut, or is cut and nobody told so."""
PATIENCE_S = 0.25
"""What is not complete so long after its first byte goes on, for its sender may wait for something behind it.

Only what was complete in time is stopped whole; of the other a trigger that fires before it stops the rest.
"""


@dataclass(frozen=True)
class Cut:
    """A reset of ours that waits until all before it has arrived; one of the two is called."""

    done: Callable[[], None]
    missed: Callable[[], None]
    is_wanted: Callable[[], bool] = lambda: True


class Pump(Flow):
    """One direction of a connection."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, way: Way, source: socket.socket, sink: socket.socket, listener: Listener,
        *, finished: Callable[[], None], source_broke: Callable[[], None], sink_broke: Callable[[], None],
    ) -> None:  # fmt: skip
        """Describe it; ``run`` starts. One of the three is called, once, when it has come to its end."""
        super().__init__(loop, way, source, sink, sink_broke)
        self._listener, self._finished, self._source_broke = listener, finished, source_broke
        self._pending = bytearray()
        """What was read and not yet released, for the sake of triggers."""
        self._unweighed: deque[Said] = deque()
        self._due: deque[tuple[Trigger, Said]] = deque()
        """Triggers that have yet to act on what was said last."""
        self._patience: asyncio.TimerHandle | None = None
        self._patient_at = -1
        """Offset of the byte that is waited behind."""
        self._reset: Callable[[], None] | None = None
        """Passes the source's reset on, which waits behind what came before it."""
        self._is_broken = False
        """Whether the reset is all there is left to pass on."""
        self._when_shaped: Callable[[], None] | None = None
        self._is_end_marked = self._throws_away = False
        self._left_bytes: int | None = None
        self._when_counted: Callable[[], Callable[[], None]] | None = None
        self._cut: Cut | None = None
        self.read_bytes = 0

    def halt(self) -> None:
        """Neither read nor write any more; moments that it was still to act on are any other connection's."""
        super().halt()
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        for trigger, _said in self._due:
            trigger.give_back()
        self._due.clear()
        if self._cut is not None:
            self._cut.missed()
            self._cut = None

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
        self._say_end("fin")
        self._weigh()

    def _say_end(self, how: str) -> None:
        if self._listener.triggers:
            self._unweighed.append(Said(self.way, "end", how, self.read_bytes, self.read_bytes))

    def break_off(self, reset: Callable[[], None]) -> None:
        """Call ``reset`` once what had come before the source's reset has gone on, as far as the sink takes it.

        It goes the way of all bytes: read along, held by triggers, delayed; the reset is itself a moment.
        """
        self._reset = reset
        self.stop("reset")
        if self._is_running and not self.is_finished:
            self._drain()
        else:
            reset()

    def _drain(self) -> None:
        if "held" in self._stops:
            return  # it goes on when that is let go
        with contextlib.suppress(OSError):
            while not (self._is_broken or self._kept or self._throws_away) and (size := self.source.recv_into(_buffer)):
                self._take(_buffer[:size])
                if "held" in self._stops or not self._is_running:
                    return
        with contextlib.suppress(OSError):  # of a sink that broke as well
            if not self._is_broken:
                self._is_broken = True
                self._say_end("reset")
            self._weigh()
        reset = self._reset
        if "held" in self._stops or not self._is_running or reset is None:
            return
        if self.shaper is None:
            reset()
        elif self._when_shaped is None:
            self._when_shaped = reset
            self.shaper.put(b"")

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
            self._be_patient()
        self._finish()

    def _be_patient(self) -> None:
        """Keep back what is not complete, but not for ever."""
        at = self.read_bytes - len(self._pending)
        if self._patience is not None and (not self._pending or at != self._patient_at):
            self._patience.cancel()
            self._patience = None
        if self._pending and self._patience is None:
            self._patient_at = at
            self._patience = self._loop.call_later(PATIENCE_S, self._lose_patience)

    def _lose_patience(self) -> None:
        self._patience = None
        if not self._is_running or "held" in self._stops:
            return
        try:
            if not self._stops:  # else nothing can come behind it
                self._release_to(self.read_bytes)
            self._be_patient()
            self._finish()
        except OSError:
            self._sink_broke()

    def _act(self, trigger: Trigger, said: Said) -> None:
        if trigger.act == "cut":
            number = self._listener.number
            self._cut = Cut(lambda: trigger.fire(number, said), trigger.give_back, lambda: trigger.is_armed)
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
        if self._reset is not None:
            self._drain()
        else:
            self._look_again()

    def _settled(self) -> int:
        """Return up to where bytes need not be kept back: before what a trigger may want, if its beginning is here."""
        talk, triggers = self._listener.conversation, self._listener.triggers
        is_last = self._source_ended or self._is_broken or self._throws_away
        if talk is None or is_last or len(self._pending) > KEPT_BYTES or not triggers.awaits_any(self.way):
            return self.read_bytes
        gone = self.read_bytes - len(self._pending)
        settled = talk.settled(self.way, lambda kind, name: triggers.awaits(self.way, kind, name), gone)
        return settled if settled >= gone else self.read_bytes

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
            self._cut = Cut(done=self._when_counted(), missed=lambda: None)
            self._cut_when_delivered()

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

    def half_close(self) -> bool:
        """Send a FIN to the sink though the source sent none; what it says from now on is read and thrown away.

        What a trigger holds goes before it, when it is let go. Returns false when a FIN was sent already, or before
        there is a connection to the sink.
        """
        if self.is_finished or self._source_ended or self._throws_away or not self._is_running:
            return False
        self._throws_away = True
        try:
            self._weigh()
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

    def _cut_when_delivered(self, undelivered: int = -1, looks_s: float = 0.0, every_s: float = LOOK_S) -> None:
        """Cut once all before it has arrived; look ever less often, and give up on an end that takes nothing."""
        self.stop("held")
        cut = self._cut
        if not self._is_running or cut is None:
            return
        waits = len(self._kept) + undelivered_bytes(self._sink)
        if cut.is_wanted() and not waits and (self.shaper is None or self.shaper.is_empty()):
            self._cut = None
            self._listener.cut()
            cut.done()
            return
        is_stuck = waits == undelivered and "hole" not in self._stops
        looks_s, every_s = (looks_s + every_s, min(2 * every_s, SLOWEST_LOOK_S)) if is_stuck else (0.0, LOOK_S)
        if cut.is_wanted() and looks_s < TAKES_NOTHING_S:
            self._loop.call_later(every_s, self._cut_when_delivered, waits, looks_s, every_s)
            return
        self._cut = None
        cut.missed()
        self._let_go(drop=self._left_bytes == 0)  # what came behind the count is gone: it cannot go on
