"""What happens to the connections through links."""

from __future__ import annotations

from harness.events.base import Event


class LinkOpened(Event, frozen=True, tag="link-opened"):
    """A connection through a link: ``conn`` counts per link."""

    link: str
    conn: int


class LinkRefused(Event, frozen=True, tag="link-refused"):
    """A link could not reach its target, so the dialer was refused."""

    link: str
    reason: str


class LinkClosed(Event, frozen=True, tag="link-closed"):
    """A connection through a link ended.

    ``how`` is fin, reset or vanished; ``first`` is dialer, target, or link (a fault of ours).
    """

    link: str
    conn: int
    how: str
    first: str
    to_target_bytes: int
    to_dialer_bytes: int
