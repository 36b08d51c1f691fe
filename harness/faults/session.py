"""Faults of sessions: what somebody else left behind, or ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.errors import FaultDidNotLand
from harness.faults.base import Landed, Scene


@dataclass(frozen=True)
class PlantSession:
    """A session of this person is already in the bridge: its cloud died between JoinRoom and StreamAudio.

    The harness sends JoinRoom itself, goes away after the answer and never sends LeaveRoom. The zombie gate must
    then see the session, or nothing can be concluded.
    """

    person: str

    heals = False

    @property
    def target(self) -> str:
        return "bridge"

    @property
    def blast(self) -> tuple[str, ...]:
        return ("bridge", self.person)

    def missing(self, scene: Scene) -> str | None:
        """There must be a bridge to plant it in."""
        return None if scene.has("bridge") else "this system has no bridge"

    async def inject(self, scene: Scene) -> Landed:
        """Send JoinRoom; the proof is the answer, and the gate's."""
        proof = await scene.plant_session(self.person)
        await scene.gate(promised=True)
        return Landed(proof)

    async def heal(self, scene: Scene) -> str:
        """Nothing to undo: the system has to cope with it."""
        raise FaultDidNotLand(f"{self} has no heal ({scene})")


@dataclass(frozen=True)
class SessionEnded:
    """Somebody else ends this person's live session in the bridge, in mid-sentence, and goes away.

    ``LeaveRoom`` is what a client of before sends that is late; ``JoinRoom`` replaces the session by one that nobody
    listens to. The session's audio stream ends well, and its cloud has to come back for the audio by itself.
    """

    person: str
    by: Literal["LeaveRoom", "JoinRoom"] = "LeaveRoom"

    heals = False

    @property
    def target(self) -> str:
        return self.person

    @property
    def blast(self) -> tuple[str, ...]:
        return (self.person,)  # a bridge holds many sessions: whatever else suffers is harm

    def missing(self, scene: Scene) -> str | None:
        """There must be a bridge that has the session."""
        return None if scene.has("bridge") else "this system has no bridge"

    async def inject(self, scene: Scene) -> Landed:
        """Send the call; the proof is the answer, or that the bridge ended on it."""
        return Landed(await scene.end_session(self.person, self.by))

    async def heal(self, scene: Scene) -> str:
        """Nothing to undo: the system has to cope with it."""
        raise FaultDidNotLand(f"{self} has no heal ({scene})")


@dataclass(frozen=True)
class SecondStream:
    """While held, somebody else reads this person's live session by an audio stream of his own, and then goes away.

    Whether the bridge lets him in is the bridge's to say: refused is an answer, too. Nothing may be missing either way.
    """

    person: str

    heals = True

    @property
    def target(self) -> str:
        return self.person

    @property
    def blast(self) -> tuple[str, ...]:
        return (self.person,)

    def missing(self, scene: Scene) -> str | None:
        """There must be a bridge that has the session."""
        return None if scene.has("bridge") else "this system has no bridge"

    async def inject(self, scene: Scene) -> Landed:
        """Open it; the proof is that it brings audio, or the status that refused it."""
        return Landed(await scene.open_second_stream(self.person))

    async def heal(self, scene: Scene) -> str:
        """Break it off; the proof is what it had brought."""
        return await scene.close_second_stream(self.person)
