"""What a phone needs of a media library: one room per engine object, data packets out, word of its loss."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from harness.errors import HarnessError


class RoomDialError(HarnessError):
    """A room could not be reached; the text is the reason."""


@dataclass(frozen=True)
class Lost:
    """How a room ended that the phone did not leave."""

    reason: str
    may_redial: bool
    """False after a ``leave`` with action DISCONNECT (kicked, replaced, room deleted)."""
    replaced: bool = False
    """Another participant took this identity: dialing again would only kick it in turn."""


@dataclass(frozen=True)
class Resuming:
    """The library lost the connection and tries by itself to get it back; nothing can be sent meanwhile."""


@dataclass(frozen=True)
class Resumed:
    """The library got the connection back: the same room, by a resume or by a full reconnect of its own."""


class MediaEngine(Protocol):
    """One connection to one room. Never connected twice: a new room takes a new engine."""

    @property
    def token(self) -> str:
        """The newest token: the one given to ``connect`` or a refresh by the signalling."""
        ...

    async def connect(self, url: str, token: str) -> str:
        """Join the room of ``token`` at ``url`` (ws://host:port); return its name once packets can be sent.

        Everything is closed again before it raises or is cancelled.

        Raises:
            RoomDialError: refused, or lost before it was connected.
        """
        ...

    def can_send(self) -> bool:
        """Tell whether a packet may be handed over now; False also when too much is queued already."""
        ...

    def send(self, payload: bytes, on_sent: Callable[[], None]) -> None:
        """Publish one lossy data packet without a topic; ``on_sent`` is called when it has left the queue."""
        ...

    async def leave(self) -> None:
        """Leave the room; returns once that is said. No loss is reported afterwards."""
        ...


@runtime_checkable
class Simulating(Protocol):
    """What an engine has besides when its library can act as if its connection had failed."""

    async def simulate(self, kind: str) -> None:
        """Do so; ``kind`` is a name of LiveKit's SimulateScenarioKind without its prefix, e.g. ``FULL_RECONNECT``."""
        ...


OnNews = Callable[[Lost | Resuming | Resumed], None]
EngineFactory = Callable[[OnNews], Awaitable[MediaEngine]]
"""Makes an engine. After ``connect`` returned ``OnNews`` hears of every resume, and at most once, last, of the loss."""
