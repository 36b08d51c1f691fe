"""Faults of a link, per direction: holes, stalls, shapes, half closes, cuts behind so many bytes; and their proofs.

They act on the connections that are open now and on those that come, until they are undone.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import FaultDidNotLand
from harness.links.kernel import has_ended, is_window_closed, waiting_bytes
from harness.links.reading import Way
from harness.links.shaping import Shape

if TYPE_CHECKING:
    from harness.links.front import Front
    from harness.links.tcp import Connection

WAYS: tuple[Way, Way] = ("to-target", "to-dialer")
Ways = Literal["to-target", "to-dialer", "both"]
"""The directions of a fault."""
Hurt = Literal["hole", "stalled"]
"""A reason of ours not to read."""
Part = Literal["delay", "rate"]
"""What of a shape is meant: two faults may shape a direction at once."""


def ways_of(word: str) -> tuple[Way, ...]:
    """Return the directions a word names.

    Raises:
        ValueError: it is no such word.
    """
    found = tuple(way for way in WAYS if word in {way, "both"})
    if not found:
        raise ValueError(f"expected to-target, to-dialer or both; seen {word!r}")
    return found


@dataclass
class Waited:
    """What a hole or a stall kept back: the proof that it mattered."""

    bytes: int = 0
    ends: int = 0
    """FIN or RST that waited."""
    dialers: int = 0
    windows: int = 0
    """Senders that were told to send nothing more."""
    connections: int = 0
    """Those that were open."""


@dataclass
class ByteCut:
    """The one connection that is to be reset behind so many bytes of one direction."""

    way: Way
    bytes: int
    done: asyncio.Future[int]
    """Ends with the number of the connection."""
    counting: list[Connection] = field(default_factory=list)


@dataclass
class Hurts:
    """What is done to a link for the moment."""

    stops: dict[Way, set[Hurt]] = field(default_factory=lambda: {way: set() for way in WAYS})
    shapes: dict[Way, Shape] = field(default_factory=lambda: {way: Shape() for way in WAYS})
    marks: dict[tuple[Way, Part], int] = field(default_factory=dict)
    """Bytes that had passed when a shape began."""
    before: dict[tuple[Hurt, Way, int], tuple[int, int]] = field(default_factory=dict)
    """Bytes and ends of a connection (by its number) that waited for something else when a hole or a stall began."""
    stalled_bytes: dict[Way, int] = field(default_factory=lambda: dict.fromkeys(WAYS, 0))
    """What had waited in connections that were reset while stalled."""
    seed: str = "0"
    cut: ByteCut | None = None

    def begin_stop(self, hurt: Hurt, way: Way, connection: Connection) -> None:
        """Remember what waits already, and not for this."""
        pump = connection.pump(way)
        waits = waiting_bytes(pump.source) if pump.is_stopped_beside(hurt) else 0
        ends = has_ended(pump.source) and (pump.has_read_end or pump.is_stopped_beside(hurt))
        if waits or ends:
            self.before[hurt, way, connection.number] = (waits, int(ends))

    def waited(self, hurt: Hurt, way: Way, connection: Connection) -> tuple[int, int]:
        """Return how many bytes and ends wait since it began; an end that was read before waits no more."""
        source = connection.pump(way).source
        waits, ends = self.before.pop((hurt, way, connection.number), (0, 0))
        return max(0, waiting_bytes(source) - waits), max(0, has_ended(source) - ends)

    def ended(self, connection: Connection) -> None:
        """Keep what waited in a connection that was reset while it was stalled."""
        for way in WAYS:
            count, _ = connection.stalled_bytes[way], self.before.pop(("hole", way, connection.number), None)
            waits, _ends = self.before.pop(("stalled", way, connection.number), (0, 0))
            self.stalled_bytes[way] += max(0, count - waits)

    def is_hole(self, way: Way) -> bool:
        """Tell whether nothing of a direction comes through."""
        return "hole" in self.stops[way]

    def accepts(self) -> bool:
        """Tell whether new dialers are let in: a hole in either direction lets no handshake through."""
        return not any(self.is_hole(way) for way in WAYS)

    def begin(self, link: str, connection: Connection) -> None:
        """Do to a new connection what is done to all."""
        for way in WAYS:
            for stop in self.stops[way]:
                connection.open_hole(way) if stop == "hole" else connection.pump(way).stop("stalled")
            if self.shapes[way]:
                self.shape_one(link, connection, way)
        if self.cut is not None:
            self.count_one(connection)

    def shape_one(self, link: str, connection: Connection, way: Way) -> None:
        """Shape a direction of one connection; its dice are its own."""
        dice = random.Random(f"{self.seed} {link} {way} {connection.number}")
        connection.pump(way).shape(self.shapes[way], dice)

    def count_one(self, connection: Connection) -> None:
        """Let a connection be the one that is cut, if it is the first to carry so many bytes."""
        cut = self.cut
        if cut is None:
            return

        def counted() -> Callable[[], None]:
            for other in cut.counting:
                if other is not connection:
                    other.pump(cut.way).cut_after(None)
            cut.counting.clear()
            self.cut = None
            return lambda: None if cut.done.done() else cut.done.set_result(connection.number)

        cut.counting.append(connection)
        connection.pump(cut.way).cut_after(cut.bytes, counted)


def hole(front: Front, request: dict[str, Any]) -> int:
    """Let nothing through: no bytes, no ends, no new dialers; return how many connections are open."""
    ways = ways_of(request["way"])
    _must_be_new(front, "a hole", [way for way in ways if "hole" in front.hurts.stops[way]])
    for way in ways:
        front.hurts.stops[way].add("hole")
        for connection in front.live():
            front.hurts.begin_stop("hole", way, connection)
            connection.open_hole(way)
    front.listen_or_not()
    return len(front.live())


def close_hole(front: Front, request: dict[str, Any]) -> dict[str, int]:
    """Let everything go on; return what waited for it."""
    ways = ways_of(request["way"])
    waited = Waited(dialers=front.waiting_dialers(), connections=len(front.live()))
    for connection in front.live():
        waited.ends += connection.waiting_reset is not None
        for way in ways:
            count, ends = front.hurts.waited("hole", way, connection)
            waited.bytes += count
            waited.ends += ends
    for way in ways:
        front.hurts.stops[way].discard("hole")
    for way in ways:
        for connection in front.live():
            connection.close_hole(way)
    front.listen_or_not()
    return asdict(waited)


def stall(front: Front, request: dict[str, Any]) -> int:
    """Read nothing of these directions; resets still pass. Return how many connections are open."""
    ways = ways_of(request["way"])
    _must_be_new(front, "a stall", [way for way in ways if "stalled" in front.hurts.stops[way]])
    for way in ways:
        front.hurts.stops[way].add("stalled")
        front.hurts.stalled_bytes[way] = 0
        for connection in front.live():
            front.hurts.begin_stop("stalled", way, connection)
            connection.pump(way).stop("stalled")
    return len(front.live())


def end_stall(front: Front, request: dict[str, Any]) -> dict[str, int]:
    """Read on; return what waited for it."""
    waited = Waited(connections=len(front.live()))
    for way in ways_of(request["way"]):
        front.hurts.stops[way].discard("stalled")
        waited.bytes += front.hurts.stalled_bytes[way]
        for connection in front.live():
            count, ends = front.hurts.waited("stalled", way, connection)
            waited.bytes += count
            waited.ends += ends
            waited.windows += bool(is_window_closed(connection.pump(way).source))
            connection.pump(way).go("stalled")
    return asdict(waited)


def shape(front: Front, request: dict[str, Any]) -> int:
    """Delay, or throttle; return how many connections are open."""
    part: Part = request["part"]
    ways = ways_of(request["way"])
    what = "a delay" if part == "delay" else "a rate"
    _must_be_new(front, what, [way for way in ways if (way, part) in front.hurts.marks])
    front.hurts.seed = str(request["seed"]) or front.hurts.seed
    for way in ways:
        front.hurts.marks[way, part] = front.carried_bytes(way)
        _reshape(front, way, replace(front.hurts.shapes[way], **request["values"]))
    return len(front.live())


def unshape(front: Front, request: dict[str, Any]) -> int:
    """Do so no more; return how many bytes have passed since."""
    part: Part = request["part"]
    passed = 0
    off: dict[str, float] = {"delay_ms": 0.0, "jitter_ms": 0.0} if part == "delay" else {"bytes_per_s": 0.0}
    for way in ways_of(request["way"]):
        _reshape(front, way, replace(front.hurts.shapes[way], **off))
        passed += front.carried_bytes(way) - front.hurts.marks.pop((way, part), 0)
    return passed


def _must_be_new(front: Front, what: str, held: list[Way]) -> None:
    """Refuse a fault that is held already: the heal of one would undo both, and neither could be proved.

    Raises:
        FaultDidNotLand: it is.
    """
    if held:
        raise FaultDidNotLand(f"{front.name}: {what} {' and '.join(held)} is already held; heal it before the next")


def _reshape(front: Front, way: Way, shape: Shape) -> None:
    front.hurts.shapes[way] = shape
    for connection in front.live():
        front.hurts.shape_one(front.name, connection, way)


def half_close(front: Front, request: dict[str, Any]) -> int:
    """Send a FIN to one end of every connection; return how many got one."""
    return sum(connection.half_close(request["towards"]) for connection in front.live())


async def cut_after(front: Front, request: dict[str, Any]) -> int:
    """Reset the first connection that carries so many bytes from now on, right behind the last; return its number."""
    (way,) = ways_of(request["way"])
    if front.hurts.cut is not None:
        raise FaultDidNotLand(f"{front.name}: a cut behind so many bytes is already held; one at a time")
    cut = ByteCut(way, int(request["bytes"]), asyncio.get_running_loop().create_future())
    front.hurts.cut = cut
    for connection in front.live():
        front.hurts.count_one(connection)
    return await asyncio.shield(cut.done)


def stop_counting(front: Front, _request: dict[str, Any]) -> None:
    """Cut nothing any more."""
    cut, front.hurts.cut = front.hurts.cut, None
    if cut is not None:
        for connection in cut.counting:
            connection.pump(cut.way).cut_after(None)
        cut.done.cancel()


VERBS: dict[str, Callable[[Front, dict[str, Any]], Any]] = {
    "hole": hole,
    "close_hole": close_hole,
    "stall": stall,
    "end_stall": end_stall,
    "shape": shape,
    "unshape": unshape,
    "half_close": half_close,
    "stop_counting": stop_counting,
}
"""Faults as the links process is asked for them, beside ``cut_after``, which waits."""
