"""The end of a story: drain until quiet, then read bridge and LiveKit for Clean."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any

from harness import events as ev
from harness.bridge_client import BridgeStatus, read_status
from harness.clock import now_ns, seconds_between
from harness.errors import NotReached
from harness.history import Recorder
from harness.rig.live import Live
from harness.rig.people import Person
from harness.rig.stack import Stack
from harness.rooms import RoomsUnreadable, participants
from harness.speech import SILENCE_FRAMES, UTTERANCE_FRAMES, UTTERANCE_WORDS
from harness.waiting import NotYet, until

QUIET_FOR_S = 0.4
"""Draining is over when no caption or frame has come for this long."""
HEARD_SILENCE_FRAMES = 2
"""So much of its silence must have been spoken (a packet) before an utterance's final is owed."""
SETTLES_WITHIN_S = 3.0
"""How long sessions and rooms have to settle before what is there counts as left over: a participant's leave reaches
LiveKit's own books up to 3 s late (measured)."""


async def the_end(stack: Stack, live: Live, people: Iterable[Person], drain_s: float) -> None:
    """Stop talking, drain, and read what Clean needs while the phones are still connected."""
    there = [person for person in people if person.is_there()]
    connected = [person for person in there if await person.is_connected()]
    stack.recorder.emit(ev.StoppedTalking())
    last = {person.speaker: await person.stops_talking() for person in there}
    await drain(live, stack.recorder, last, drain_s)
    await read_end(stack, stack.recorder, connected)


async def drain(live: Live, recorder: Recorder, last_index: Mapping[int, int], within_s: float) -> None:
    """Wait until nothing has come for a moment and no final is owed, at most ``within_s``; record how it went.

    ``last_index``: speaker to the last frame spoken. A final is owed of each utterance whose silence had begun.
    """
    began = now_ns()
    spoken_to = UTTERANCE_FRAMES - SILENCE_FRAMES + HEARD_SILENCE_FRAMES
    owed = {
        speaker: (index - spoken_to) // UTTERANCE_FRAMES * UTTERANCE_WORDS + UTTERANCE_WORDS - 1
        for speaker, index in last_index.items()
        if index >= spoken_to
    }

    def size() -> int:
        return sum(path.stat().st_size for path in (live.run_dir / "frames").glob("*.bin")) + len(live.events)

    seen, changed_ns = size(), now_ns()

    def quiet() -> bool | NotYet:
        nonlocal seen, changed_ns
        if size() != seen:
            seen, changed_ns = size(), now_ns()
        for speaker, word in owed.items():
            if word not in live.finals(speaker):
                return NotYet(f"the final of word {word} is owed")
        return seconds_between(changed_ns, now_ns()) >= QUIET_FOR_S or NotYet("captions or frames still come")

    try:
        is_quiet = await until(quiet, what="quiet", within_s=within_s)
    except NotReached:
        is_quiet = False
    recorder.emit(ev.Drained(quiet=is_quiet, took_s=round(seconds_between(began, now_ns()), 3)))


async def read_end(stack: Stack, recorder: Recorder, people: Sequence[Person]) -> None:
    """Read sessions and rooms until they are as they should be, or for 3 s; record the last reading."""
    users = list(dict.fromkeys(person.user_id for person in people))  # one user may have two phones
    recorder.emit(ev.Connected(users=tuple(users)))
    if "bridge" in stack.system.components and stack.live["bridge"].alive():
        await _read_bridge(stack, recorder, users)
    if "livekit" in stack.system.components and stack.live["livekit"].alive():
        for user in users:
            await _read_room(stack, recorder, user)


async def _read_bridge(stack: Stack, recorder: Recorder, users: list[str]) -> None:
    bridge = stack.bridge_target()
    last: list[BridgeStatus] = []

    async def look() -> bool | NotYet:
        status = await read_status(bridge, users)
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
