"""Calls to the bridge that its own cloud did not make: a session planted before it comes, or ended behind its back."""

from __future__ import annotations

import asyncio

from harness import events as ev
from harness.bridge_client import BridgeGone, BridgeRefused, ForeignStream, join_room, leave_room, read_status
from harness.errors import DiedUnexpectedly, FaultDidNotLand, NotReached
from harness.rig.stack import Stack
from harness.unread_stream import UnreadStream
from harness.waiting import NotYet, until, within

ANSWERS_WITHIN_S = 5.0
"""How long a second stream may take to bring audio or to be refused: longer than the silence between utterances."""
DIES_WITHIN_S = 2.0
"""How soon a bridge is known to be dead that broke a call by ending."""


async def plant(stack: Stack, user: str) -> str:
    """Leave a session of this user in the bridge, as a cloud that died in between would; return proof.

    Raises:
        FaultDidNotLand: the bridge refused, or gave no answer.
    """
    try:
        participant = await _join(stack, user)
    except BridgeRefused as error:
        raise FaultDidNotLand(str(error)) from error
    stack.planted.append(user)
    return f"JoinRoom of {user} answered, participant {participant}; no LeaveRoom was sent"


async def end_session(stack: Stack, user: str, call: str) -> str:
    """End a live session by LeaveRoom, or by a JoinRoom that replaces it; return proof.

    A bridge that ends on the call took it, too: that is a way to answer, and not ours to forgive.

    Raises:
        FaultDidNotLand: there was no such session, or the bridge lives and did not answer.
        DiedUnexpectedly: the bridge was dead before.
    """
    bridge = stack.live["bridge"]
    if not bridge.alive():
        raise DiedUnexpectedly("bridge", "it was dead before the fault", exit_text=bridge.exit_text() or "")
    target = stack.bridge_target()
    status = await read_status(target, [user])
    if not status.answered:
        raise FaultDidNotLand(f"the bridge does not say whether {user} has a session: {status.detail}")
    if not status.connected.get(user, False) if status.connected else status.active_sessions <= 0:
        raise FaultDidNotLand(f"the bridge has no session of {user} to end")
    try:
        if call == "JoinRoom":
            return f"JoinRoom of {user} replaced the session, participant {await _join(stack, user)}"
        await leave_room(target, user=user)
    except BridgeGone as gone:
        try:
            how = await within(bridge.wait_exit(), DIES_WITHIN_S)
        except TimeoutError:
            raise FaultDidNotLand(str(gone)) from gone
        return f"{call} of {user} was sent, and the bridge {how} on it"
    except BridgeRefused as error:
        raise FaultDidNotLand(str(error)) from error
    return f"LeaveRoom of {user} answered: the session is closed"


async def open_second_stream(stack: Stack, user: str) -> str:
    """Open an audio stream on a live session, beside its cloud's own, and hold and read it; return proof.

    Raises:
        FaultDidNotLand: it brought no audio and was not refused either.
    """
    bridge = stack.bridge_target()
    stream = stack.foreign[user] = ForeignStream(bridge, user)
    try:
        await stream.open(within_s=ANSWERS_WITHIN_S)
    except TimeoutError:
        await close_second_stream(stack, user)
        raise FaultDidNotLand(
            f"a second StreamAudio of {user} brought no audio and did not end within {ANSWERS_WITHIN_S:g} s"
        ) from None
    if stream.status:
        return f"a second StreamAudio of {user} was refused: {stream.status}"
    return f"a second StreamAudio of {user} was accepted, and audio comes by it"


async def close_second_stream(stack: Stack, user: str) -> str:
    """Break the second stream off, write down what became of it, and return the same in words."""
    stream = stack.foreign.pop(user)
    await stream.close()
    refused = bool(stream.status) and not stream.chunks
    outcome = f"{'refused' if refused else 'accepted'}"
    detail = f"it ended by itself: {stream.status}" if stream.status else "broken off by the harness"
    stack.recorder.emit(ev.ForeignStream(user=user, outcome=outcome, chunks=stream.chunks, detail=detail))
    return f"the second stream of {user} had brought {stream.chunks} chunks; {detail}"


async def open_unread_stream(stack: Stack, user: str) -> str:
    """Open an audio stream on a live session and do not read it; return proof once its window is full.

    Raises:
        FaultDidNotLand: the bridge is gone, refused it, or sent nothing.
    """
    stream = UnreadStream(stack.bridge_target(), user)
    try:
        await stream.open(within_s=ANSWERS_WITHIN_S)
    except TimeoutError:
        await stream.break_off()
        text = f"a StreamAudio of {user} brought nothing within {ANSWERS_WITHIN_S:g} s"
        raise FaultDidNotLand(text) from None
    except OSError as error:
        raise FaultDidNotLand(f"no StreamAudio of {user} could be opened: {error}") from error
    if stream.ended:
        await stream.break_off()
        raise FaultDidNotLand(f"a StreamAudio of {user} ended before anybody stopped to read it: {stream.ended}")
    stack.unread[user] = stream
    return f"a StreamAudio of {user} is open and not read: its window of {stream.taken_bytes} bytes is full"


async def break_unread_stream(stack: Stack, user: str) -> str:
    """Break that stream off; return what it was.

    Raises:
        FaultDidNotLand: the bridge had ended it.
    """
    stream = stack.unread.pop(user)
    ended = stream.ended
    stack.recorder.emit(
        ev.ForeignStream(user=user, outcome="unread", chunks=0, detail=ended or "broken off by the harness")
    )
    await stream.break_off()
    if ended:
        raise FaultDidNotLand(f"the old stream of {user} was over before it could break: {ended}")
    return f"the old stream of {user} broke, {stream.taken_bytes} bytes after it was opened"


async def begin_join(stack: Stack, user: str) -> str:
    """Send a JoinRoom beside the cloud's own and leave it in flight; return proof once the bridge dials LiveKit for it.

    Raises:
        FaultDidNotLand: it was answered at once, or the bridge never dialed.
    """
    before = (await stack.links.state("bridge->livekit")).accepted
    call = stack.joining[user] = asyncio.create_task(_join(stack, user), name=f"foreign JoinRoom of {user}")

    async def dialed() -> str | NotYet:
        if call.done():
            return "answered"
        more = (await stack.links.state("bridge->livekit")).accepted - before
        return "dialing" if more > 0 else NotYet("the bridge has not dialed LiveKit")

    try:
        seen = await until(dialed, what="the bridge's dial", within_s=ANSWERS_WITHIN_S, every_s=0.005)
    except NotReached as error:
        seen = str(error)
    if seen != "dialing":
        raise FaultDidNotLand(f"a JoinRoom of {user} was not caught in flight ({seen}): {await end_join(stack, user)}")
    return f"a JoinRoom of {user} is in flight: the bridge dials LiveKit"


async def end_join(stack: Stack, user: str) -> str:
    """Wait for the answer of that JoinRoom; return it, whatever it is."""
    try:
        return f"JoinRoom of {user} answered, participant {await stack.joining.pop(user)}"
    except BridgeRefused as error:  # also a bridge that ended meanwhile
        return str(error)


async def _join(stack: Stack, user: str) -> str:
    room = stack.system.room_of(user)
    bridge = stack.bridge_target()
    front = stack.fronts["bridge->livekit"]
    token = stack.keys.agent_token(user, room)
    return await join_room(bridge, user=user, room=room, token=token, livekit_url=f"ws://{front[0]}:{front[1]}")
