"""Calls to the bridge behind its cloud's back: what proves that a session was ended, and what does not."""

import asyncio
from types import SimpleNamespace

import grpc.aio
import pytest

from harness.errors import FaultDidNotLand
from harness.faults import SessionEnded
from harness.rig import foreign_calls
from harness.tests.made_up_livekit import USER, FakeLiveKit, sessions, talking

BOTH = pytest.mark.parametrize("call", ["LeaveRoom", "JoinRoom"])


def stack_of(port, *, ended=None):
    """A stack whose bridge listens at the port; `ended` says how it exited."""
    over = asyncio.get_running_loop().create_future()
    if ended:
        over.set_result(ended)
    return SimpleNamespace(
        live={"bridge": SimpleNamespace(wait_exit=lambda: over, alive=lambda: True)},
        address=lambda _part, _port: ("127.0.0.1", port),
        system=SimpleNamespace(room_of=lambda user: user),
        fronts={"bridge->livekit": ("127.0.0.1", 1)},
        keys=SimpleNamespace(agent_token=lambda _user, _room: "t"),
        planted=[],
    )


@BOTH
async def test_the_answer_proves_that_the_session_ended(call):
    async with talking(FakeLiveKit()) as cloud:
        await cloud.join_call()
        stream = await cloud.stream()
        proof = await foreign_calls.end_session(stack_of(cloud.bridge.port), USER, call)
        assert proof.startswith(f"{call} of {USER} ")
        assert await stream.read() is grpc.aio.EOF
        assert await sessions(cloud) == (1 if call == "JoinRoom" else 0)


async def test_nothing_ends_where_there_is_no_session():
    async with talking(FakeLiveKit()) as cloud:
        with pytest.raises(FaultDidNotLand, match="refused LeaveRoom: session not found"):
            await foreign_calls.end_session(stack_of(cloud.bridge.port), USER, "LeaveRoom")


@BOTH
async def test_a_bridge_that_ends_on_the_call_took_it_and_one_that_lives_did_not(call, monkeypatch):
    monkeypatch.setattr(foreign_calls, "DIES_WITHIN_S", 0.01)
    proof = await foreign_calls.end_session(stack_of(1, ended="exited 2"), USER, call)
    assert proof == f"{call} of {USER} was sent, and the bridge exited 2 on it"
    with pytest.raises(FaultDidNotLand, match=f"did not answer {call}: UNAVAILABLE"):
        await foreign_calls.end_session(stack_of(1), USER, call)


def test_only_the_person_may_feel_it():
    assert SessionEnded("alice").blast == ("alice",)
