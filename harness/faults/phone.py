"""Faults of the phone: force quit and reopen, its socket closed with a code, its socket dropped without one."""

from __future__ import annotations

from dataclasses import dataclass

from harness.clock import now_ns
from harness.errors import FaultDidNotLand, NotReached
from harness.faults.base import Landed, PhoneHandle, Scene


@dataclass(frozen=True)
class _PhoneFault:
    person: str

    heals = True

    @property
    def target(self) -> str:
        return f"phone of {self.person}"

    @property
    def blast(self) -> tuple[str, ...]:
        return (self.person,)

    def missing(self, scene: Scene) -> str | None:
        """The person must have a phone in this story."""
        scene.person(self.person)
        return None


@dataclass(frozen=True)
class ForceQuit(_PhoneFault):
    """The wearer swipes the app away: its process dies by SIGKILL; healing opens the app anew, talking as before."""

    async def inject(self, scene: Scene) -> Landed:
        """Kill the phone's process; the proof is its exit."""
        return Landed(await scene.person(self.person).kill())

    async def heal(self, scene: Scene) -> str:
        """Open the app anew; the proof is a new process that dials."""
        return await scene.person(self.person).reopen()


@dataclass(frozen=True)
class SocketClosed(_PhoneFault):
    """The phone's socket is closed with this code and stays closed while the fault is held; the room is kept."""

    code: int = 1001

    async def inject(self, scene: Scene) -> Landed:
        """Close with the code; the proof is what the phone saw."""
        seen = await scene.person(self.person).ask("close", code=self.code, reason="away")
        return Landed(f"closed with {self.code}: {seen}")

    async def heal(self, scene: Scene) -> str:
        """Dial again; the proof is the open socket."""
        return await _dial_again(scene.person(self.person))


@dataclass(frozen=True)
class SocketDropped(_PhoneFault):
    """The phone's socket ends without a close frame (the cloud sees 1006) and stays away while held."""

    async def inject(self, scene: Scene) -> Landed:
        """Abort the connection; the proof is what the phone saw."""
        return Landed(f"dropped without a close frame: {await scene.person(self.person).ask('drop')}")

    async def heal(self, scene: Scene) -> str:
        """Dial again; the proof is the open socket."""
        return await _dial_again(scene.person(self.person))


async def _dial_again(phone: PhoneHandle) -> str:
    before = now_ns()
    await phone.ask("connect")
    try:
        return await phone.socket_opens(after_ns=before)
    except NotReached as error:
        raise FaultDidNotLand(f"{phone.name}'s phone could not come back: {error}") from error
