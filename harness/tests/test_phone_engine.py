"""The aiortc engine's own parts: what it says to the server, when a packet was sent, how it tells that it is over."""

import asyncio
import base64
import time
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest
from aiortc.rtcsctptransport import SCTP_DATA_FIRST_FRAG, SCTP_DATA_LAST_FRAG
from livekit.protocol.models import DisconnectReason
from livekit.protocol.rtc import (
    JoinRequest,
    LeaveRequest,
    Pong,
    SignalRequest,
    SignalResponse,
    TrickleRequest,
    WrappedJoinRequest,
)
from websockets.asyncio.server import ServerConnection, serve

from harness.phone.aiortc_engine import AiortcEngine
from harness.phone.engine import Lost, RoomDialError
from harness.phone.sent_queue import SentQueue
from harness.phone.signalling import Signal, join_url, lost_by
from harness.tests.phone_world import seen


def test_joins_with_one_connection_and_no_subscriptions():
    url = join_url("ws://127.0.0.1:1/")
    assert url.startswith("ws://127.0.0.1:1/rtc/v1?join_request=")
    wrapped = WrappedJoinRequest.FromString(base64.urlsafe_b64decode(url.split("=", 1)[1]))
    wanted = JoinRequest.FromString(wrapped.join_request)
    assert wrapped.compression == WrappedJoinRequest.NONE
    assert not wanted.connection_settings.auto_subscribe
    assert wanted.client_info.protocol == 16


@pytest.mark.parametrize(
    ("reason", "action", "lost"),
    [
        (DisconnectReason.DUPLICATE_IDENTITY, LeaveRequest.DISCONNECT, Lost("", may_redial=False, replaced=True)),
        (DisconnectReason.PARTICIPANT_REMOVED, LeaveRequest.DISCONNECT, Lost("", may_redial=False)),
        (DisconnectReason.CONNECTION_TIMEOUT, LeaveRequest.RESUME, Lost("", may_redial=True)),
    ],
)
def test_a_leave_says_whether_to_come_back(reason, action, lost):
    got = lost_by(LeaveRequest(reason=reason, action=action))
    assert (got.may_redial, got.replaced) == (lost.may_redial, lost.replaced)
    assert got.reason == f"leave {DisconnectReason.Name(reason)} action {LeaveRequest.Action.Name(action)}"


class SilentSocket:
    def __init__(self):
        self.sent = []

    async def send(self, data):
        self.sent.append(data)


async def test_as_many_unanswered_pings_as_the_timeout_holds_end_the_signal():
    socket: Any = SilentSocket()
    lost = await asyncio.wait_for(Signal(socket).keep_alive(0.01, 0.03), 1)
    assert lost == Lost("signal: 3 pings without an answer", may_redial=True)
    assert len(socket.sent) == 6


async def test_answered_pings_keep_the_signal():
    async def answer(socket):
        async for _ in socket:
            await socket.send(SignalResponse(pong=1).SerializeToString())

    async with serve(answer, "127.0.0.1", 0) as server:
        signal = await Signal.dial(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", "t")
        keeping = asyncio.create_task(signal.keep_alive(0.01, 0.02))
        for _ in range(12):
            assert isinstance(await signal.receive(), SignalResponse)
        assert not keeping.done()
        keeping.cancel()
        await signal.close()


async def test_a_refused_token_and_a_silent_port_are_told_apart():
    async with serve(
        lambda _s: asyncio.sleep(0), "127.0.0.1", 0, process_request=lambda c, _r: c.respond(401, "token is expired")
    ) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(RoomDialError, match="signalling answered HTTP 401: token is expired"):
            await AiortcEngine(lambda _lost: None).connect(f"ws://127.0.0.1:{port}", "t")
    with pytest.raises(RoomDialError, match="ConnectionRefusedError"):
        await AiortcEngine(lambda _lost: None).connect(f"ws://127.0.0.1:{port}", "t")


async def test_a_leave_while_joining_fails_the_dial():
    async def refuse(socket):
        leave = LeaveRequest(reason=DisconnectReason.JOIN_FAILURE, action=LeaveRequest.DISCONNECT)
        await socket.send(SignalResponse(leave=leave).SerializeToString())
        await socket.wait_closed()

    lost: list[object] = []
    async with serve(refuse, "127.0.0.1", 0) as server:
        engine = AiortcEngine(lost.append)
        with pytest.raises(RoomDialError, match="JOIN_FAILURE"):
            await engine.connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", "t")
    assert lost == []
    assert not engine.can_send()


@pytest.fixture
async def signalled():
    """An engine in no room with its signal open, how to speak to it as the server, and what it asked."""
    accepted: asyncio.Future[ServerConnection] = asyncio.get_running_loop().create_future()
    asked: list[int] = []

    async def listen(socket):
        accepted.set_result(socket)
        async for raw in socket:
            asked.append(SignalRequest.FromString(raw).ping_req.timestamp)  # noqa: PERF401  each is wanted at once

    async with serve(listen, "127.0.0.1", 0) as server:
        engine: Any = AiortcEngine(lambda _lost: None)
        engine._signal = await Signal.dial(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", "t")
        engine._spawn(engine._read(engine._signal), "signal")
        engine._make_peer()
        socket = await accepted

        async def say(**what):
            await socket.send(SignalResponse(**what).SerializeToString())

        yield SimpleNamespace(engine=engine, socket=socket, say=say, asked=asked)
        await engine._shut()


KICKED = LeaveRequest(reason=DisconnectReason.DUPLICATE_IDENTITY, action=LeaveRequest.DISCONNECT)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr("harness.phone.aiortc_engine.SAYS_WHY_WITHIN_S", 0.05)
    monkeypatch.setattr("harness.phone.aiortc_engine.READ_DRY_WITHIN_S", 0.3)


@pytest.mark.usefixtures("quick")
async def test_closed_media_waits_for_the_word_why(signalled):
    """Whoever was replaced must hear of it, though the media closes first: dialing again would kick the other."""
    await signalled.engine._peer.close()
    assert not signalled.engine._over.done()
    await signalled.say(leave=KICKED)
    assert (await asyncio.wait_for(signalled.engine._over, 1)).replaced


@pytest.mark.usefixtures("quick")
async def test_a_phone_that_stood_still_still_hears_why(signalled):
    await signalled.engine._peer.close()
    await signalled.say(leave=KICKED)
    time.sleep(0.15)  # noqa: ASYNC251  the loop stands still until the wait is over, with the word there to be read
    assert (await asyncio.wait_for(signalled.engine._over, 1)).replaced


@pytest.mark.usefixtures("quick")
async def test_a_word_that_is_late_on_its_way_comes_before_the_answer(signalled):
    await signalled.engine._peer.close()
    await seen(lambda: signalled.asked, "a ping")
    await signalled.say(pong_resp=Pong(last_ping_timestamp=signalled.asked[0] - 1))  # the answer to an older ping
    await asyncio.sleep(0.05)
    await signalled.say(leave=KICKED)
    await signalled.say(pong_resp=Pong(last_ping_timestamp=signalled.asked[0]))
    assert (await asyncio.wait_for(signalled.engine._over, 1)).replaced


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("answers", [True, False])
async def test_media_that_closed_without_a_word_is_dialed_again(signalled, answers, monkeypatch):
    if answers:
        monkeypatch.setattr("harness.phone.aiortc_engine.READ_DRY_WITHIN_S", 60)
    await signalled.engine._peer.close()
    await seen(lambda: signalled.asked, "a ping")
    assert not signalled.engine._over.done()
    if answers:
        await signalled.say(pong_resp=Pong(last_ping_timestamp=signalled.asked[0]))
    assert await asyncio.wait_for(signalled.engine._over, 1) == Lost("media connection closed", may_redial=True)


@pytest.mark.usefixtures("quick")
async def test_a_signal_that_ends_with_the_media_is_read_to_its_end(signalled):
    await signalled.engine._peer.close()
    await signalled.socket.close(1000)
    assert await asyncio.wait_for(signalled.engine._over, 1) == Lost("signal closed (1000)", may_redial=True)


async def test_what_breaks_inside_the_media_library_fails_the_dial(monkeypatch):
    async def broken(_signal):
        raise ValueError("no such codec")

    async with serve(lambda socket: socket.wait_closed(), "127.0.0.1", 0) as server:
        engine = AiortcEngine(lambda _lost: None)
        monkeypatch.setattr(engine, "_offer", broken)
        with pytest.raises(RoomDialError, match="ValueError: no such codec"):
            await engine.connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", "t")
    assert not engine.can_send()


async def test_only_udp_candidates_are_taken():
    engine: Any = AiortcEngine(lambda _lost: None)
    taken = []

    async def take(candidate):
        taken.append((candidate.ip, candidate.port, candidate.sdpMid))

    engine._peer = SimpleNamespace(addIceCandidate=take)
    for text in ("candidate:1 1 tcp 1 127.0.0.1 7881 typ host tcptype passive", "candidate:2 1 udp 1 127.5.0.1 9 typ host", ""):  # fmt: skip  # noqa: E501
        await engine._add_candidate(TrickleRequest(candidateInit=f'{{"candidate":"{text}"}}'))
    assert taken == [("127.5.0.1", 9, "0")]


async def test_a_packet_is_sent_when_its_last_piece_left_both_queues():
    channel: Any = SimpleNamespace(id=2)
    other = SimpleNamespace(id=0)
    transport: Any = SimpleNamespace(_data_channel_queue=deque(), _outbound_queue=deque())

    async def transmit():
        if transport._outbound_queue:
            transport._outbound_queue.popleft()

    transport._transmit = transmit
    queue = SentQueue(transport, channel)
    sent: list[int] = []
    queue.expect(lambda: sent.append(1))
    queue.expect(lambda: sent.append(2))
    first = SimpleNamespace(stream_id=2, flags=SCTP_DATA_FIRST_FRAG)
    last = SimpleNamespace(stream_id=2, flags=SCTP_DATA_LAST_FRAG)
    transport._outbound_queue += [first, last]
    transport._data_channel_queue += [(other, 0, b""), (channel, 0, b"")]
    await transport._transmit()
    assert sent == []
    await transport._transmit()
    assert sent == [1]
    transport._data_channel_queue.clear()
    await transport._transmit()
    assert sent == [1, 2]
