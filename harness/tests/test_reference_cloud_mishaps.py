"""The reference cloud when something of its own goes wrong, or ends while something else is in flight."""

import asyncio
import contextlib

import aiohttp
import pytest
from aiohttp import web

from harness.reference.cloud import bridge_client, livekit
from harness.reference.cloud.bridge_calls import Join
from harness.reference.cloud.bridge_client import BridgeClient
from harness.reference.cloud.errors import JoinFailed
from harness.tests.reference_cloud_world import KEYS, PACKAGE, USER, core_token, eventually, world

JOIN = Join(USER, "token", KEYS.url)


def raises(*_):
    raise RuntimeError("broken inside")


def client_of(w):
    return BridgeClient(w.cloud.ctx, USER, lambda _pcm: None, lambda _why: None)


def session_of(w):
    session = w.cloud.session(USER)
    assert session is not None
    return session


async def test_a_status_check_that_breaks_does_not_keep_the_phone_from_its_ack(monkeypatch):
    async with world() as w:
        await (await w.phone()).acknowledged()
        monkeypatch.setattr(session_of(w).livekit, "status", raises)
        await (await w.phone()).acknowledged()
        assert "broken inside" in w.log_lines("Reconnect: bridge status check failed")[0]
        assert w.log_lines("Reconnect: bridge rejoin attempted") == []


async def test_a_connection_that_breaks_inside_is_told_and_closed_with_1011(monkeypatch):
    async with world() as w:
        monkeypatch.setattr(w.cloud.ctx.users, "ensure_user", raises)
        phone = await w.phone()
        await eventually(lambda: phone.close_code == 1011, "close 1011")
        assert [(m["type"], m["code"]) for m in phone.received] == [("connection_error", "INTERNAL_ERROR")]
        assert w.log_lines("Connection initialisation failed")


async def test_a_malformed_message_is_told_before_the_close():
    async with world() as w:
        phone = await w.phone()
        await phone.acknowledged()
        await phone.socket.send_str("{nonsense")
        await eventually(lambda: phone.close_code == 1008, "close 1008")
        assert [error["code"] for error in phone.of("connection_error")] == ["MALFORMED_MESSAGE"]


async def test_the_phones_close_reason_is_logged():
    async with world() as w:
        phone = await w.phone()
        await phone.acknowledged()
        await phone.socket.close(code=1001, message=b"app in background")
        lines = await eventually(lambda: w.log_lines("[WebsocketGlassesService"), "close line")
        assert f"({USER}, 1001, app in background)" in lines[0]


async def test_a_session_that_ends_during_its_join_leaves_what_it_joined():
    async with world() as w:
        w.bridge.join_gate = asyncio.Event()
        phone = await w.phone()
        await eventually(lambda: w.bridge.calls == ["JoinRoom"], "the join")
        await phone.socket.close()
        await eventually(lambda: w.log_lines("Cleanup grace period expired"), "the end of the grace")
        w.bridge.join_gate.set()
        await eventually(lambda: w.log_lines("🗑️ Session disposed"), "disposal")
        assert w.bridge.calls == ["JoinRoom", "LeaveRoom"]
        assert w.bridge.sessions == {}


async def test_a_session_that_ends_during_its_reconnect_leaves_what_it_joined():
    async with world() as w:
        phone = await w.captions_running()
        w.bridge.join_gate = asyncio.Event()
        w.bridge.sessions[USER].put_nowait(RuntimeError("broken"))
        await eventually(lambda: w.bridge.calls.count("JoinRoom") == 2, "the reconnect's join")
        await phone.socket.close()
        await eventually(lambda: w.log_lines("Cleanup grace period expired"), "the end of the grace")
        w.bridge.join_gate.set()
        await eventually(lambda: w.log_lines("🗑️ Session disposed"), "disposal")
        assert w.bridge.calls[-1] == "LeaveRoom"
        assert w.bridge.sessions == {}


async def test_a_join_without_an_answer_delays_the_farewell_only_so_long(monkeypatch):
    monkeypatch.setattr(bridge_client, "UNANSWERED_JOIN_S", 0.05)
    async with world() as w:
        w.bridge.join_gate = asyncio.Event()
        phone = await w.phone()
        await eventually(lambda: w.bridge.calls == ["JoinRoom"], "the join")
        await phone.socket.close()
        await eventually(lambda: w.log_lines("🗑️ Session disposed"), "disposal")
        assert w.log_lines("Not waiting longer for the bridge's answer")
        assert w.bridge.calls == ["JoinRoom"]


async def test_a_farewell_without_an_end_delays_the_next_session_only_so_long(monkeypatch):
    monkeypatch.setattr(livekit, "FAREWELL_S", 0.05)
    async with world() as w:
        w.bridge.leave_gate = asyncio.Event()
        phone = await w.phone()
        await phone.acknowledged()
        await phone.socket.close()
        await eventually(lambda: "LeaveRoom" in w.bridge.calls, "the farewell")
        await (await w.phone()).acknowledged()
        assert w.log_lines("🗑️ Session disposed") == []
        assert w.bridge.calls.count("JoinRoom") == 2


async def test_a_client_that_ended_joins_no_more():
    async with world() as w:
        client = client_of(w)
        await client.disconnect()
        for join in (client.connect, client.rejoin):
            with pytest.raises(JoinFailed, match="disposed"):
                await join(JOIN)
        assert (await client.status()).last_disconnect_reason == "exception"
        assert w.bridge.calls == []


async def test_a_closed_channel_is_a_failed_join():
    async with world() as w:
        client = client_of(w)
        await client._calls.close()
        with pytest.raises(JoinFailed, match="closed"):
            await client.connect(JOIN)


async def test_the_first_chunk_goes_before_a_half_close_that_follows_at_once():
    async with world() as w:
        client = client_of(w)
        await client.connect(JOIN)
        await client.rejoin(JOIN)
        await eventually(lambda: w.bridge.calls.count("StreamAudio") == 2, "both streams")
        await client.disconnect()


async def test_an_app_stopped_at_the_end_of_its_grace_stays_stopped():
    async with world() as w:
        await w.captions_running()
        apps = session_of(w).apps
        app = apps._apps[PACKAGE]
        await w.app.socket.close()
        await eventually(lambda: w.log_lines("App disconnected, grace period started"), "the grace")
        apps._grace_ended(app)
        await apps.stop(PACKAGE)
        assert [hook["type"] for hook in w.app.webhooks] == ["session_request", "stop_request"]
        assert w.log_lines("Background work failed") == []


async def test_a_second_socket_hears_of_its_audio_only_after_its_own_ack():
    async with world() as w:
        await (await w.phone()).acknowledged()
        w.bridge.status_gate = asyncio.Event()
        second = await w.phone()
        await eventually(lambda: "GetStatus" in w.bridge.calls, "the second socket's status")
        session_of(w).audio_status.failed("a test's")
        w.bridge.status_gate.set()
        await eventually(second.audio_statuses, "the word")
        kinds = [m["type"] for m in second.received if m["type"] != "microphone_state_change"]
        assert kinds == ["connection_ack", "audio_status"]


async def test_a_caller_that_hangs_up_during_its_upgrade_is_no_alarm(monkeypatch, caplog):
    async def prepare(self, request):
        raise ConnectionResetError("Cannot write to closing transport")

    async with world() as w:
        monkeypatch.setattr(web.WebSocketResponse, "prepare", prepare)
        for path in ("/app-ws", f"/glasses-ws?token={core_token()}"):
            with contextlib.suppress(aiohttp.ClientError):
                await w.http.ws_connect(f"{w.url}{path}")
        lines = await eventually(lambda: w.log_lines("Caller hung up before its answer"), "line")
        assert len(lines) == 2
    assert "Error handling request" not in caplog.text
