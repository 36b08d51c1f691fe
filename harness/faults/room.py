"""Faults of a person's room: somebody is put out of it, it is ended, another environment takes it, a token runs out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from harness.clock import now_ns
from harness.control import ControlError
from harness.errors import FaultDidNotLand, NotReached, StartFailed
from harness.faults.base import Landed, Scene


@dataclass(frozen=True)
class _RoomFault:
    person: str

    heals = False

    @property
    def target(self) -> str:
        return self.person

    @property
    def blast(self) -> tuple[str, ...]:
        return (self.person,)  # a LiveKit server holds many rooms: whatever else suffers is harm

    def missing(self, scene: Scene) -> str | None:
        """There must be a LiveKit whose rooms can be told of."""
        return None if scene.has("livekit") else "this system has no livekit"

    async def heal(self, scene: Scene) -> str:
        """Nothing to undo: the system has to cope with it."""
        raise FaultDidNotLand(f"{self} has no heal ({scene})")


@dataclass(frozen=True)
class Kicked(_RoomFault):
    """This person's agent (or phone) is put out of the room, and whoever did it is gone again.

    ``remove``: an administrator's RemoveParticipant; ``duplicate-identity``: another one of that identity joins.
    """

    who: Literal["agent", "phone"] = "agent"
    by: Literal["remove", "duplicate-identity"] = "duplicate-identity"

    async def inject(self, scene: Scene) -> Landed:
        """Put it out; the proof is that it was there, and LiveKit's answer."""
        return Landed(await scene.put_out(self.person, self.who, self.by))


@dataclass(frozen=True)
class RoomDeleted(_RoomFault):
    """This person's room is ended by an administrator, with the phone and the agent in it."""

    async def inject(self, scene: Scene) -> Landed:
        """Delete it; the proof is LiveKit's answer."""
        return Landed(await scene.end_room(self.person))


@dataclass(frozen=True)
class OtherEnvironment(_RoomFault):
    """While held, the phone uses another environment, whose agent takes the agent's place in the same room.

    The phone's socket is closed (1001), and it stays away; the other environment's agent stays, also after the phone
    came back, as long as nobody puts it out in turn: its own cloud has a grace, too.
    """

    heals = True

    async def inject(self, scene: Scene) -> Landed:
        """Close the socket, let the other agent in; the proof is what the phone saw, and LiveKit's answer."""
        phone = scene.person(self.person)
        seen = await _asked(scene, self.person, "close", code=1001, reason="other environment")
        if not seen["was_open"]:
            await _asked(scene, self.person, "connect")
            raise FaultDidNotLand(f"{phone.name}'s phone had no open socket")
        try:
            came = await scene.other_agent_comes(self.person)
        except FaultDidNotLand:
            await _asked(scene, self.person, "connect")
            raise
        return Landed(f"closed with 1001: {seen}; {came}")

    async def heal(self, scene: Scene) -> str:
        """Let the phone come back; the proof is its open socket."""
        before = now_ns()
        await _asked(scene, self.person, "connect")
        try:
            return await scene.person(self.person).socket_opens(after_ns=before)
        except NotReached as error:
            raise FaultDidNotLand(f"{self.person}'s phone could not come back: {error}") from error


@dataclass(frozen=True)
class TokenRunsOut(_RoomFault):
    """The phone's token for its room is replaced by one that LiveKit takes for ``ttl_s`` seconds more, and no longer.

    As a token of its own that LiveKit refreshed for the last time before the phone fell asleep.
    """

    ttl_s: int = 3

    async def inject(self, scene: Scene) -> Landed:
        """Give it to the phone; the proof is that it has a room to use it for."""
        token = scene.phone_token(self.person, ttl_s=self.ttl_s)
        if not (await _asked(scene, self.person, "token", token=token))["taken"]:
            raise FaultDidNotLand(f"{self.person}'s phone has no token for a room that could be replaced")
        return Landed(f"{self.person}'s phone has a token that LiveKit takes for {self.ttl_s} s")


@dataclass(frozen=True)
class Simulated(_RoomFault):
    """The phone's media library is told to act as if its connection to the room had failed in this way.

    Only LiveKit's own SDK can; the kinds are those that were found dependable on one server.
    """

    kind: Literal["SIGNAL_RECONNECT", "FULL_RECONNECT", "SERVER_LEAVE"] = "SIGNAL_RECONNECT"

    def missing(self, scene: Scene) -> str | None:
        """The phone's engine must be the SDK."""
        engine = scene.person(self.person).engine
        return None if engine == "livekit" else f"the phone of {self.person} has the engine {engine}, which cannot"

    async def inject(self, scene: Scene) -> Landed:
        """Ask for it; the proof is that the SDK took it."""
        said = await _asked(scene, self.person, "simulate", kind=self.kind)
        if not said["simulated"]:
            raise FaultDidNotLand(f"{self.person}'s phone is in no room that it could simulate {self.kind} in")
        return Landed(f"{self.kind} simulated by the SDK of {self.person}'s phone")


async def _asked(scene: Scene, person: str, verb: str, **fields: Any) -> Any:
    phone = scene.person(person)
    if not phone.is_there():
        raise FaultDidNotLand(f"{person}'s phone is not there")
    try:
        return await phone.ask(verb, **fields)
    except (ControlError, StartFailed) as error:
        raise FaultDidNotLand(str(error)) from error
