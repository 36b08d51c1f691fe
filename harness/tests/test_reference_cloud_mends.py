"""What the reference cloud does so that captions come back: lost STT streams, apps that died, phones that start anew.

Each mend is seen with its defect, too: without the mend, nothing of it happens.
"""

import asyncio
from dataclasses import replace

import pytest

from harness.reference.cloud.soniox import Ended
from harness.reference.cloud.stt_retry import Tries, next_delay_s
from harness.reference.cloud.timers import Timers
from harness.tests.reference_cloud_world import BRISK, PACKAGE, USER, eventually, world

LOST = Ended(None, "closed by STT (1006)", 1006)
AWAY = Ended(0, "cannot connect: ClientConnectorError")


async def health(w, part):
    async with w.http.get(f"{w.url}/health") as reply:
        return (await reply.json())[part]


async def words_counted(w, expected):
    async with asyncio.timeout(3):
        while (seen := await health(w, "transcription")) != expected:
            await asyncio.sleep(0.005)
    return seen


async def streams_made(w, count):
    await eventually(lambda: len(w.stt.configurations) == count, f"stream {count}")


@pytest.mark.parametrize("ended", [LOST, AWAY])
def test_an_endpoint_that_is_away_is_dialled_ever_more_slowly_but_for_ever(ended):
    assert [next_delay_s(ended, failures, Timers()) for failures in (1, 2, 3, 4, 5, 1000)] == [1, 2, 4, 5, 5, 5]


def test_a_stream_that_was_closed_on_purpose_or_refused_for_good_is_not_made_anew():
    assert next_delay_s(Ended(None, "Stream closed normally", 1000), 1, Timers()) is None
    assert next_delay_s(Ended(401, "refused: HTTP 401"), 1, Timers()) is None


@pytest.mark.parametrize(("defects", "streams"), [((), 2), (("stt-no-recreate",), 1)])
async def test_a_lost_stt_stream_is_made_anew(defects, streams):
    async with world(*defects) as w:
        await w.captions_running()
        await eventually(lambda: w.log_lines("STT stream ready"), "STT ready")
        await words_counted(w, {"available": 1, "unavailable": 0})
        await w.stt.socket.close(code=1011)
        await eventually(lambda: w.log_lines("STT stream ended"), "the end")
        if streams > 1:
            await eventually(lambda: len(w.stt.configurations) == streams, "a new stream")
            await words_counted(w, {"available": 1, "unavailable": 0})
        else:
            await asyncio.sleep(4 * BRISK.stt_retry_s)
            assert await health(w, "transcription") == {"available": 0, "unavailable": 1}
        assert len(w.stt.configurations) == streams


async def test_what_was_understood_before_a_stream_was_lost_becomes_a_caption():
    async with world() as w:
        await w.captions_running()
        await eventually(lambda: w.log_lines("STT stream ready"), "STT ready")
        await w.stt.say(("half a", True), (" sentence", False))
        await eventually(lambda: w.app.heard(final=False), "the interim")
        await w.stt.socket.close(code=1011)
        await eventually(lambda: w.app.heard(final=True) == ["half a sentence"], "the final")


@pytest.mark.parametrize("defects", [(), ("stt-subscribe-once",)])
async def test_an_stt_that_is_away_at_the_subscription_gets_its_stream_when_it_is_back(defects):
    async with world(*defects) as w:
        w.stt.is_away = True
        phone = await w.phone()
        await phone.acknowledged()
        await phone.socket.send_json({"type": "start_app", "packageName": PACKAGE})
        await eventually(lambda: len(w.log_lines("STT stream ended")) >= 3, "three tries")
        if defects:
            await eventually(lambda: w.log_lines("STT stream failed permanently"), "the end of the tries")
            await phone.socket.send_json({"type": "VAD", "status": True})
        else:
            await words_counted(w, {"available": 0, "unavailable": 1})
        w.stt.is_away = False
        if defects:
            await asyncio.sleep(4 * BRISK.stt_retry_s)
            assert not w.stt.configurations
            assert await health(w, "transcription") == {"available": 0, "unavailable": 0}
        else:
            await eventually(lambda: w.stt.configurations, "the stream")


async def test_streams_that_worked_and_then_met_an_error_do_not_add_up_to_a_failure():
    async with world() as w:
        await w.captions_running()
        for n in range(1, 5):
            await streams_made(w, n)
            await w.stt.say(("word", True))
            await w.stt.fail(408)
        await streams_made(w, 5)
        assert not w.log_lines("STT stream failed permanently")


async def test_the_tries_of_an_endpoint_that_was_away_are_no_refusals():
    async with world() as w:
        w.stt.is_away = True
        phone = await w.phone()
        await phone.acknowledged()
        await phone.socket.send_json({"type": "start_app", "packageName": PACKAGE})
        await eventually(lambda: len(w.log_lines("STT stream ended")) >= 3, "three tries")
        w.stt.is_away = False
        await eventually(lambda: w.stt.configurations, "the stream")
        await w.stt.fail(408)
        await eventually(lambda: len(w.stt.configurations) == 2, "a second stream")
        assert not w.log_lines("STT stream failed permanently")


def test_an_answer_makes_both_counts_begin_anew():
    tries = Tries()
    refused, answered = Ended(408, "timeout"), Ended(408, "timeout", answered=True)
    assert [tries.failed(ended) for ended in (AWAY, AWAY, refused, AWAY, refused)] == [1, 2, 1, 3, 2]
    assert [tries.failed(ended) for ended in (answered, refused, AWAY)] == [1, 2, 1]


@pytest.mark.parametrize("defects", [(), ("no-app-restart",)])
async def test_a_reconnect_starts_an_app_that_should_run(defects):
    slow = replace(BRISK, grace_s=5.0, app_connect_s=0.1, app_grace_s=0.05)
    async with world(*defects, timers=slow) as w:
        phone = await w.captions_running()
        await eventually(lambda: w.cloud.ctx.users.running_apps(USER), "the app noted as running")
        await phone.socket.close()
        w.app.connects = False
        await w.app.socket.close(code=1011)
        await eventually(lambda: w.log_lines("App failed to start"), "the resurrection that failed")
        w.app.connects = True
        called = len(w.app.webhooks)
        again = await w.phone()
        await again.acknowledged()
        if defects:
            await asyncio.sleep(0.1)
            assert len(w.app.webhooks) == called
        else:
            await eventually(lambda: len(w.app.webhooks) == called + 1, "one more webhook")
            await eventually(lambda: again.of("app_started"), "the app")


async def test_a_reconnect_leaves_an_app_alone_that_runs():
    async with world() as w:
        await w.captions_running()
        await eventually(lambda: w.cloud.ctx.users.running_apps(USER), "the app noted as running")
        await (await w.phone()).acknowledged()
        await asyncio.sleep(0.05)
        assert len(w.app.webhooks) == 1


@pytest.mark.parametrize(("defects", "calls"), [((), 2), (("ignore-app-close",), 1)])
async def test_an_app_whose_socket_closed_is_called_after_its_grace(defects, calls):
    async with world(*defects) as w:
        await w.captions_running()
        await eventually(lambda: w.log_lines("App started"), "the app")
        await w.app.socket.close(code=1011)
        await eventually(lambda: w.log_lines("App socket closed"), "the close")
        await asyncio.sleep(3 * BRISK.app_grace_s)
        assert len(w.app.webhooks) == calls


@pytest.mark.parametrize("defects", [(), ("no-mic-resync",)])
async def test_a_phone_that_reconnects_is_told_of_its_microphone(defects):
    async with world(*defects, timers=replace(BRISK, mic_keepalive_s=0.2)) as w:
        await w.captions_running()
        again = await w.phone()
        await again.acknowledged()
        if defects:
            await asyncio.sleep(0.1)
            assert not again.of("microphone_state_change")
        told = await eventually(lambda: again.of("microphone_state_change"), "the microphone's state")
        assert told[0]["isMicrophoneEnabled"] is True
        assert [m["type"] for m in again.received].index("connection_ack") == 0


async def test_a_phone_is_told_of_a_microphone_that_went_off_while_it_was_away():
    async with world(timers=replace(BRISK, grace_s=5.0)) as w:
        phone = await w.captions_running()
        await phone.socket.close()
        await w.app.subscribe(["button_press"])
        await eventually(lambda: (s := w.cloud.session(USER)) is not None and not s.mic.on, "microphone off")
        again = await w.phone()
        told = await eventually(lambda: again.of("microphone_state_change"), "the microphone's state")
        assert told[0]["isMicrophoneEnabled"] is False
