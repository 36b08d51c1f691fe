"""Who comes into a person's room from outside: an administrator that puts somebody out, or one of the same identity.

A stranger speaks LiveKit's signalling only, which is enough to take a place: the server puts the one before it out as
soon as the newcomer is let in. No media library is loaded for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from livekit.protocol.models import DisconnectReason

from harness.errors import FaultDidNotLand
from harness.phone.engine import Lost, RoomDialError
from harness.phone.signalling import PING_EVERY_S, PING_TIMEOUT_S, Signal
from harness.redact import mask
from harness.rooms import RoomsUnreadable, delete_room, participants, remove_participant
from harness.waiting import within

if TYPE_CHECKING:
    from harness.rig.stack import Stack

JOINS_WITHIN_S = 3.0
AGENT = "cloud-agent:"


def identity_of(user: str, who: str) -> str:
    """Return the identity in the room of a user's ``agent`` or ``phone``."""
    return f"{AGENT}{user}" if who == "agent" else user


async def put_out(stack: Stack, user: str, who: str, by: str) -> str:
    """Put a user's agent or phone out of their room, by ``remove`` or by ``duplicate-identity``; return proof.

    Raises:
        FaultDidNotLand: it was not in the room, or LiveKit did not do it.
    """
    identity, room = identity_of(user, who), stack.system.room_of(user)
    await _expect(stack, room, identity)
    if by == "remove":
        try:
            await remove_participant(_signal(stack), stack.keys, room, identity)
        except RoomsUnreadable as error:
            raise FaultDidNotLand(str(error)) from error
        return f"RemoveParticipant of {identity} was answered: it is put out of room {room}"
    stranger = await Stranger.joins(stack, user, who)
    await stranger.leaves()
    return f"another {identity} joined room {room} and left: the one before was put out"


async def end_room(stack: Stack, user: str) -> str:
    """Delete a user's room with everybody in it; return proof.

    Raises:
        FaultDidNotLand: nobody was in it, or LiveKit did not do it.
    """
    room = stack.system.room_of(user)
    await _expect(stack, room, user)
    try:
        await delete_room(_signal(stack), stack.keys, room)
    except RoomsUnreadable as error:
        raise FaultDidNotLand(str(error)) from error
    return f"DeleteRoom of {room} was answered: everybody in it is put out"


async def other_agent_comes(stack: Stack, user: str) -> str:
    """Let the agent of another environment take the agent's place and stay, until it is put out or the stack ends.

    Raises:
        FaultDidNotLand: the agent was not in the room, or the other did not get in.
    """
    await _expect(stack, stack.system.room_of(user), identity_of(user, "agent"))
    stack.strangers.append(await Stranger.joins(stack, user, "agent"))
    return f"the other environment's {identity_of(user, 'agent')} is in the room: ours was put out"


async def leave_all(strangers: list[Stranger]) -> None:
    """Let whoever still is in a room leave it."""
    while strangers:
        await strangers.pop().leaves()


@dataclass(eq=False)
class Stranger:
    """A participant of ours that is in a room under somebody else's identity."""

    signal: Signal
    ended_by: str = ""
    """Why it is out, when it was put out."""
    out: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once its signal has ended."""
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @classmethod
    async def joins(cls, stack: Stack, user: str, who: str) -> Stranger:
        """Join, past every link; return it once LiveKit has let it in.

        Raises:
            FaultDidNotLand: it was not let in.
        """
        room = stack.system.room_of(user)
        token = stack.keys.token(
            identity_of(user, who), room=room, roomJoin=True, canPublish=True, canSubscribe=True, canPublishData=True
        )
        try:
            signal = await within(_let_in(_signal(stack), token), JOINS_WITHIN_S)
        except (RoomDialError, TimeoutError) as error:
            said = mask(str(error)) or f"not within {JOINS_WITHIN_S:g} s"
            raise FaultDidNotLand(f"no other {identity_of(user, who)} got into room {room}: {said}") from error
        stranger = cls(signal)
        stranger._tasks = [
            asyncio.create_task(stranger._listen(), name=f"stranger in {room}"),
            asyncio.create_task(stranger._stay(), name=f"pings of the stranger in {room}"),
        ]
        return stranger

    async def leaves(self) -> None:
        """Say leave and go."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if not self.ended_by:
            await self.signal.say_leave()
        await self.signal.close()

    async def _listen(self) -> None:
        while True:
            said = await self.signal.receive()
            if isinstance(said, Lost):
                self.ended_by = self.ended_by or said.reason
                self.out.set()
                return
            if said.WhichOneof("message") == "leave":
                self.ended_by = f"leave {DisconnectReason.Name(said.leave.reason)}"

    async def _stay(self) -> None:
        await self.signal.keep_alive(PING_EVERY_S, PING_TIMEOUT_S)


async def _let_in(address: str, token: str) -> Signal:
    signal = await Signal.dial(f"ws://{address}", token)
    with contextlib.ExitStack() as undo:
        undo.callback(signal.abort)
        while True:
            said = await signal.receive()
            if isinstance(said, Lost):
                raise RoomDialError(said.reason)
            if said.WhichOneof("message") == "join":
                undo.pop_all()
                return signal


async def _expect(stack: Stack, room: str, identity: str) -> None:
    """See that somebody is in a room: who is not there cannot be put out."""
    try:
        found = await participants(_signal(stack), stack.keys, room)
    except RoomsUnreadable as error:
        raise FaultDidNotLand(str(error)) from error
    if identity not in found:
        raise FaultDidNotLand(f"{identity} is not in room {room}: {', '.join(found) or 'nobody'}")


def _signal(stack: Stack) -> str:
    host, port = stack.address("livekit", "signal")
    return f"{host}:{port}"
