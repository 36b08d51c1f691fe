"""The reference cloud's joins in trouble: what the mend does, and what its switch takes away."""

import asyncio

import pytest

from harness.reference.cloud.bridge_calls import OWED_LIMIT, BridgeCalls
from harness.reference.cloud.log import Log
from harness.reference.cloud.timers import Timers
from harness.reference.proto import bridge_pb2
from harness.tests.reference_cloud_world import USER, eventually, world
from harness.tests.test_reference_cloud_bridge_mends import QUICK, hears

CALM_S = 0.3


@pytest.mark.parametrize("defects", [(), ("no-rpc-deadline",)])
async def test_a_join_that_is_never_answered_keeps_no_phone_waiting(defects):
    async with world(*defects, timers=QUICK) as w:
        w.bridge.join_gate = asyncio.Event()
        phone = await w.phone()
        if not defects:
            await phone.acknowledged()
            assert phone.audio_statuses()[-1] == "unavailable"
        else:
            await asyncio.sleep(CALM_S)
            assert phone.of("connection_ack") == []
        w.bridge.join_gate.set()
        await phone.acknowledged()


@pytest.mark.parametrize("defects", [(), ("forget-failed-leave",)])
async def test_a_leave_that_failed_is_made_good_before_the_next_join(defects):
    async with world(*defects, timers=QUICK) as w:
        phone = await w.captions_running()
        w.bridge.refuse_existing = True
        w.bridge.leave_gate = asyncio.Event()
        await phone.socket.close()
        await eventually(lambda: w.log_lines("LeaveRoom RPC failed"), "the leave that fails")
        w.bridge.leave_gate = None
        await eventually(lambda: w.log_lines("🗑️ Session disposed"), "disposal")
        w.bridge.sessions.setdefault(USER, asyncio.Queue())
        w.bridge.calls.clear()
        again = await w.phone()
        await again.acknowledged()
        await eventually(lambda: "JoinRoom" in w.bridge.calls, "a join")
        if defects:
            assert "LeaveRoom" not in w.bridge.calls
            assert again.audio_statuses()[-1] == "unavailable"
        else:
            assert w.bridge.calls[:2] == ["LeaveRoom", "JoinRoom"]
            await eventually(lambda: w.bridge.open_streams == 1, "the stream")


@pytest.mark.parametrize(("defects", "clients"), [((), 1), (("init-twice",), 2)])
async def test_a_second_connection_init_begins_nothing(defects, clients):
    async with world(*defects, timers=QUICK) as w:
        phone = await w.captions_running()
        await phone.socket.send_json({"type": "connection_init"})
        await phone.socket.send_json({"type": "VAD", "status": False})
        if defects:
            await eventually(lambda: len(w.log_lines("gRPC client initialized")) == clients, "the second client")
        else:
            await eventually(lambda: w.log_lines("Connection initialised already"), "the refusal")
            assert len(w.log_lines("gRPC client initialized")) == clients
            assert len(phone.of("connection_ack")) == 1
            await hears(w, b"ab")


@pytest.mark.parametrize(("defects", "joins"), [((), 1), (("no-connecting-guard",), 2)])
async def test_a_second_path_waits_for_the_join_in_flight(defects, joins):
    async with world(*defects, timers=QUICK) as w:
        w.bridge.join_gate = asyncio.Event()
        await w.phone()
        await eventually(lambda: "JoinRoom" in w.bridge.calls, "the first join")
        session = w.cloud.session(USER)
        assert session is not None
        other = asyncio.create_task(session.livekit.ensure_connected())
        if defects:
            await eventually(lambda: w.bridge.calls.count("JoinRoom") == joins, "the second join")
        else:
            await other
            assert w.bridge.calls.count("JoinRoom") == joins
        w.bridge.join_gate.set()
        await other


def calls_of(owed, user, unary):
    calls = object.__new__(BridgeCalls)
    calls.__dict__ |= {
        "_user_id": user, "_owed": owed, "_forgetful": False, "_patient": False, "_log": Log(),
        "_timers": Timers(), "_pb": bridge_pb2, "_unary": lambda *_: unary, "rpc_error": ValueError,
        "_closed_channel": KeyError,
    }  # fmt: skip
    return calls


async def test_a_leave_that_is_cancelled_is_owed():
    owed: dict[str, None] = {}
    leaving = asyncio.create_task(calls_of(owed, USER, lambda *_, **__: asyncio.Event().wait()).leave("end"))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait([leaving])
    assert leaving.cancelled()
    assert owed == {USER: None}


async def test_what_is_owed_is_bounded():
    async def fails(*_, **__):
        raise KeyError

    owed = {f"user-{number}": None for number in range(OWED_LIMIT)}
    await calls_of(owed, "user-0", fails).leave("end")
    await calls_of(owed, USER, fails).leave("end")
    assert len(owed) == OWED_LIMIT
    assert "user-1" not in owed
    assert {"user-0", "user-2", USER} < set(owed)
