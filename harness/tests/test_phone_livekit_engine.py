"""The SDK engine: what waits while the SDK resumes, when a packet counts as sent, how it tells it is over."""

import asyncio
from typing import Any

import pytest
from livekit import rtc
from websockets.asyncio.server import serve

from harness.phone import livekit_engine
from harness.phone.engine import Lost, Resumed, Resuming, RoomDialError
from harness.phone.livekit_engine import MAX_QUEUED_BYTES, LivekitEngine
from harness.tests.phone_world import seen

PACKET = bytes(1281)


class FakeRoom:
    """An SDK room that connects, publishes while ``open`` is set, and lets a test tell its events."""

    def __init__(self):
        self.name, self.local_participant, self._token = "room-of-alice", self, ""
        self.handlers, self.published, self.open = {}, [], asyncio.Event()
        self.may_connect, self.left, self.refuses, self.is_in = asyncio.Event(), False, "", False
        self.open.set()
        self.may_connect.set()

    def on(self, event, handler):
        self.handlers[event] = handler

    def tell(self, event, *about):
        self.handlers[event](*about)

    async def connect(self, _url, token, _options):
        await self.may_connect.wait()
        if self.refuses:
            raise rtc.ConnectError(self.refuses)
        self._token, self.is_in = token, True
        self.behind()

    def behind(self):
        """What happens between the SDK's connect and whoever waits for it."""

    def isconnected(self):
        return self.is_in

    async def publish_data(self, payload, *, reliable):
        assert not reliable
        await self.open.wait()
        self.published.append(payload)

    async def disconnect(self):
        self.left, self.is_in = True, False


@pytest.fixture
def room(monkeypatch):
    made: Any = FakeRoom()
    monkeypatch.setattr(rtc, "Room", lambda: made)
    return made


@pytest.fixture
async def entered(room):
    news: list[Lost | Resuming | Resumed] = []
    engine = LivekitEngine(news.append)
    assert await engine.connect("ws://front:1", "t") == "room-of-alice"
    yield engine, news
    await engine.leave()


async def test_a_packet_is_sent_when_the_sdk_took_it(room, entered):
    engine, _ = entered
    sent = []
    room.open.clear()
    engine.send(b"one", lambda: sent.append(1))
    engine.send(b"two", lambda: sent.append(2))
    await asyncio.sleep(0)
    assert sent == []
    room.open.set()
    await seen(lambda: sent == [1, 2], "both sent")
    assert room.published == [b"one", b"two"]


async def test_nothing_is_handed_over_behind_half_a_second_of_speech(room, entered):
    engine, _ = entered
    room.open.clear()
    handed = 0
    while engine.can_send():
        engine.send(PACKET, lambda: None)
        handed += 1
    assert handed == MAX_QUEUED_BYTES // len(PACKET) + 1


async def test_while_the_sdk_resumes_nothing_is_sent_and_what_waited_is_dropped(room, entered):
    engine, news = entered
    sent = []
    room.open.clear()
    for number in range(3):
        engine.send(b"%d" % number, lambda number=number: sent.append(number))
    await asyncio.sleep(0)  # the sender has the first one
    room.tell("reconnecting")
    assert not engine.can_send()
    room.open.set()
    room.tell("reconnected")
    assert engine.can_send()
    engine.send(b"fresh", lambda: sent.append("fresh"))
    await seen(lambda: sent == [0, "fresh"], "the one the SDK had, and the fresh one")
    assert news == [Resuming(), Resumed()]


@pytest.mark.parametrize(
    ("reason", "lost"),
    [
        (rtc.DisconnectReason.DUPLICATE_IDENTITY, Lost("disconnected: DUPLICATE_IDENTITY", False, replaced=True)),
        (rtc.DisconnectReason.PARTICIPANT_REMOVED, Lost("disconnected: PARTICIPANT_REMOVED", may_redial=False)),
        (rtc.DisconnectReason.UNKNOWN_REASON, Lost("disconnected: UNKNOWN_REASON", may_redial=False)),
    ],
)
async def test_the_sdk_has_redialed_enough_when_it_says_disconnected(room, entered, reason, lost):
    engine, news = entered
    room.tell("reconnecting")
    room.tell("disconnected", reason)
    room.tell("disconnected", reason)
    assert news == [Resuming(), lost]
    assert not engine.can_send()


async def test_a_sender_that_breaks_is_a_loss(room, entered):
    engine, news = entered

    async def broken(_payload, *, reliable):
        raise RuntimeError(f"the library is gone, reliable={reliable}, token=eyJhbGciOi.eyJzdWIi.c2ln")

    room.publish_data = broken
    engine.send(b"one", lambda: None)
    await seen(lambda: news, "the loss")
    (lost,) = news
    assert lost.reason.startswith("SDK sender: RuntimeError: the library is gone, reliable=False")
    assert "eyJhbGciOi" not in lost.reason
    assert (lost.may_redial, lost.replaced) == (True, False)
    assert not engine.can_send()
    await seen(lambda: room.left, "the room left")
    room.tell("disconnected", rtc.DisconnectReason.CLIENT_INITIATED)
    assert news == [lost]


@pytest.mark.parametrize("told", [True, False])
async def test_a_room_lost_before_the_connect_was_seen_fails_the_dial(room, told):
    news: list[Lost | Resuming | Resumed] = []

    def lose():
        room.is_in = False
        if told:
            room.tell("disconnected", rtc.DisconnectReason.ROOM_DELETED)

    room.behind = lambda: asyncio.get_running_loop().call_soon(lose)
    engine = LivekitEngine(news.append)
    reason = "disconnected: ROOM_DELETED" if told else "disconnected"
    with pytest.raises(RoomDialError, match=reason):
        await engine.connect("ws://front:1", "t")
    assert not engine.can_send()
    assert news == []


async def test_leaving_is_no_loss(room, entered):
    engine, news = entered
    await engine.leave()
    room.tell("disconnected", rtc.DisconnectReason.CLIENT_INITIATED)
    assert room.left
    assert news == []


async def test_a_room_that_leaves_slowly_holds_nobody_up(room, entered, monkeypatch):
    engine, _ = entered
    stuck = asyncio.Event()
    monkeypatch.setattr(room, "disconnect", stuck.wait)
    monkeypatch.setattr(livekit_engine, "LEAVE_WITHIN_S", 0.01)
    await asyncio.wait_for(engine.leave(), 1)
    stuck.set()


async def given_up(room):
    """Begin a dial that does not get through, and cancel it; return its task."""
    room.may_connect.clear()
    dial = asyncio.create_task(LivekitEngine(lambda _news: None).connect("ws://front:1", "t"))
    await seen(lambda: "reconnecting" in room.handlers, "the dial")
    await asyncio.sleep(0)
    dial.cancel()
    return dial


async def test_a_dial_that_is_given_up_is_not_over_before_its_room_is_left(room):
    """Else the next dial joins beside it, and the SDK takes the place back for the one that nobody wants."""
    dial = await given_up(room)
    await asyncio.sleep(0.05)
    assert not dial.done()
    room.may_connect.set()
    with pytest.raises(asyncio.CancelledError):
        await dial
    assert room.left


async def test_a_given_up_dial_that_hangs_holds_nobody_up_and_leaves_later(room, monkeypatch):
    monkeypatch.setattr(livekit_engine, "PARTED_WITHIN_S", 0.05)
    dial = await given_up(room)
    with pytest.raises(asyncio.CancelledError):
        await dial
    assert not room.left
    room.may_connect.set()
    await seen(lambda: room.left, "the room left")


async def test_a_refreshed_token_is_the_newest(room, entered):
    engine, _ = entered
    assert engine.token == "t"
    room._token = "refreshed"
    room.tell("token_refreshed")
    assert engine.token == "refreshed"


async def test_a_refusal_is_the_reason_without_its_token(room):
    room.refuses = "no permission, token=eyJhbGciOi.eyJzdWIi.c2ln"
    with pytest.raises(RoomDialError, match="no permission") as refused:
        await LivekitEngine(lambda _news: None).connect("ws://front:1", "t")
    assert "eyJhbGciOi" not in str(refused.value)


async def test_the_real_sdk_tells_of_a_refused_token():
    async with serve(
        lambda _s: asyncio.sleep(0), "127.0.0.1", 0, process_request=lambda c, _r: c.respond(401, "token is expired")
    ) as server:
        engine = LivekitEngine(lambda _news: None)
        with pytest.raises(RoomDialError, match=r"(?i)401|unauthorized|token"):
            await engine.connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", "t")
    assert not engine.can_send()
