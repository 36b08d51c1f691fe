"""Calls to the bridge behind its cloud's back: what proves that a session was ended, and what does not."""

import asyncio
from types import SimpleNamespace
from typing import Any

import grpc.aio
import pytest

from harness.bridge_client import BridgeStatus
from harness.errors import FaultDidNotLand
from harness.faults import SessionEnded
from harness.rig import foreign_calls
from harness.rig.scene import RigScene
from harness.tests.made_up_livekit import USER, FakeLiveKit, sessions, talking

NOT_USED: tuple[Any, Any] = (None, None)
BOTH = pytest.mark.parametrize("call", ["LeaveRoom", "JoinRoom"])


def stack_of(port, *, ended=None) -> Any:
    """A stack whose bridge listens at the port; `ended` says how it exited."""

    async def over():
        return ended or await asyncio.Event().wait()

    return SimpleNamespace(
        live={"bridge": SimpleNamespace(wait_exit=over, alive=lambda: True)},
        address=lambda _part, _port: ("127.0.0.1", port),
        bridge_target=lambda: f"127.0.0.1:{port}",
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


@BOTH
async def test_nothing_ends_where_there_is_no_session(call):
    livekit = FakeLiveKit()
    async with talking(livekit) as cloud:
        with pytest.raises(FaultDidNotLand, match=f"the bridge has no session of {USER} to end"):
            await foreign_calls.end_session(stack_of(cloud.bridge.port), USER, call)
        assert await sessions(cloud) == 0
    assert livekit.dials == 0


@BOTH
async def test_a_bridge_that_does_not_know_getstatus_counts_its_sessions(call, monkeypatch):
    counts = iter((0, 1))

    async def counted(_address, _users):
        return BridgeStatus(answered=True, active_sessions=next(counts))

    monkeypatch.setattr(foreign_calls, "read_status", counted)
    async with talking(FakeLiveKit()) as cloud:
        await cloud.join_call()
        with pytest.raises(FaultDidNotLand, match="the bridge has no session"):
            await foreign_calls.end_session(stack_of(cloud.bridge.port), USER, call)
        assert USER in await foreign_calls.end_session(stack_of(cloud.bridge.port), USER, call)


@BOTH
async def test_a_bridge_that_answers_nothing_has_nothing_to_end(call):
    with pytest.raises(FaultDidNotLand, match=r"the bridge does not say .*GetStatus\(alice@example.com\): UNAVAILABLE"):
        await foreign_calls.end_session(stack_of(1), USER, call)


async def test_only_who_has_a_phone_has_a_session_to_end(monkeypatch):
    async def never(*asked):
        pytest.fail(f"asked for {asked}")

    monkeypatch.setattr(foreign_calls, "end_session", never)
    scene = RigScene(stack_of(1), {}, *NOT_USED)
    with pytest.raises(FaultDidNotLand, match="nobody called alice has a phone"):
        await scene.end_session("alice", "JoinRoom")


def test_who_shares_a_process():
    one, other = object(), object()
    phones = {"alice": one, "bob": other, "carol": one, "dave": None, "erin": None}
    people: Any = {name: SimpleNamespace(name=name, puppet=puppet) for name, puppet in phones.items()}
    scene = RigScene(stack_of(1), people, *NOT_USED)
    assert [scene.sharing_process(name) for name in people] == [("carol",), (), ("alice",), (), ()]


@BOTH
async def test_a_bridge_that_ends_on_the_call_took_it_and_one_that_lives_did_not(call, monkeypatch):
    async def live(_address, users):
        return BridgeStatus(answered=True, connected=dict.fromkeys(users, True))

    monkeypatch.setattr(foreign_calls, "read_status", live)
    monkeypatch.setattr(foreign_calls, "DIES_WITHIN_S", 0.01)
    proof = await foreign_calls.end_session(stack_of(1, ended="exited 2"), USER, call)
    assert proof == f"{call} of {USER} was sent, and the bridge exited 2 on it"
    with pytest.raises(FaultDidNotLand, match=f"did not answer {call}: UNAVAILABLE"):
        await foreign_calls.end_session(stack_of(1), USER, call)


def test_only_the_person_may_feel_it():
    assert SessionEnded("alice").blast == ("alice",)
