"""From when captions are owed again: the moment that a story names as its anchor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import events as ev
from harness.clock import now_ns, seconds_between
from harness.errors import NotReached

if TYPE_CHECKING:
    from harness.rig.injector import Injector
    from harness.rig.people import Person

SHOWS_WITHIN_S = 1.0
"""How long after it woke a phone has to see that its socket was closed meanwhile."""


async def anchored(anchor: str, person: Person, faults: Injector, patience_s: float) -> tuple[str, int]:
    """Return the anchor's name and moment, waiting for it.

    ``socket open`` (the phone's) and ``ack`` are looked for after the last fault had landed; ``heal`` is the end of the
    last fault; ``back`` is the socket open again where it was closed by the end of the last fault, else ``heal``.

    Raises:
        NotReached: it did not come within ``patience_s``.
    """
    if anchor == "back":
        anchor = "socket open" if await _was_closed(person, faults) else "heal"
    if anchor == "heal":
        return anchor, faults.healed_ns
    landed_ns = faults.landed_ns
    if anchor == "ack":
        return anchor, await person.moment(ev.PhoneMessage, landed_ns, within_s=patience_s, type_="connection_ack")
    return anchor, await person.moment(ev.PhoneSocketOpen, landed_ns, within_s=patience_s)


async def _was_closed(person: Person, faults: Injector) -> bool:
    left_s = SHOWS_WITHIN_S - seconds_between(faults.healed_ns, now_ns())
    try:
        await person.moment(ev.PhoneSocketClosed, faults.landed_ns, within_s=max(0.1, left_s))
    except NotReached:
        return False
    return True
