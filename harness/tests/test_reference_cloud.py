"""The reference cloud's path from a phone to its captions, and what happens when phones, apps and STT come and go."""

import asyncio
from dataclasses import replace

import aiohttp
import jwt
import pytest

from harness.tests.reference_cloud_world import (
    APP_KEY,
    BRISK,
    KEYS,
    PACKAGE,
    USER,
    core_token,
    eventually,
    world,
)


async def test_speech_becomes_captions_at_every_hop():
    async with world() as w:
        phone = await w.captions_running()
        await eventually(lambda: w.log_lines("STT stream ready"), "STT ready")
        for n in range(100):
            w.bridge.say(bytes([n, 1]) * 20)
        await eventually(lambda: len(w.app.audio) == 100, "audio at the app")
        await eventually(lambda: len(w.stt.audio) == 100, "all of the audio at STT")
        assert w.app.audio == [bytes([n, 1]) * 20 for n in range(100)]
        await w.stt.say(("one", True), (" tw", False))
        await w.stt.say((" two", True), ("<end>", True), (" three", False))
        await eventually(lambda: w.app.heard(final=True) == ["one two"], "final caption")
        assert w.app.heard(final=False) == ["one tw", "three"]
        stream = next(m for m in w.app.received if m["type"] == "data_stream")
        assert stream["streamType"] == "transcription:en-US"
        assert stream["sessionId"] == f"{USER}-{PACKAGE}"
        await w.app.socket.send_json(
            {"type": "display_event", "view": "main", "layout": {"layoutType": "text_wall", "text": "one two"}}
        )
        event = (await eventually(lambda: phone.of("display_event"), "display"))[0]
        assert event["layout"]["text"] == "one two"
        assert event["packageName"] == PACKAGE
        assert w.log_lines("AudioManager received PCM chunk")
        assert w.log_lines("Received audio chunks from gRPC bridge")
        order = ("Calling JoinRoom RPC", "Joined LiveKit room", "Bridge subscriber connected", "Sent CONNECTION_ACK")
        assert w.log_words(*order) == list(order)


async def test_no_token_and_no_key_reaches_the_log():
    async with world() as w:
        await w.captions_running()
        text = w.log_stream.getvalue()
        for secret in (core_token(), APP_KEY, KEYS.secret, w.bridge.joins[0].token, "stt-secret-key", "eyJ"):
            assert secret not in text


async def test_the_ack_and_the_bridge_get_the_tokens_of_the_contract():
    async with world(room_template="room-x-{user}") as w:
        phone = await w.phone()
        ack = await phone.acknowledged()
        assert ack["sessionId"] == USER
        assert ack["livekit"]["roomName"] == f"room-x-{USER}"
        claims = jwt.decode(ack["livekit"]["token"], KEYS.secret, algorithms=["HS256"])
        assert claims["sub"] == USER
        assert claims["video"]["canSubscribe"] is False
        assert 0 < claims["exp"] - claims["nbf"] <= 305
        join = w.bridge.joins[0]
        assert (join.user_id, join.target_identity, join.livekit_url) == (USER, USER, KEYS.url)
        agent = jwt.decode(join.token, KEYS.secret, algorithms=["HS256"])
        assert agent["sub"] == f"cloud-agent:{USER}"
        assert agent["video"]["room"] == f"room-x-{USER}"
        headers = {"Authorization": f"Bearer {core_token()}"}
        async with w.http.get(f"{w.url}/api/client/livekit/token", headers=headers) as reply:
            data = (await reply.json())["data"]
        assert (data["room"], data["identity"], data["url"]) == (f"room-x-{USER}", USER, KEYS.url)
        assert jwt.decode(data["token"], KEYS.secret, algorithms=["HS256"])["video"]["canSubscribe"] is True


async def test_a_phone_that_does_not_ask_gets_no_livekit_and_no_join():
    async with world() as w:
        phone = await w.phone(livekit=False)
        assert "livekit" not in await phone.acknowledged()
        assert w.bridge.calls == []
        assert w.log_lines("Sent CONNECTION_ACK") == []


@pytest.mark.parametrize(("token", "text"), [("", "No core token provided"), ("bad", "Invalid core token")])
async def test_a_bad_core_token_is_refused_with_401(token, text):
    async with world() as w:
        async with w.http.get(f"{w.url}/glasses-ws?token={token}") as reply:
            assert reply.status == 401
            body = await reply.json()
        assert (body["type"], body["message"]) == ("connection_error", text)
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await w.http.ws_connect(f"{w.url}/glasses-ws?token={token}")


async def test_a_message_that_is_no_json_closes_the_phone_with_1008():
    async with world() as w:
        phone = await w.phone()
        await phone.acknowledged()
        await phone.socket.send_str("{nonsense")
        await eventually(lambda: phone.close_code == 1008, "close 1008")
        assert w.cloud.session(USER) is not None


async def test_binary_from_the_phone_takes_the_same_path_and_odd_bytes_are_carried():
    async with world() as w:
        phone = await w.captions_running()
        for piece in (b"abc", b"d", b"ef"):
            await phone.socket.send_bytes(piece)
        await eventually(lambda: b"".join(w.app.audio) == b"abcdef", "audio at the app")
        assert all(len(chunk) % 2 == 0 for chunk in w.app.audio)


async def test_a_session_outlives_its_phone_by_the_grace_then_leaves_the_room():
    async with world() as w:
        phone = await w.captions_running()
        await phone.socket.close(code=1001)
        await eventually(lambda: w.log_lines("[WebsocketGlassesService"), "close line")
        assert w.bridge.calls == ["JoinRoom", "StreamAudio"]
        await eventually(lambda: "LeaveRoom" in w.bridge.calls, "LeaveRoom after the grace")
        await eventually(lambda: w.log_lines("🗑️ Session disposed"), "disposal")
        assert w.bridge.sessions == {}
        assert w.cloud.session(USER) is None
        assert w.app.socket.close_code == 1000


async def test_apps_that_ran_are_started_again_by_a_fresh_session_of_a_fresh_cloud(tmp_path):
    database = str(tmp_path / "made" / "users.sqlite")
    async with world(database=database) as w:
        await w.captions_running()
    async with world(database=database) as w:
        phone = await w.phone()
        await phone.acknowledged()
        assert [hook["type"] for hook in w.app.webhooks] == ["session_request"]
        await eventually(lambda: phone.of("microphone_state_change"), "microphone on")
        await eventually(lambda: w.bridge.calls == ["JoinRoom", "StreamAudio"], "one join")


async def test_with_its_defect_a_fresh_session_forgets_the_apps_that_ran(tmp_path):
    database = str(tmp_path / "users.sqlite")
    async with world(database=database) as w:
        await w.captions_running()
    async with world("forget-running-apps", database=database) as w:
        phone = await w.phone()
        await phone.acknowledged()
        await asyncio.sleep(0.05)
        assert w.app.webhooks == []
        assert w.cloud.ctx.users.running_apps(USER) == [PACKAGE]


async def test_a_late_close_of_the_first_socket_does_not_end_the_session():
    async with world() as w:
        first = await w.captions_running()
        second = await w.phone()
        await second.acknowledged()
        await first.socket.close()
        await asyncio.sleep(BRISK.grace_s + 0.05)
        assert w.cloud.session(USER) is not None
        w.bridge.say(b"ab")
        await eventually(lambda: w.app.audio, "audio")
        assert "LeaveRoom" not in w.bridge.calls


async def test_with_its_defect_a_late_close_ends_the_live_session():
    async with world("close-without-identity") as w:
        first = await w.captions_running()
        second = await w.phone()
        await second.acknowledged()
        await first.socket.close()
        await eventually(lambda: "LeaveRoom" in w.bridge.calls, "LeaveRoom after the grace")
        assert w.cloud.session(USER) is None
        assert not second.socket.closed


async def test_a_phone_without_pongs_is_closed_with_1001():
    async with world(timers=replace(BRISK, ping_s=0.05, pong_s=0.2, close_s=0.2)) as w:
        phone = await w.phone()
        phone.pongs = False
        await phone.acknowledged()
        await eventually(lambda: phone.close_code == 1001, "close 1001")
        assert w.log_lines("[UserSession:pongTimeout] Phone connection timeout - no pong for 2")


async def test_a_phone_with_pongs_is_left_alone():
    async with world(timers=replace(BRISK, ping_s=0.1, pong_s=0.4)) as w:
        phone = await w.phone()
        await phone.acknowledged()
        await asyncio.sleep(0.5)
        assert phone.close_code is None


async def test_force_disconnect_drops_the_socket_without_a_close_frame():
    async with world() as w:
        phone = await w.phone()
        await phone.acknowledged()
        headers = {"Authorization": f"Bearer {core_token()}"}
        async with w.http.post(f"{w.url}/api/client/debug/force-disconnect", headers=headers) as reply:
            assert reply.status == 200
        await eventually(lambda: phone.close_code == 1006, "close 1006")
        await eventually(lambda: w.log_lines("[WebsocketGlassesService"), "close line")


async def test_an_app_that_stays_away_is_called_again_by_webhook():
    async with world() as w:
        await w.captions_running()
        await w.app.socket.close()
        await eventually(lambda: len(w.app.webhooks) == 2, "second webhook")
        assert [hook["type"] for hook in w.app.webhooks] == ["session_request"] * 2
        await eventually(lambda: len(w.log_lines("Subscriptions updated")) == 2, "the app's subscriptions")
        w.bridge.say(b"ab")
        await eventually(lambda: w.app.audio == [b"ab"], "audio at the app")


async def test_an_empty_update_is_ignored_only_soon_after_the_connection():
    async with world() as w:
        phone = await w.captions_running()
        await w.app.subscribe([])
        await eventually(lambda: w.log_lines("Empty subscription update ignored"), "the refusal")
        await asyncio.sleep(BRISK.empty_update_grace_s)
        assert phone.of("microphone_state_change")[-1]["isMicrophoneEnabled"] is True
        await w.app.subscribe([])
        await eventually(lambda: not phone.of("microphone_state_change")[-1]["isMicrophoneEnabled"], "microphone off")
        await eventually(lambda: w.stt.closes == [1000], "STT stream closed")


async def test_an_app_connects_by_headers_too():
    async with world() as w:
        w.app.by_headers = True
        await w.captions_running()
        assert w.app.received[0]["type"] == "tpa_connection_ack"


@pytest.mark.parametrize(
    ("session", "key", "code"),
    [
        ("nobody@example.com", APP_KEY, "SESSION_NOT_FOUND"),
        (USER, "wrong", "INVALID_API_KEY"),
        (USER, APP_KEY, "APP_NOT_STARTED"),
    ],
)
async def test_an_app_that_may_not_connect_hears_why(session, key, code):
    async with world() as w:
        phone = await w.phone()
        await phone.acknowledged()
        async with w.http.ws_connect(f"{w.url}/app-ws") as socket:
            init = {"type": "tpa_connection_init", "packageName": PACKAGE, "sessionId": f"{session}-{PACKAGE}"}
            await socket.send_json({**init, "apiKey": key})
            error = await socket.receive_json()
            assert (error["type"], error["code"]) == ("tpa_connection_error", code)
            await socket.receive()
            assert socket.close_code == 1008


async def test_an_app_that_never_connects_does_not_keep_the_phone_from_its_ack():
    async with world(timers=replace(BRISK, app_connect_s=0.1)) as w:
        w.app.connects = False
        w.cloud.ctx.users.add_running(USER, PACKAGE)
        phone = await w.phone()
        await phone.acknowledged()
        assert phone.of("app_stopped") == []
        await eventually(lambda: phone.of("app_stopped"), "app_stopped")
        assert [message["packageName"] for message in phone.of("app_stopped")] == [PACKAGE]


async def test_stop_app_ends_socket_stream_and_microphone():
    async with world() as w:
        phone = await w.captions_running()
        await phone.socket.send_json({"type": "stop_app", "packageName": PACKAGE})
        await eventually(lambda: w.app.webhooks[-1]["type"] == "stop_request", "stop_request")
        await eventually(lambda: not phone.of("microphone_state_change")[-1]["isMicrophoneEnabled"], "microphone off")
        await eventually(lambda: w.stt.closes == [1000], "STT stream closed")
        assert w.cloud.ctx.users.running_apps(USER) == []


async def test_an_stt_stream_that_was_closed_normally_comes_back_with_the_next_speech_start():
    async with world() as w:
        phone = await w.captions_running()
        await eventually(lambda: w.stt.socket, "STT socket")
        await w.stt.socket.close(code=1000)
        await eventually(lambda: w.log_lines("STT stream ended"), "the end")
        await asyncio.sleep(4 * BRISK.stt_retry_s)
        assert len(w.stt.configurations) == 1
        await phone.socket.send_json({"type": "VAD", "status": True})
        await eventually(lambda: len(w.stt.configurations) == 2, "a new stream")
        await phone.socket.send_json({"type": "VAD", "status": True})
        await eventually(lambda: w.log_lines("Stream already exists and is healthy"), "the healthy line")


@pytest.mark.parametrize(("code", "attempts"), [(503, 3), (401, 1)])
async def test_stt_errors_are_retried_by_the_policy(code, attempts):
    async with world() as w:
        w.stt.refuse_code = code
        await w.captions_running()
        await eventually(lambda: w.log_lines("STT stream failed permanently"), "the verdict")
        assert len(w.stt.configurations) == attempts


async def test_the_newest_fifty_chunks_before_stt_is_ready_are_kept():
    async with world(timers=replace(BRISK, stt_ready_s=0.2)) as w:
        await w.captions_running()
        for n in range(60):
            w.bridge.say(bytes([n, n]))
        await eventually(lambda: len(w.app.audio) == 60, "audio at the app")
        assert w.stt.audio == []
        await eventually(lambda: w.stt.audio == [bytes([n, n]) for n in range(10, 60)], "the newest fifty at STT")


async def test_display_shows_the_newest_at_the_end_of_the_window_and_only_with_glasses():
    async with world() as w:
        phone = await w.captions_running()
        for n in range(5):
            await w.app.socket.send_json({"type": "display_event", "view": "main", "layout": {"text": str(n)}})
        await eventually(lambda: len(phone.of("display_event")) == 2, "two events")
        assert [event["layout"]["text"] for event in phone.of("display_event")] == ["0", "4"]
        await phone.socket.send_json({"type": "glasses_connection_state", "modelName": "", "status": "DISCONNECTED"})
        await asyncio.sleep(BRISK.display_throttle_s)
        await w.app.socket.send_json({"type": "display_event", "view": "main", "layout": {"text": "5"}})
        await eventually(lambda: w.log_lines("Display request dropped"), "the drop")
        assert len(phone.of("display_event")) == 2


async def test_audio_with_the_microphone_off_is_forbidden_and_still_fed():
    async with world() as w:
        phone = await w.phone()
        await phone.acknowledged()
        w.bridge.say(b"ab")
        w.bridge.say(b"ab")
        await eventually(lambda: w.log_lines("Receiving unauthorized audio - forcing mic off immediately"), "the line")
        await eventually(lambda: phone.of("microphone_state_change"), "the order")
        assert [m["isMicrophoneEnabled"] for m in phone.of("microphone_state_change")] == [False]
