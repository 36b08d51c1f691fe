"""Faults of sessions: what somebody else left behind."""

from __future__ import annotations

from dataclasses import dataclass

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
