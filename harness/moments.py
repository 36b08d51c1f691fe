"""Moments in a protocol, as values: what must pass through a link for something to be done right then.

``request("JoinRoom")``, ``reply("JoinRoom")``, ``nth(message("AudioChunk"), 3)``, ``message("connection_ack")``,
``closed()``, ``opened()``. A story says ``When("cloud->bridge", reply("JoinRoom"), Kill("cloud"))``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Kind = Literal["request", "reply", "status", "message", "close", "end", "open"]
"""request, reply: a call begins, its answer does (gRPC method, or ``POST /webhook``); status: a gRPC call is over;
message: a gRPC message by its type, a WebSocket message by its JSON type (``binary`` without one), a LiveKit signal by
its name; close: a WebSocket close frame, by its code; end: a connection ends (``fin``, ``reset``); open: it begins."""


@dataclass(frozen=True)
class Moment:
    """Something that is said on a connection, and which time it is said."""

    kinds: tuple[Kind, ...]
    name: str = ""
    """As the link's reader names it; empty: any."""
    nth: int = 1
    """Counted over all connections of the link since the trigger was armed, from 1."""

    def __str__(self) -> str:
        text = f"{self.kinds[0]} {self.name}".rstrip()
        return text if self.nth == 1 else f"{text} number {self.nth}"

    def fits(self, kind: str, name: str) -> bool:
        """Tell whether what was said is of this sort, whichever time."""
        return kind in self.kinds and self.name in {"", name}

    def fields(self) -> dict[str, Any]:
        """Return it as JSON can carry it."""
        return asdict(self)

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Moment:
        """Return what ``fields`` made."""
        return cls(tuple(fields["kinds"]), str(fields["name"]), int(fields["nth"]))


def request(name: str = "") -> Moment:
    """Return the moment in which a call is made: a gRPC method's bare name, or ``POST /webhook`` of HTTP."""
    return Moment(("request",), name)


def reply(name: str = "") -> Moment:
    """Return the moment in which a call's answer begins."""
    return Moment(("reply",), name)


def status(name: str = "") -> Moment:
    """Return the moment in which a gRPC call is over."""
    return Moment(("status",), name)


def message(name: str = "") -> Moment:
    """Return the moment of one message: its gRPC type, JSON type, or LiveKit signal's name."""
    return Moment(("message",), name)


def closed(how: str | int = "") -> Moment:
    """Return the moment in which a connection closes: by this WebSocket code, by ``fin`` or ``reset``, or anyhow."""
    return Moment(("close", "end"), str(how))


def opened() -> Moment:
    """Return the moment in which a connection through the link begins."""
    return Moment(("open",))


def nth(moment: Moment | str, number: int) -> Moment:
    """Return the ``number``-th of such moments; a bare name means a message of that type.

    Raises:
        ValueError: they are counted from 1.
    """
    if number < 1:
        raise ValueError(f"nth: expected a number from 1 on, seen {number}")
    return replace(message(moment) if isinstance(moment, str) else moment, nth=number)
