"""The phone does what the real app does: a room per ACK, the mic on command, away and back without leaving its room."""

import asyncio
import socket

import pytest
from aiohttp import web

from harness import events as ev
from harness import frames as fr
from harness.clock import now_ns
from harness.control import ControlError, Puppet
from harness.errors import SettingsError
from harness.phone.rest_token import TokenRefused, fetch_token
from harness.speech import word_text
from harness.tests.phone_world import Rooms, TinyCloud, a_phone, configured, history, rest_endpoint, seen


@pytest.fixture
async def cloud():
    async with TinyCloud().open() as cloud:
        yield cloud


async def acked(phone, cloud, rooms):
    phone.cloud.connect()
    await seen(lambda: phone.cloud.state == "open", "an open socket")
    await seen(lambda: cloud.sockets, "the cloud's side of it")
    await cloud.ack()
    return await rooms.connected()


async def test_after_the_ack_it_says_hello_and_enters_a_room(cloud, tmp_path):
    rooms = Rooms()
    async with a_phone(tmp_path, rooms, cloud_url=cloud.url, start_app="com.example.captions") as phone:
        await acked(phone, cloud, rooms)
        await seen(lambda: len(cloud.said) >= 2, "what the phone says")
        assert cloud.paths == ["/glasses-ws?token=core-token&livekit=true"]
        assert [m["type"] for m in cloud.said] == ["glasses_connection_state", "start_app"]
        assert cloud.said[0]["modelName"] == "Simulated Glasses"
        assert cloud.said[0]["status"] == "CONNECTED"
        await cloud.say(type="app_started", packageName="com.example.captions")
        await cloud.ack()
        await seen(lambda: len(cloud.heard("glasses_connection_state")) == 2, "the second hello")
        assert len(cloud.heard("start_app")) == 1
    seen_types = [type(e).__name__ for e in history(tmp_path).events]
    assert seen_types[:3] == ["PhoneDialing", "PhoneSocketOpen", "PhoneMessage"]


async def test_an_app_that_nobody_says_was_started_is_asked_for_at_each_ack(cloud, tmp_path):
    rooms = Rooms()
    async with a_phone(tmp_path, rooms, cloud_url=cloud.url, start_app="com.example.captions") as phone:
        await acked(phone, cloud, rooms)
        await cloud.ack()
        await seen(lambda: len(cloud.heard("start_app")) == 2, "the second asking")
    assert "eyJhbGciOi" not in (tmp_path / "events" / "phone-alice-1.jsonl").read_text()


async def test_retries_until_open_and_each_attempt_is_an_event(tmp_path):
    rooms = Rooms()
    async with a_phone(tmp_path, rooms) as phone:
        phone.cloud.connect()
        path = tmp_path / "events" / "phone-alice-1.jsonl"
        await seen(lambda: path.exists() and path.read_text().count("phone-dial-failed") >= 3, "three refusals")
        assert await phone.cloud.close(1000, "") == {"was_open": False}
    assert [e.attempt for e in history(tmp_path).all(ev.PhoneDialing)][:3] == [1, 2, 3]
    assert "refused" in history(tmp_path).all(ev.PhoneDialFailed)[0].reason.lower()


async def test_away_it_keeps_its_room_and_comes_back_to_a_new_one(cloud, tmp_path):
    rooms = Rooms()
    async with a_phone(tmp_path, rooms, cloud_url=cloud.url) as phone:
        first = await acked(phone, cloud, rooms)
        closed = await phone.cloud.close(1001, "going away")
        assert closed == {"was_open": True, "code": 1001, "reason": "going away", "by": "phone", "answered": 1001}
        assert cloud.sockets[0].close_code == 1001
        await asyncio.sleep(0.06)
        assert (phone.state()["socket"], phone.state()["room"]) == ("away", "connected")
        assert len(cloud.sockets) == 1
        assert not first.left
        phone.cloud.connect()
        await seen(lambda: len(cloud.sockets) == 2, "the second socket")
        await cloud.ack()
        await seen(lambda: first.left and len(rooms.dials) == 2, "a new room")


async def test_dropped_the_cloud_sees_no_close_frame(cloud, tmp_path):
    rooms = Rooms()
    async with a_phone(tmp_path, rooms, cloud_url=cloud.url) as phone:
        await acked(phone, cloud, rooms)
        dropped = await phone.cloud.drop()
        assert (dropped["code"], dropped["by"], dropped["answered"]) == (1006, "phone", None)
        await cloud.sockets[0].wait_closed()
        assert cloud.sockets[0].close_code == 1006


async def test_waits_its_retry_after_a_close_however_often_it_is_told_to_connect(cloud, tmp_path):
    rooms = Rooms()
    async with a_phone(tmp_path, rooms, cloud_url=cloud.url, retry_s=0.1) as phone:
        phone.cloud.connect()
        await seen(lambda: phone.cloud.state == "open", "an open socket")
        phone.cloud.connect()
        await cloud.sockets[0].close(1012, "restart")
        await seen(lambda: len(cloud.sockets) == 2, "the phone again")
    [closed] = history(tmp_path).all(ev.PhoneSocketClosed)[:1]
    again = history(tmp_path).all(ev.PhoneDialing)[1]
    assert 95 <= (again.t_ns - closed.t_ns) / 1e6 < 300


async def test_tells_who_closed(cloud, tmp_path):
    rooms = Rooms()
    async with a_phone(tmp_path, rooms, cloud_url=cloud.url) as phone:
        phone.cloud.connect()
        await seen(lambda: len(cloud.sockets) == 1, "a socket")
        await cloud.sockets[0].close(1001, "Ping timeout")
        await seen(lambda: len(cloud.sockets) == 2, "the phone again")
        cloud.sockets[1].transport.abort()
        await seen(lambda: len(cloud.sockets) == 3, "the phone once more")
    closed = history(tmp_path).all(ev.PhoneSocketClosed)
    assert [(c.code, c.by) for c in closed[:2]] == [(1001, "cloud"), (1006, "network")]
    assert closed[0].reason == "Ping timeout"


async def test_the_mic_is_the_clouds_to_switch(cloud, tmp_path):
    rooms = Rooms()
    async with a_phone(tmp_path, rooms, cloud_url=cloud.url, packet_ms=20, epoch_ns=now_ns()) as phone:
        engine = await acked(phone, cloud, rooms)
        phone.microphone._speak(0, 0)
        await cloud.say(type="microphone_state_change", isMicrophoneEnabled=True)
        await seen(lambda: phone.mic_on, "the mic on")
        phone.microphone._speak(0, 1)
        engine.full = True
        phone.microphone._speak(0, 2)
        engine.full = False
        await cloud.say(type="microphone_state_change", isMicrophoneEnabled=False)
        await seen(lambda: not phone.mic_on, "the mic off")
        phone.microphone._speak(0, 3)
        assert len(engine.sent) == 1
    spoken = history(tmp_path).at_hop(fr.Hop.PHONE_OUT, 7)
    assert list(spoken["index"]) == [0, 1, 2, 3]
    assert list(spoken["flags"]) == [fr.Flag.MIC_OFF, 0, fr.Flag.NO_ROOM, fr.Flag.MIC_OFF]
    assert [m.on for m in history(tmp_path).all(ev.MicState)] == [True, False]


@pytest.mark.parametrize(("fallback", "flag"), [(False, fr.Flag.NO_ROOM), (True, fr.Flag.FALLBACK)])
async def test_without_a_room_only_the_fallback_speaks(cloud, tmp_path, fallback, flag):
    rooms = Rooms()
    async with a_phone(tmp_path, rooms, cloud_url=cloud.url, fallback=fallback) as phone:
        phone.cloud.connect()
        await seen(lambda: cloud.sockets, "a socket")
        await cloud.say(type="microphone_state_change", isMicrophoneEnabled=True)
        await seen(lambda: phone.mic_on, "the mic on")
        phone.microphone._speak(0, 0)
        if fallback:
            assert len(await seen(lambda: cloud.said, "a binary message")) == 1280
    assert list(history(tmp_path).at_hop(fr.Hop.PHONE_OUT)["flags"]) == [flag, flag]


async def test_vad_is_said_once_and_waits_for_the_ack(cloud, tmp_path):
    rooms = Rooms()
    async with a_phone(tmp_path, rooms, cloud_url=cloud.url, epoch_ns=now_ns()) as phone:
        phone.cloud.connect()
        await seen(lambda: phone.cloud.state == "open", "an open socket")
        first = (await phone.talk(on=True))["first_index"]
        assert first % 10 == 0
        assert await phone.talk(on=True) == {"first_index": first}
        phone.cloud.send_text({"type": "marker"})
        await seen(lambda: cloud.heard("marker"), "a marker behind all that was said")
        assert not cloud.heard("VAD")
        await acked(phone, cloud, rooms)
        await seen(lambda: cloud.heard("VAD"), "VAD")
        await cloud.ack()
        await seen(lambda: len(cloud.heard("glasses_connection_state")) == 2, "the second ACK")
        assert len(cloud.heard("VAD")) == 1
        assert await phone.talk(on=False) == {"last_index": phone.microphone.last_index}
    talking = history(tmp_path).all(ev.Talking)
    assert [(t.on, t.speaker) for t in talking] == [(True, 7), (False, 7)]
    assert talking[0].first_index == first


async def test_captions_on_the_display_name_their_words(cloud, tmp_path):
    rooms = Rooms()
    async with a_phone(tmp_path, rooms, cloud_url=cloud.url) as phone:
        await acked(phone, cloud, rooms)
        text = f"{word_text(7, 3)} {word_text(7, 4)}"
        await cloud.say(type="display_event", layout={"layoutType": "text_wall", "text": text})
        await cloud.say(type="display_event", layout={"layoutType": "text_wall", "text": "hello"})
        await cloud.sockets[-1].send("no json")
        path = tmp_path / "events" / "phone-alice-1.jsonl"
        await seen(lambda: path.read_text().count("not-json"), "the last message")
    captions = history(tmp_path).all(ev.Caption)
    assert [(c.hop, c.speaker, c.words, c.text, c.person) for c in captions] == [
        ("phone-display", 7, (3, 4), text, "alice"), ("phone-display", 0, (), "hello", "alice"),
    ]  # fmt: skip


async def test_rest_token():
    answers = iter(
        [
            web.json_response(
                {"success": True, "data": {"url": "ws://x", "token": "tok-en", "room": "r", "identity": "a"}}
            ),
            web.Response(status=401, text="Invalid core token"),
            web.Response(text="<html>"),
        ]
    )
    asked = []

    async def handler(request):
        asked.append(request.headers["Authorization"])
        return next(answers)

    async with rest_endpoint(handler) as url:
        grant = await fetch_token(url, "core", 2)
        assert (grant.advertised_url, grant.token, grant.room) == ("ws://x", "tok-en", "r")
        assert asked == ["Bearer core"]
        with pytest.raises(TokenRefused, match="HTTP 401: Invalid core token"):
            await fetch_token(url, "core", 2)
        with pytest.raises(TokenRefused, match="something else"):
            await fetch_token(url, "core", 2)
    with pytest.raises(TokenRefused, match="ConnectionRefusedError"):
        await fetch_token(url, "core", 2)


async def test_a_token_that_does_not_come_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(TokenRefused, match=r"no answer within 0.1 s"):
            await fetch_token(f"http://127.0.0.1:{port}", "core", 0.1)


@pytest.mark.parametrize("wrong", [{"packet_ms": 30}, {"defects": ["bad-hair"]}, {"colour": "red"}, {"speaker": "x"}])
def test_a_wrong_configuration_is_one_sentence(wrong):
    with pytest.raises(SettingsError, match="expected the fields of a phone configuration; saw"):
        configured(**wrong)


def test_redials_back_off_as_the_library_does():
    assert configured(redial_base_s=0.3).redial_delays_s()[:6] == pytest.approx([0, 0.3, 1.2, 2.7, 4.8, 7.0])


async def test_the_process_answers_in_sentences(tmp_path):
    puppet = Puppet("harness.phone", run="r1", run_dir=tmp_path, proc="phone-alice-1")
    await puppet.start()
    try:
        with pytest.raises(ControlError, match="configure before anything else"):
            await puppet.ask("connect")
        with pytest.raises(ControlError, match="saw 'dance'"):
            await puppet.ask("dance")
        with pytest.raises(ControlError, match="missing required field"):
            await puppet.ask("configure", person="alice")
    finally:
        await puppet.stop()
    assert puppet.process is not None
    assert puppet.process.returncode == 0


async def test_back_with_two_sockets_it_goes_on_with_the_newer(cloud, tmp_path):
    rooms = Rooms()
    async with a_phone(tmp_path, rooms, cloud_url=cloud.url) as phone:
        apart = await asyncio.wait_for(phone.cloud.connect_twice(34, 2), 2)
        assert 34 <= apart["apart_ms"] < 500
        await seen(lambda: len(cloud.sockets) == 2, "both sockets")
        await cloud.ack()
        await seen(lambda: len(cloud.said) == 1, "the hello")
        assert await phone.cloud.close_older(1001) == {"was_open": True, "code": 1001}
        await cloud.sockets[0].wait_closed()
        assert cloud.sockets[0].close_code == 1001
        assert (phone.cloud.state, phone.acked) == ("open", True)
        assert await phone.cloud.close_older(1001) == {"was_open": False}
        await cloud.sockets[1].close(1012, "restart")
        await seen(lambda: len(cloud.sockets) == 3, "the dial after the newer one's end")
    told = history(tmp_path)
    assert [e.code for e in told.all(ev.OldSocketClosed)] == [1001]
    assert [e.code for e in told.all(ev.PhoneSocketClosed)][:1] == [1012]


async def test_away_with_two_sockets_both_are_gone(cloud, tmp_path):
    rooms = Rooms()
    async with a_phone(tmp_path, rooms, cloud_url=cloud.url) as phone:
        await phone.cloud.connect_twice(1, 2)
        closed = await asyncio.wait_for(phone.cloud.close(1001, "away"), 2)
        assert closed["was_open"]
        await asyncio.wait_for(asyncio.gather(*(one.wait_closed() for one in cloud.sockets)), 2)
        assert len(cloud.sockets) == 2


async def test_a_second_socket_that_does_not_open_in_time_is_given_up(cloud, tmp_path):
    rooms = Rooms()
    async with a_phone(tmp_path, rooms, cloud_url=cloud.url) as phone:
        assert await asyncio.wait_for(phone.cloud.connect_twice(10_000, 0.1), 2) == {"apart_ms": None}
        assert phone.cloud.state == "open"
        await cloud.sockets[0].close(1012, "restart")
        await seen(lambda: len(cloud.sockets) == 2, "the dial after the only one's end")
        assert phone.cloud._newer is None


async def test_when_not_even_the_first_opens_no_second_follows_later(cloud, tmp_path):
    rooms = Rooms()
    async with a_phone(tmp_path, rooms, retry_s=0.02) as phone:  # nobody listens there
        assert await asyncio.wait_for(phone.cloud.connect_twice(1, 0.1), 2) == {"apart_ms": None}
        assert phone.cloud._twice is None
        assert phone.cloud.state == "dialing"
