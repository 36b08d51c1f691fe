"""The reference cloud towards its bridge: reconnections, refusals, and what the phone is told about its audio."""

import asyncio
from dataclasses import replace

from harness.tests.reference_cloud_world import BRISK, USER, eventually, world


async def audio_health(w):
    async with w.http.get(f"{w.url}/health") as reply:
        return (await reply.json())["audio"]


async def hears(w, pcm):
    w.bridge.say(pcm)
    await eventually(lambda: w.app.audio and w.app.audio[-1] == pcm, f"audio {pcm!r}")


async def come_back(w, phone, code=1001):
    await phone.socket.close(code=code)
    await eventually(lambda: w.log_lines("[WebsocketGlassesService"), "close line")
    back = await w.phone()
    await back.acknowledged()
    return back


async def test_a_reconnection_keeps_a_healthy_bridge_session():
    async with world() as w:
        phone = await w.captions_running()
        await come_back(w, phone)
        assert w.bridge.calls == ["JoinRoom", "StreamAudio", "GetStatus"]
        order = (
            "Bridge status fetched",
            "Reconnect: bridge status",
            "Reconnect: bridge healthy, keeping session",
            "Sent CONNECTION_ACK",
        )
        assert w.log_words(*order) == ["Sent CONNECTION_ACK", *order]
        await hears(w, b"ab")


async def test_a_reconnection_rejoins_when_the_bridge_is_not_well_leaving_first():
    async with world() as w:
        phone = await w.captions_running()
        w.bridge.forget_status = True
        await come_back(w, phone)
        assert w.bridge.calls[2:5] == ["GetStatus", "LeaveRoom", "JoinRoom"]
        assert w.log_lines("Bridge rejoined LiveKit room")
        assert w.log_lines("Reconnect: bridge rejoin attempted")
        await hears(w, b"ab")


async def test_two_rejoins_within_the_window_are_one():
    async with world(timers=replace(BRISK, rejoin_backoff_s=5)) as w:
        phone = await w.captions_running()
        w.bridge.forget_status = True
        await come_back(w, phone)
        await (await w.phone()).acknowledged()
        assert w.bridge.calls.count("JoinRoom") == 2
        assert len(w.log_lines("Skipping rejoin due to backoff window")) == 1


async def test_a_stream_error_is_mended_once_by_a_new_join():
    async with world() as w:
        phone = await w.captions_running()
        w.bridge.sessions[USER].put_nowait(RuntimeError("broken"))
        await eventually(lambda: w.bridge.calls.count("StreamAudio") == 2, "a second stream")
        assert w.bridge.calls == ["JoinRoom", "StreamAudio", "LeaveRoom", "JoinRoom", "StreamAudio"]
        order = ("Audio stream error", "Attempting to reconnect after stream error", "Connected to LiveKit room")
        assert w.log_words(*order) == ["Connected to LiveKit room", *order]
        await hears(w, b"ab")
        await eventually(lambda: phone.audio_statuses() == ["unavailable", "available"], "both words")


async def test_two_sockets_at_once_end_with_one_stream_that_carries_everything():
    async with world() as w:
        w.bridge.join_gate = asyncio.Event()
        first = await w.phone()
        await eventually(lambda: w.bridge.calls == ["JoinRoom"], "the first join")
        second = await w.phone()
        await eventually(lambda: "GetStatus" in w.bridge.calls, "the second socket's status")
        w.bridge.join_gate.set()
        await second.acknowledged(2)
        assert first.of("connection_ack") == []
        await eventually(lambda: w.bridge.open_streams == 1, "one stream")
        await second.socket.send_json({"type": "start_app", "packageName": "com.example.captions"})
        await eventually(lambda: second.of("app_started"), "the app")
        await eventually(lambda: second.of("microphone_state_change"), "microphone")
        for n in range(20):
            w.bridge.say(bytes([n, n]))
        await eventually(lambda: w.app.audio == [bytes([n, n]) for n in range(20)], "all of the audio")


async def test_a_rejoin_waits_for_the_reconnect_in_flight():
    async with world() as w:
        phone = await w.captions_running()
        w.bridge.join_gate = asyncio.Event()
        w.bridge.sessions[USER].put_nowait(RuntimeError("broken"))
        await eventually(lambda: w.bridge.calls.count("JoinRoom") == 2, "the reconnect's join")
        await phone.socket.close()
        back = await w.phone()
        await eventually(lambda: w.log_lines("Reconnect: bridge status"), "the reconnection's check")
        await asyncio.sleep(0.05)
        assert w.bridge.calls.count("JoinRoom") == 2
        w.bridge.join_gate.set()
        await back.acknowledged()
        await eventually(lambda: w.bridge.open_streams == 1, "one stream")
        for n in range(20):
            w.bridge.say(bytes([n, n]))
        await eventually(lambda: w.app.audio == [bytes([n, n]) for n in range(20)], "all of the audio")


async def test_a_refused_join_is_acknowledged_and_told():
    async with world() as w:
        w.bridge.refuse_all = "session already exists for this user"
        phone = await w.phone()
        ack = await phone.acknowledged()
        assert "livekit" in ack
        await eventually(phone.audio_statuses, "the word")
        assert [m["type"] for m in phone.received] == ["connection_ack", "audio_status"]
        assert phone.received[1]["message"] == "Audio unavailable - transcription disabled"
        order = (
            "gRPC client initialized",
            "Calling JoinRoom RPC",
            "JoinRoom returned failure",
            "Failed to start bridge subscriber",
            "Returning LiveKit info",
            "Included LiveKit info in CONNECTION_ACK",
            "Sent CONNECTION_ACK",
        )
        assert w.log_words(*order) == list(order)
        again = await w.phone()
        await eventually(lambda: again.audio_statuses() == ["unavailable"], "the word for the new socket")


async def test_a_bridge_that_is_not_there_is_told_too():
    async with world(bridge_address="127.0.0.1:1") as w:
        phone = await w.phone()
        await phone.acknowledged()
        await eventually(lambda: phone.audio_statuses() == ["unavailable"], "the word")
        assert w.log_lines("JoinRoom RPC failed")


async def test_silence_with_the_microphone_on_is_told_and_counted_until_audio_comes():
    async with world() as w:
        phone = await w.captions_running()
        await eventually(lambda: phone.audio_statuses() == ["unavailable"], "unavailable")
        assert await audio_health(w) == {"available": 0, "unavailable": 1}
        await hears(w, b"ab")
        await eventually(lambda: phone.audio_statuses() == ["unavailable", "available"], "available")
        assert await audio_health(w) == {"available": 1, "unavailable": 0}


async def test_flowing_audio_is_never_called_unavailable():
    async with world(timers=replace(BRISK, audio_unavailable_s=0.3)) as w:
        phone = await w.captions_running()
        for _ in range(10):
            w.bridge.say(b"ab")
            await asyncio.sleep(0.04)
        assert phone.audio_statuses() == []


async def test_ack_hides_audio_failure_says_nothing_and_counts_nothing():
    async with world("ack-hides-audio-failure") as w:
        w.bridge.refuse_all = "session already exists for this user"
        phone = await w.captions_running()
        await eventually(lambda: w.log_lines("Failed to start bridge subscriber"), "the failure")
        await asyncio.sleep(2 * BRISK.audio_unavailable_s)
        assert phone.audio_statuses() == []
        assert await audio_health(w) == {"available": 1, "unavailable": 0}


async def test_no_getstatus_alone_rejoins_at_every_reconnection_and_audio_comes_back():
    async with world("no-getstatus") as w:
        phone = await w.captions_running()
        await come_back(w, phone)
        assert w.bridge.calls[2:4] == ["LeaveRoom", "JoinRoom"]
        assert "this.client.getStatus is not a function" in w.log_lines("GetStatus threw")[0]
        assert '"last_disconnect_reason": "exception"' in w.log_lines("Bridge status fetched")[0]
        await hears(w, b"ab")


async def test_the_incident_refused_twice_acknowledged_and_never_heard_again():
    async with world("no-getstatus", "rejoin-without-leave", "ack-hides-audio-failure") as w:
        w.bridge.refuse_existing = True
        phone = await w.captions_running()
        await hears(w, b"ab")
        lines_before = len(w.log_lines())
        back = await come_back(w, phone)
        order = (
            "GetStatus threw",
            "Bridge status fetched",
            "Reconnect: bridge status",
            "gRPC client initialized",
            "Calling JoinRoom RPC",
            "JoinRoom returned failure",
            "Bridge rejoin failed",
            "Reconnect: bridge rejoin attempted",
            "Failed to start bridge subscriber",
            "Returning LiveKit info",
            "Included LiveKit info in CONNECTION_ACK",
            "Sent CONNECTION_ACK",
        )
        seen = [word for line in w.log_lines()[lines_before:] for word in order if line.startswith(word)]
        assert seen == [
            *("GetStatus threw", "Bridge status fetched", "Reconnect: bridge status"),
            *("Calling JoinRoom RPC", "JoinRoom returned failure", "Bridge rejoin failed"),
            "Reconnect: bridge rejoin attempted",
            *("gRPC client initialized", "Calling JoinRoom RPC", "JoinRoom returned failure"),
            *("Failed to start bridge subscriber", "Returning LiveKit info"),
            *("Included LiveKit info in CONNECTION_ACK", "Sent CONNECTION_ACK"),
        ]
        assert "LeaveRoom" not in w.bridge.calls
        w.bridge.say(b"cd")
        await asyncio.sleep(0.1)
        assert w.app.audio == [b"ab"]
        assert w.bridge.open_streams == 1, "the zombie's stream stays open"
        assert back.audio_statuses() == []


async def test_rejoin_without_leave_meets_a_fixed_bridge_and_audio_comes_back():
    async with world("rejoin-without-leave") as w:
        phone = await w.captions_running()
        await come_back(w, phone)
        assert w.bridge.calls.count("JoinRoom") == 2
        await hears(w, b"ab")


async def test_a_disposed_session_leaves_no_client_behind():
    async with world() as w:
        phone = await w.captions_running()
        w.bridge.sessions[USER].put_nowait(None)
        await eventually(lambda: w.log_lines("Audio stream ended"), "the end")
        session = w.cloud.session(USER)
        assert session is not None
        await session.livekit.ensure_connected()
        await hears(w, b"ab")
        await phone.socket.close()
        await eventually(lambda: w.log_lines("🗑️ Session disposed"), "disposal")
        await eventually(lambda: w.bridge.open_streams == 0, "no stream")
        assert w.bridge.calls.count("LeaveRoom") == 1
        assert [line for line in w.log_lines() if "work failed" in line] == []


async def test_a_session_that_never_joined_never_leaves():
    async with world() as w:
        w.bridge.refuse_all = "no"
        phone = await w.phone()
        await phone.acknowledged()
        await phone.socket.close()
        await eventually(lambda: w.log_lines("🗑️ Session disposed"), "disposal")
        assert w.bridge.calls == ["JoinRoom"]
