"""Faults that make a user's join happen twice: a call beside the cloud's own, a phone that says hello once more."""

from __future__ import annotations

from dataclasses import dataclass

from harness.control import ControlError
from harness.errors import FaultDidNotLand, StartFailed
from harness.faults.base import Landed, PhoneFault, Scene


@dataclass(frozen=True)
class JoinsToo:
    """Somebody else sends a JoinRoom of this person, and the bridge is busy with it; whatever comes now races with it.

    As two code paths of one cloud do, or two clouds. Struck by a trigger at the cloud's own JoinRoom, which is let go
    once the bridge dials LiveKit for this one. Nobody opens a stream on what it gives.
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
        """There must be a bridge to join by."""
        return None if scene.has("bridge") else "this system has no bridge"

    async def inject(self, scene: Scene) -> Landed:
        """Send the call; the proof is that the bridge dials LiveKit for it, and has not answered."""
        return Landed(await scene.begin_join(self.person))

    async def heal(self, scene: Scene) -> str:
        """Wait for the answer; whatever it is, the call is over."""
        return await scene.end_join(self.person)


@dataclass(frozen=True)
class ConnectionInit(PhoneFault):
    """The phone says ``connection_init`` on its open socket, though it was acknowledged long ago."""

    heals = False

    async def inject(self, scene: Scene) -> Landed:
        """Say it; the proof is that the phone had an open socket to say it on."""
        phone = scene.person(self.person)
        try:
            answer = await phone.ask("say", message={"type": "connection_init"})
        except (ControlError, StartFailed) as error:
            raise FaultDidNotLand(str(error)) from error
        if not answer["said"]:
            raise FaultDidNotLand(f"{phone.name}'s phone had no open socket to say it on")
        return Landed(f"{phone.name}'s phone said connection_init")

    async def heal(self, scene: Scene) -> str:
        """Nothing to undo."""
        raise FaultDidNotLand(f"{self} has no heal ({scene})")
