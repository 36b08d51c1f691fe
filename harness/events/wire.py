"""What was read on the wire as it passed a link, and what was done to packets or at a moment of it."""

from __future__ import annotations

from harness.events.base import Event

Fact = str | int | float | bool


class WireSaid(Event, frozen=True, tag="wire-said"):
    """One thing that was said on a connection through a link, whoever wrote the parts at its ends.

    ``way`` is to-target or to-dialer; ``what`` one of :data:`harness.moments.Kind`; ``name`` as the reader names it.
    """

    link: str
    conn: int
    way: str
    what: str
    name: str
    stream: int = 0
    """HTTP/2 stream; 0 elsewhere."""
    facts: dict[str, Fact] = {}
    """What is worth knowing of it, never a secret: success, error, code, reason, user, messages, took_ms..."""


class WireUnreadable(Event, frozen=True, tag="wire-unreadable"):
    """A reader gave up on a connection, said so this once, and the bytes went on."""

    link: str
    conn: int
    reason: str


PACKETS_OF = "packets of "
"""The target of a fault on a phone's packets begins so: what it does is written down packet by packet."""


class PacketHurt(Event, frozen=True, tag="packet-hurt"):
    """A fault in a phone did something to one audio packet before it was encrypted.

    ``how``: dropped, duplicated, reordered, corrupted, odd (a byte was added or taken), swapped, held (for a burst).
    """

    person: str
    speaker: int
    how: str
    first_index: int
    """Its first frame."""
    frames: int
    copies: int = 0
    """How often it was sent more than once (duplicated)."""


class Armed(Event, frozen=True, tag="armed"):
    """A trigger waits for a moment on a link."""

    link: str
    moment: str
    fault: str


class Fired(Event, frozen=True, tag="fired"):
    """The moment came: ``conn`` and ``said`` tell what it was; ``held`` whether it was kept back meanwhile."""

    link: str
    moment: str
    fault: str
    conn: int
    said: str
    held: bool
