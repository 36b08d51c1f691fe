"""The reference cloud's mends towards its bridge: trying again, letting go of former clients, deadlines, gaps."""

import asyncio
from dataclasses import replace

import pytest

from harness.reference.cloud.backoff import Backoff, Replacements
from harness.tests.reference_cloud_world import BRISK, USER, eventually, world

QUICK = replace(
    BRISK, reconnect_cap_s=0.1, ack_wait_s=0.1, join_deadline_s=0.2, leave_deadline_s=0.1, status_deadline_s=0.1,
    replaced_window_s=5, audio_unavailable_s=0.1,
)  # fmt: skip
GAPPY = replace(QUICK, audio_gap_s=0.2, audio_gap_check_s=0.02, audio_gap_cooldown_s=0.3)
CALM_S = 4 * QUICK.reconnect_cap_s
DOWN = "failed to connect to room: no"


async def hears(w, pcm):
    w.bridge.say(pcm)
    await eventually(lambda: w.app.audio and w.app.audio[-1] == pcm, f"audio {pcm!r}")


async def streams_opened(w, count):
    await eventually(lambda: w.bridge.calls.count("StreamAudio") == count, f"stream {count}")


@pytest.mark.parametrize(("defects", "tries"), [((), 3), (("one-shot-reconnect",), 1)])
async def test_a_stream_error_is_tried_until_it_is_mended(defects, tries):
    async with world(*defects, timers=QUICK) as w:
        await w.captions_running()
        w.bridge.refuse_all = DOWN
        w.bridge.sessions[USER].put_nowait(RuntimeError("broken"))
        await eventually(lambda: len(w.log_lines("Reconnection failed")) == tries, "failures")
        w.bridge.refuse_all = ""
        if defects:
            await asyncio.sleep(CALM_S)
            assert w.bridge.calls.count("JoinRoom") == 2
        else:
            await eventually(lambda: w.bridge.calls.count("StreamAudio") == 2, "a second stream")
            await hears(w, b"ab")


async def test_a_stream_that_ends_well_is_opened_again_without_a_leave():
    async with world(timers=QUICK) as w:
        phone = await w.captions_running()
        w.bridge.sessions[USER].put_nowait(None)
        await eventually(lambda: w.bridge.calls.count("StreamAudio") == 2, "a second stream")
        assert "LeaveRoom" not in w.bridge.calls
        await hears(w, b"ab")
        assert phone.audio_statuses()[0] == "unavailable"


async def test_no_reconnect_on_end_leaves_a_stream_that_ended_well():
    async with world("no-reconnect-on-end", timers=QUICK) as w:
        phone = await w.captions_running()
        w.bridge.sessions[USER].put_nowait(None)
        await eventually(lambda: w.log_lines("Audio stream ended"), "the end")
        await asyncio.sleep(CALM_S)
        assert w.bridge.calls == ["JoinRoom", "StreamAudio"]
        assert phone.audio_statuses()[0] == "unavailable"


@pytest.mark.parametrize("defects", [(), ("no-join-retry",)])
async def test_a_first_join_that_failed_is_tried_again(defects):
    async with world(*defects, timers=QUICK) as w:
        w.bridge.refuse_all = DOWN
        phone = await w.phone()
        await phone.acknowledged()
        await eventually(lambda: phone.audio_statuses() == ["unavailable"], "the word")
        w.bridge.refuse_all = ""
        if defects:
            await asyncio.sleep(CALM_S)
            assert w.bridge.calls == ["JoinRoom"]
        else:
            await eventually(lambda: "StreamAudio" in w.bridge.calls, "the stream")
            w.bridge.say(b"ab")
            await eventually(lambda: phone.audio_statuses() == ["unavailable", "available"], "both words")


async def test_nobody_joins_for_a_phone_that_went_away():
    async with world(timers=replace(QUICK, grace_s=5)) as w:
        w.bridge.refuse_all = DOWN
        phone = await w.phone()
        await phone.acknowledged()
        await phone.socket.close()
        await eventually(lambda: w.log_lines("[WebsocketGlassesService"), "close line")
        joins = w.bridge.calls.count("JoinRoom")
        await asyncio.sleep(CALM_S)
        assert w.bridge.calls.count("JoinRoom") <= joins + 1  # one may have been on its way


async def test_a_session_that_others_take_again_and_again_is_left_to_them_and_told():
    async with world(timers=QUICK) as w:
        phone = await w.captions_running()
        for _ in range(4):
            await eventually(lambda: w.bridge.open_streams == 1, "a stream")
            w.bridge.sessions[USER].put_nowait(None)
            await eventually(lambda: w.bridge.open_streams == 0, "its end")
        await eventually(lambda: w.log_lines("Audio stream ended again and again"), "giving up")
        await asyncio.sleep(CALM_S)
        assert w.bridge.calls.count("JoinRoom") == 4
        assert phone.audio_statuses()[-1] == "unavailable"
        await (await w.phone()).acknowledged()
        await hears(w, b"ab")


@pytest.mark.parametrize("defects", [(), ("fresh-client-no-dispose",)])
async def test_a_fresh_client_lets_go_of_the_one_before(defects):
    async with world(*defects, timers=QUICK) as w:
        await w.captions_running()
        session = w.cloud.session(USER)
        assert session is not None
        w.bridge.sessions[USER].put_nowait(RuntimeError("broken"))
        await eventually(lambda: w.log_lines("Audio stream error"), "the error")
        await session.livekit.ensure_connected()  # before the former client's own recovery
        if defects:
            await eventually(lambda: w.bridge.calls.count("JoinRoom") >= 30, "flapping that nothing ends", 6)
        else:
            await asyncio.sleep(CALM_S)
            assert w.bridge.calls == ["JoinRoom", "StreamAudio", "LeaveRoom", "JoinRoom", "StreamAudio"]
            await hears(w, b"ab")


async def test_two_sockets_while_the_first_join_is_in_flight_leave_one_stream():
    async with world(timers=replace(QUICK, ack_wait_s=3, join_deadline_s=3, status_deadline_s=3)) as w:
        w.bridge.join_gate = asyncio.Event()
        await w.phone()
        await eventually(lambda: w.bridge.calls == ["JoinRoom"], "the first join")
        second = await w.phone()
        await eventually(lambda: "GetStatus" in w.bridge.calls, "the second socket's status")
        w.bridge.join_gate.set()
        await second.acknowledged()
        await asyncio.sleep(CALM_S)
        assert w.bridge.calls.count("JoinRoom") <= 2
        assert w.bridge.open_streams == 1


async def test_a_frozen_bridge_keeps_nobody_from_the_ack_and_what_it_joined_late_is_left():
    async with world(timers=QUICK) as w:
        w.bridge.join_gate = asyncio.Event()
        phone = await w.phone()
        await phone.acknowledged()
        await eventually(lambda: phone.audio_statuses() == ["unavailable"], "the word")
        await eventually(lambda: "DEADLINE_EXCEEDED" in "".join(w.log_lines("JoinRoom RPC failed")), "the deadline")
        w.bridge.join_gate.set()
        await eventually(lambda: "StreamAudio" in w.bridge.calls, "the stream")
        assert "LeaveRoom" in w.bridge.calls
        w.bridge.say(b"ab")
        await eventually(lambda: phone.audio_statuses()[-1] == "available", "the word")


@pytest.mark.parametrize("failing", [RuntimeError("broken"), None])
async def test_rejoins_that_waited_leave_alone_what_came_back_meanwhile(failing):
    async with world(timers=replace(QUICK, rejoin_backoff_s=0.01, join_deadline_s=3)) as w:
        await w.captions_running()
        session = w.cloud.session(USER)
        assert session is not None
        livekit = session.livekit
        w.bridge.join_gate = asyncio.Event()
        w.bridge.sessions[USER].put_nowait(failing)
        await eventually(lambda: w.bridge.calls.count("JoinRoom") == 2, "the recovery's join")
        waiting = []
        for _ in range(3):
            waiting.append(asyncio.create_task(livekit.rejoin()))
            await asyncio.sleep(0.02)
        w.bridge.join_gate.set()
        await asyncio.gather(*waiting)
        assert not w.log_lines("Skipping rejoin due to backoff window")
        await hears(w, b"ab")
        recovery = ["JoinRoom", "StreamAudio"] if failing is None else ["LeaveRoom", "JoinRoom", "StreamAudio"]
        assert w.bridge.calls[2:] == recovery
        w.bridge.calls.clear()
        await asyncio.sleep(0.02)
        await livekit.rejoin()
        await eventually(lambda: w.bridge.calls == ["LeaveRoom", "JoinRoom", "StreamAudio"], "a rejoin")


async def test_a_phone_that_came_again_makes_the_count_of_replacements_begin_anew():
    async with world(timers=replace(QUICK, grace_s=5)) as w:
        phone = await w.captions_running()
        for streams in range(2, 7):
            w.bridge.sessions[USER].put_nowait(None)
            await streams_opened(w, streams)
            await phone.socket.close()
            phone = await w.phone()
            await phone.acknowledged()
        assert not w.log_lines("Audio stream ended again and again")


@pytest.mark.parametrize("defects", [(), ("no-gap-detector",)])
async def test_a_silent_stream_is_joined_anew_with_the_microphone_on(defects):
    async with world(*defects, timers=GAPPY) as w:
        await w.captions_running()
        await hears(w, b"ab")
        await asyncio.sleep(GAPPY.audio_gap_s + 0.2)
        assert w.bridge.calls[2:] == ([] if defects else ["LeaveRoom", "JoinRoom", "StreamAudio"])
        assert len(w.log_lines("Audio gap detected, rejoining")) == (0 if defects else 1)
        await hears(w, b"cd")


async def test_a_stream_that_stays_silent_is_joined_anew_ever_more_rarely():
    async with world(timers=GAPPY) as w:
        await w.captions_running()
        await asyncio.sleep(1.4)  # 0.2 s of silence, then cooldowns of 0.3 and 0.6 s
        assert w.bridge.calls.count("JoinRoom") in {3, 4}


def test_pauses_double_to_the_cap():
    backoff = Backoff(2, 5)
    assert [backoff.next_s() for _ in range(4)] == [2, 4, 5, 5]


def test_pauses_begin_anew_after_a_calm(monkeypatch):
    now_s = 100.0
    monkeypatch.setattr("harness.reference.cloud.backoff.time.monotonic", lambda: now_s)
    backoff = Backoff(2, 5)
    assert [backoff.next_s(), backoff.next_s()] == [2, 4]
    now_s += 4 + 4 * 5 + 1
    assert backoff.next_s() == 2


def test_replacements_are_counted_within_their_window(monkeypatch):
    now_s = 100.0
    monkeypatch.setattr("harness.reference.cloud.backoff.time.monotonic", lambda: now_s)
    replaced = Replacements(2, 10)
    assert not replaced.too_many()
    now_s += 11
    assert not replaced.too_many()
    now_s += 9
    assert replaced.too_many()
