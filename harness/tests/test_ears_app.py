"""The captions app answers webhooks, keeps its socket as the SDK does, and hears audio and captions."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import aiohttp
import jwt
import pytest
from websockets.asyncio.server import serve

from harness import events as ev
from harness.ears.app import CaptionsApp
from harness.ears.app_session import AppSession, AppSetup
from harness.errors import MachineError
from harness.frames import Hop
from harness.history import History, Recorder
from harness.speech import encode
from harness.waiting import NotYet, until

SECRET = "a-secret-of-more-than-32-characters-for-tests"
SESSION = "alice@example.com-org.captions"


class Cloud:
    """Just enough of /app-ws: acknowledges, remembers what each socket said."""

    def __init__(self):
        self.sockets, self.requests, self.silent, self.url = [], [], False, ""
        self.said: list[list[dict[str, Any]]] = []

    async def talk(self, ws):
        mine: list[dict[str, Any]] = []
        self.requests.append(ws.request)
        self.sockets.append(ws)
        self.said.append(mine)
        if not self.silent:
            await ws.send(json.dumps({"type": "tpa_connection_ack", "sessionId": SESSION, "settings": []}))
        async for message in ws:
            mine.append(json.loads(message))  # noqa: PERF401  each is wanted at once

    async def said_types(self, number, *types):
        def there():
            seen = [m["type"] for m in self.said[number]] if len(self.said) > number else []
            return self.said[number] if seen[-len(types) :] == list(types) else NotYet(f"socket {number}: {seen}")

        return await until(there, what=f"{types} on socket {number}", within_s=2)


@pytest.fixture
async def cloud():
    cloud = Cloud()
    async with serve(cloud.talk, "127.0.0.1", 0, ping_interval=None) as server:
        cloud.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/app-ws"
        yield cloud


@pytest.fixture
async def stage(cloud, tmp_path):
    recorder = Recorder(tmp_path, "r1", "ears")
    recorder.emit(ev.Note(text="so that there is an event"))
    opened = []

    async def start(**setup):
        fields = {"package": "org.captions", "api_key": "key-of-the-app", "cloud_ws_url": cloud.url,
                  "jwt_secret": SECRET, "retry_s": (0.05, 0.1)} | setup  # fmt: skip
        app = CaptionsApp(recorder, AppSetup(**fields))
        await app.open("127.0.0.1", 0)
        opened.append(app)
        return app

    yield SimpleNamespace(start=start, history=lambda: History.load(tmp_path))
    for app in opened:
        await app.close()
    recorder.close()


async def webhook(app, kind="session_request", **more):
    body = {"type": kind, "sessionId": SESSION, "userId": "alice@example.com",
            "augmentOSWebsocketUrl": "wss://elsewhere.example/app-ws"} | more  # fmt: skip
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"http://127.0.0.1:{app.port}/webhook", json=body) as answer,
    ):
        return answer.status


def deaf_and_hearing(history):
    told = history.iter(ev.EarDeaf, ev.EarHearing)
    return [type(e).__name__ for e in told if e.hop == "cloud-in"]


async def recorded(stage, kind, count):
    def there():
        got = stage.history().all(kind)
        return got if len(got) >= count else NotYet(f"{len(got)} of {count}")

    return await until(there, what=kind.__name__, within_s=2)


async def test_a_session_with_headers_subscribes_hears_and_shows(stage, cloud):
    app = await stage.start()
    assert await webhook(app) == 200
    (subscription,) = await cloud.said_types(0, "subscription_update")
    assert subscription["subscriptions"] == ["transcription:en-US", "audio_chunk"]
    assert (subscription["sessionId"], subscription["packageName"]) == (SESSION, "org.captions")
    headers = cloud.requests[0].headers
    claims = jwt.decode(headers["Authorization"].removeprefix("Bearer "), SECRET, algorithms=["HS256"])
    assert claims == {"packageName": "org.captions", "apiKey": "key-of-the-app"}
    assert (headers["x-user-id"], headers["x-session-id"]) == ("alice@example.com", SESSION)
    await cloud.sockets[0].send(encode(9, 0, 4))
    data = {"type": "transcription", "text": "s9w3 s9w4", "isFinal": True}
    stream = {"type": "data_stream", "sessionId": SESSION, "streamType": "transcription:en-US", "data": data}
    await cloud.sockets[0].send(json.dumps(stream))
    shown = (await cloud.said_types(0, "subscription_update", "display_event"))[-1]
    assert shown["layout"] == {"layoutType": "text_wall", "text": "s9w3 s9w4"}
    assert (shown["view"], shown["packageName"], shown["sessionId"]) == ("main", "org.captions", SESSION)
    history = stage.history()
    (caption,) = history.captions("app-in")
    assert (caption.speaker, caption.words, caption.final) == (9, (3, 4), True)
    assert history.at_hop(Hop.CLOUD_IN, 9)["index"].tolist() == [0, 1, 2, 3]
    assert deaf_and_hearing(history) == ["EarHearing"]
    assert "key-of-the-app" not in "".join(map(str, history.events))


async def test_a_session_by_first_message(stage, cloud):
    cloud.silent = True
    app = await stage.start(auth="init", display=False)
    await webhook(app)
    (first,) = await cloud.said_types(0, "tpa_connection_init")
    assert (first["apiKey"], first["sessionId"], first["packageName"]) == ("key-of-the-app", SESSION, "org.captions")
    assert "Authorization" not in cloud.requests[0].headers
    assert app.state()["acknowledged"] == []


async def test_a_lost_socket_is_dialed_again_and_the_ear_says_so(stage, cloud):
    app = await stage.start()
    await webhook(app)
    await cloud.said_types(0, "subscription_update")
    assert app.drop(abort=True) == 1
    await cloud.said_types(1, "subscription_update")
    history = stage.history()
    assert deaf_and_hearing(history) == ["EarHearing", "EarDeaf", "EarHearing"]
    assert [e.code for e in history.all(ev.AppSocketClosed)] == [1006]
    assert [e.hop for e in history.all(ev.EarDeaf)] == ["cloud-in", "app-in"]


async def test_a_crashed_app_dials_only_when_it_is_called(stage, cloud):
    app = await stage.start()
    await webhook(app)
    await cloud.said_types(0, "subscription_update")
    assert app.crash() == 1
    await recorded(stage, ev.AppSocketClosed, 1)
    await asyncio.sleep(0.15)
    assert len(cloud.sockets) == 1
    assert app.state()["known"] == []
    assert app.crash() == 0
    await webhook(app)
    await cloud.said_types(1, "subscription_update")
    assert deaf_and_hearing(stage.history()) == ["EarHearing", "EarDeaf", "EarHearing"]


async def test_a_crash_between_the_dial_and_its_taking_leaves_no_socket(stage, cloud, monkeypatch):
    dial = AppSession._connect

    async def crashed_right_behind(session):
        ws = await dial(session)
        asyncio.get_running_loop().call_soon(session.crash)  # the dial has ended, nobody has its socket yet
        return ws

    monkeypatch.setattr(AppSession, "_connect", crashed_right_behind)
    app = await stage.start()
    await webhook(app)
    (closed,) = await recorded(stage, ev.AppSocketClosed, 1)
    assert closed.code == 1006
    await until(lambda: not app.state()["known"] or NotYet("known"), what="the end of the session", within_s=2)
    assert stage.history().all(ev.AppSubscribed) == ()
    await asyncio.wait_for(cloud.sockets[0].wait_closed(), 2)


@pytest.mark.parametrize(("code", "sockets"), [(1000, 1), (1001, 1), (1008, 1), (1011, 2)])
async def test_some_close_codes_are_final(stage, cloud, code, sockets):
    app = await stage.start()
    await webhook(app)
    await cloud.said_types(0, "subscription_update")
    await cloud.sockets[0].close(code, "App stopped")
    (closed,) = await recorded(stage, ev.AppSocketClosed, 1)
    assert (closed.code, closed.reason) == (code, "App stopped")
    await asyncio.sleep(0.15)
    assert len(cloud.sockets) == sockets
    assert deaf_and_hearing(stage.history())[1:] == ["EarDeaf", "EarHearing"][:sockets]


@pytest.mark.parametrize(
    ("code", "reason", "missed"),
    [
        (1000, "App stopped", ()),
        (1000, "User session ended", ()),
        (1000, "Replaced by a new connection", (SESSION,)),
        (1000, "", (SESSION,)),
        (1008, "App stopped", (SESSION,)),
    ],
)
async def test_only_the_clouds_own_words_end_an_app_on_purpose(stage, cloud, code, reason, missed):
    app = await stage.start()
    await webhook(app)
    await cloud.said_types(0, "subscription_update")
    await cloud.sockets[0].close(code, reason)
    await until(lambda: not app.state()["known"] or NotYet("known"), what="the end of the session", within_s=2)
    assert app.hearing.missed == missed
    await webhook(app, "stop_request")
    assert app.hearing.missed == ()


async def test_a_second_webhook_ends_the_dial_in_progress(stage):
    dialed, gone = asyncio.Event(), asyncio.Event()

    async def never_answer(reader, writer):
        dialed.set()
        await reader.read(-1)
        gone.set()
        writer.close()

    async with await asyncio.start_server(never_answer, "127.0.0.1", 0) as mute:
        app = await stage.start(cloud_ws_url=f"ws://127.0.0.1:{mute.sockets[0].getsockname()[1]}/app-ws")
        await webhook(app)
        await asyncio.wait_for(dialed.wait(), 2)
        (first,) = app._sessions
        await webhook(app)
        await asyncio.wait_for(gone.wait(), 2)
        assert first not in app._sessions
        assert len(app._sessions) == 1
        await app.close()
    assert not [n.text for n in stage.history().all(ev.Note) if "captions app" in n.text]


async def test_the_sdk_gives_up_after_its_retries(stage, cloud):
    app = await stage.start(cloud_ws_url="ws://127.0.0.1:9/app-ws")
    await webhook(app)
    await until(lambda: not app.state()["known"] or NotYet("still trying"), what="giving up", within_s=2)
    notes = [n.text for n in stage.history().all(ev.Note) if "dialing the cloud failed" in n.text]
    assert len(notes) == 3


async def test_a_second_webhook_takes_over_and_closes_the_old_socket(stage, cloud):
    app = await stage.start()
    await webhook(app)
    await cloud.said_types(0, "subscription_update")
    await webhook(app)
    await cloud.said_types(1, "subscription_update")
    await asyncio.wait_for(cloud.sockets[0].wait_closed(), 2)
    assert cloud.sockets[0].close_code == 1000
    assert cloud.sockets[1].close_code is None
    await recorded(stage, ev.AppSocketClosed, 1)
    assert deaf_and_hearing(stage.history()) == ["EarHearing"]
    assert app.state() == {"acknowledged": [SESSION], "known": [SESSION]}


async def test_the_old_socket_is_kept_while_the_new_one_is_not_acknowledged(stage, cloud):
    app = await stage.start()
    await webhook(app)
    await cloud.said_types(0, "subscription_update")
    cloud.silent = True
    await webhook(app)
    await until(lambda: len(cloud.sockets) == 2 or NotYet("one socket"), what="a second socket", within_s=2)
    assert cloud.sockets[0].close_code is None
    await cloud.sockets[1].close(1008, "not you")
    await recorded(stage, ev.AppSocketClosed, 1)
    assert deaf_and_hearing(stage.history()) == ["EarHearing"]


async def test_stopping_closes_and_nothing_is_dialed_again(stage, cloud):
    app = await stage.start()
    await webhook(app)
    await cloud.said_types(0, "subscription_update")
    await webhook(app, "stop_request", reason="user_disabled")
    await asyncio.wait_for(cloud.sockets[0].wait_closed(), 2)
    assert cloud.sockets[0].close_code == 1000
    await until(lambda: not app.state()["known"] or NotYet("known"), what="the end of the session", within_s=2)
    assert [e.type for e in stage.history().all(ev.AppWebhook)] == ["session_request", "stop_request"]
    assert len(cloud.sockets) == 1


async def test_health_bad_webhooks_and_a_taken_port(stage):
    app = await stage.start()
    async with aiohttp.ClientSession() as http:
        async with http.get(f"http://127.0.0.1:{app.port}/health") as answer:
            assert (answer.status, (await answer.json())["status"]) == (200, "healthy")
        async with http.post(f"http://127.0.0.1:{app.port}/webhook", data=b"no json") as answer:
            assert answer.status == 400
    other = CaptionsApp(app.recorder, app.setup)
    with pytest.raises(MachineError, match="free address"):
        await other.open("127.0.0.1", app.port)
