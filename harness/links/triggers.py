"""Triggers of a link: a moment that is waited for, and what is done to the bytes when it comes.

Deterministic to the message: while a trigger is armed, the bytes of what is not yet complete are kept back (never more
than `KEPT_BYTES`, never for long), so that a message can be stopped before its first byte went on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from harness.clock import now_ns
from harness.links.reading import Conversation, Said, Way
from harness.moments import Kind, Moment

Act = Literal["tell", "cut", "hang"]
"""tell: say that it came, once; cut: reset the connection, once; hang: keep it and all behind it back, every time."""
KEPT_BYTES = 262_144
"""An incomplete message longer than this goes on unrecognised: a link is no place to store things."""


@dataclass(eq=False)
class Trigger:
    """One armed moment."""

    number: int
    moment: Moment
    before: bool
    """Whether it fires before the message goes on, or behind it."""
    hold: bool
    """Whether the connection's direction stands still, from there on, until ``let_go``."""
    act: Act
    fired: asyncio.Future[dict[str, Any]]
    way: Way | None = None
    """The direction it must be said in; None: either."""
    label: str = ""
    """Another name to disarm it by, for who keeps no numbers; empty: none."""
    seen: int = 0
    """How many such moments came."""
    taken: int = 0
    """How many of them are its own; it may have to wait for one that was armed before it."""
    acted: int = 0
    """How many of them it acted on."""
    is_armed: bool = True
    held: list[Callable[[bool], None]] = field(default_factory=list)
    """How to let go what it holds; told whether to drop it."""

    def takes(self, said: Said) -> bool:
        """Count what was said; tell whether this is the moment."""
        if not self.moment.fits(said.kind, said.name) or self.way not in {None, said.way}:
            return False
        self.seen += 1
        if self.seen < self.moment.nth or (self.act != "hang" and self.taken):
            return False
        self.taken += 1
        return True

    def give_back(self) -> None:
        """Be free for the next such moment: the connection died before this one was acted on."""
        self.taken -= 1

    def awaits(self, way: Way) -> bool:
        """Tell whether anything that is still to be said in a direction may be its moment."""
        return self.way in {None, way} and (self.act == "hang" or not self.taken)

    @property
    def holds(self) -> bool:
        """Whether it keeps back what it fired at."""
        return self.act == "hang" or (self.act == "tell" and self.hold)

    def fire(self, conn: int, said: Said) -> None:
        """Tell who waits for it."""
        self.acted += 1
        if not self.fired.done():
            what = f"{said.kind} {said.name}".rstrip()
            self.fired.set_result({"conn": conn, "said": what, "way": said.way, "t_ns": now_ns()})

    def let_go(self, *, drop: bool) -> int:
        """Let everything go on that it holds, or reset it; return how many connections that were."""
        going, self.held = self.held, []
        for go in going:
            go(drop)
        return len(going)


class Triggers:
    """The armed triggers of one link."""

    def __init__(self) -> None:
        """Begin with none."""
        self._armed: dict[int, Trigger] = {}

    def __bool__(self) -> bool:
        """Tell whether bytes must be handled with care."""
        return bool(self._armed)

    def add(self, trigger: Trigger) -> None:
        """Arm it."""
        self._armed[trigger.number] = trigger

    def remove(self, number: int | str) -> Trigger | None:
        """Disarm it, by its number or its label, and let go what it holds."""
        trigger = self.get(number)
        if trigger is not None:
            del self._armed[trigger.number]
            trigger.is_armed = False
            trigger.let_go(drop=False)
            if not trigger.fired.done():
                trigger.fired.cancel()
        return trigger

    def get(self, number: int | str) -> Trigger | None:
        """Return an armed trigger, by its number or its label."""
        return next((t for t in self._armed.values() if number in {t.number, t.label}), None)

    def taking(self, said: Said) -> list[Trigger]:
        """Return the triggers whose moment this is, in their order: before the message, then behind it; all count."""
        return sorted([t for t in self._armed.values() if t.takes(said)], key=lambda t: not t.before)

    def awaits(self, way: Way, kind: Kind, name: str) -> bool:
        """Tell whether somebody waits for this."""
        return any(t.awaits(way) and t.moment.fits(kind, name) for t in self._armed.values())

    def awaits_any(self, way: Way) -> bool:
        """Tell whether somebody waits for anything in this direction."""
        return any(t.awaits(way) for t in self._armed.values())

    def all(self) -> Iterable[Trigger]:
        """Return all that are armed."""
        return tuple(self._armed.values())


class Listener(Protocol):
    """What a connection does with what its reader understood."""

    number: int
    conversation: Conversation | None

    @property
    def triggers(self) -> Triggers:
        """The link's triggers."""
        ...

    def heard(self, said: list[Said], t_ns: int) -> None:
        """Write down what a reader understood of bytes that came at ``t_ns``."""
        ...

    def cut(self) -> None:
        """Reset the connection on our own orders."""
        ...


def hold_back(triggers: Sequence[Trigger], go: Callable[[bool], None]) -> bool:
    """Let ``go`` be called once all of these that hold have let go (told whether one dropped); False: none holds."""
    holding = [t for t in triggers if t.holds]
    waiting, dropped = len(holding), False

    def let_go(drop: bool) -> None:
        nonlocal waiting, dropped
        waiting, dropped = waiting - 1, dropped or drop
        if not waiting:
            go(dropped)

    for trigger in holding:
        trigger.held.append(let_go)
    return bool(holding)
