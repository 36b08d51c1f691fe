"""What is read of bridge and LiveKit at the end of a story, for Clean."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from harness import events as ev
from harness.bridge_client import BridgeStatus, read_status
from harness.errors import NotReached
from harness.history import Recorder
from harness.rig.people import Person
from harness.rig.stack import Stack
from harness.rooms import RoomsUnreadable, participants
from harness.waiting import NotYet, until

SETTLES_WITHIN_S = 3.0
"""How long sessions and rooms have to settle before what is there counts as left over: a participant's leave reaches
LiveKit's own books up to 3 s late (measured)."""


async def read_end(stack: Stack, recorder: Recorder, people: Sequence[Person]) -> None:
    """Read sessions and rooms until they are as they should be, or for 3 s; record the last reading."""
    users = [person.user_id for person in people]
    recorder.emit(ev.Connected(users=tuple(users)))
    if "bridge" in stack.system.components and stack.live["bridge"].alive():
        await _read_bridge(stack, recorder, users)
    if "livekit" in stack.system.components and stack.live["livekit"].alive():
        for user in users:
            await _read_room(stack, recorder, user)


async def _read_bridge(stack: Stack, recorder: Recorder, users: list[str]) -> None:
    host, port = stack.address("bridge", "grpc")
    last: list[BridgeStatus] = []

    async def look() -> bool | NotYet:
        status = await read_status(f"{host}:{port}", users)
        last.append(status)
        settled = status.active_sessions == len(users) and all(status.connected.get(user) for user in users)
        return True if settled else NotYet(f"sessions {status.active_sessions}, connected {status.connected}")

    await _settle(look)
    status = last[-1]
    recorder.emit(
        ev.BridgeRead(
            why="end", answered=status.answered, active_sessions=status.active_sessions, connected=status.connected,
            detail=status.detail,
        )
    )  # fmt: skip


async def _read_room(stack: Stack, recorder: Recorder, user: str) -> None:
    host, port = stack.address("livekit", "signal")
    room = stack.system.room_of(user)
    last: list[tuple[str, ...]] = []
    expected = tuple(sorted((user, f"cloud-agent:{user}")))

    async def look() -> bool | NotYet:
        try:
            found = await participants(f"{host}:{port}", stack.keys, room)
        except RoomsUnreadable as error:
            return NotYet(str(error))
        last.append(found)
        return True if found == expected else NotYet(f"in the room: {found}")

    problem = await _settle(look)
    if last:
        recorder.emit(ev.RoomRead(why="end", room=room, participants=last[-1]))
    else:
        recorder.emit(ev.Note(text=f"room {room} could not be read: {problem}"))


async def _settle(look: Callable[[], Coroutine[Any, Any, bool | NotYet]]) -> str:
    try:
        await until(look, what="sessions and rooms as they should be", within_s=SETTLES_WITHIN_S, every_s=0.1)
    except NotReached as error:
        return str(error)
    return ""
