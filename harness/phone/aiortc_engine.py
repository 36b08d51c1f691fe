"""The media engine made of websockets and aiortc: one publisher peer connection, every packet ours to shape."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Coroutine
from typing import Any

import aioice.ice
from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp
from livekit.protocol.models import DataPacket, UserPacket
from livekit.protocol.rtc import Ping, SessionDescription, SignalRequest, SignalResponse, TrickleRequest
from websockets.exceptions import ConnectionClosed

from harness.phone.engine import Lost, OnNews, RoomDialError
from harness.phone.sent_queue import SentQueue
from harness.phone.signalling import PING_EVERY_S, PING_TIMEOUT_S, Signal, lost_by
from harness.waiting import pause

MAX_QUEUED_BYTES = 16_000
"""About half a second of speech. A lossy packet that would wait longer behind an outage is not handed over."""

SAYS_WHY_WITHIN_S = 0.3
"""Who takes a phone's place has its media closed at once; the word that it was replaced, and must not dial again,
follows on the signal a few milliseconds later (measured with LiveKit 1.13.5: without it two phones kick each other)."""
READ_DRY_WITHIN_S = 1.0
"""Then a ping is sent, and its answer comes behind that word, also when this loop or the way to the server was late.
Twice the lag that is still judged; a server that answers nothing says no word either."""

_closing: set[asyncio.Task[None]] = set()


def media_leaves_from(host: str) -> None:
    """Let media use this address of this machine and no other; aioice, left alone, takes all but 127.0.0.1."""
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: [host]  # noqa: ARG005  aioice's signature


media_leaves_from("127.0.0.1")


class AiortcEngine:
    """A :class:`harness.phone.engine.MediaEngine` whose parts are ours."""

    def __init__(self, on_news: OnNews) -> None:
        """Prepare; ``connect`` does the work."""
        self._on_news = on_news
        self._token = ""
        self._signal: Signal | None = None
        self._peer: RTCPeerConnection | None = None
        self._lossy: RTCDataChannel | None = None
        self._sent: SentQueue | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._connected = False
        self._over: asyncio.Future[Lost] = asyncio.get_running_loop().create_future()
        self._room: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._candidates: list[TrickleRequest] = []
        self._answered = False
        self._keepalive_s = (PING_EVERY_S, PING_TIMEOUT_S)
        self._asked_ms: int | None = None
        self._answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def token(self) -> str:
        """The newest token."""
        return self._token

    async def connect(self, url: str, token: str) -> str:
        """Join; return the room's name once both data channels are open.

        Raises:
            RoomDialError: refused, lost before that, or failed within the media library.
        """
        self._token = token
        try:
            self._signal = await Signal.dial(url, token)
            self._spawn(self._read(self._signal), "signal")
            opened = self._make_peer()
            await self._offer(self._signal)
            await self._first(opened)
            room = await self._first(self._room)
        except ConnectionClosed:
            await self._shut()
            raise RoomDialError("signal closed while joining") from None
        except (RoomDialError, asyncio.CancelledError):
            await self._shut()
            raise
        except Exception as error:
            await self._shut()  # what fails in websockets or aiortc is a failed dial: the next one may do better
            raise RoomDialError(f"{type(error).__name__}: {error}") from error
        self._connected = True
        self._spawn(self._keep_alive(self._signal), "keepalive")
        self._over.add_done_callback(self._report)
        return room

    async def _first(self, wanted: asyncio.Future[str]) -> str:
        either: set[asyncio.Future[Any]] = {wanted, self._over}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if wanted.done():
            return wanted.result()
        raise RoomDialError(self._over.result().reason)

    def _make_peer(self) -> asyncio.Future[str]:
        # iceServers=None would mean a public STUN server.
        self._peer = peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        channels = [
            peer.createDataChannel("_reliable", ordered=True),
            peer.createDataChannel("_lossy", ordered=False, maxRetransmits=0),
        ]
        self._lossy = channels[1]
        assert peer.sctp is not None, "aiortc makes it with the first channel"
        self._sent = SentQueue(peer.sctp, self._lossy)
        opened: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def channel_open() -> None:
            if not opened.done() and all(channel.readyState == "open" for channel in channels):
                opened.set_result("open")

        def state_changed() -> None:
            if peer.connectionState in {"failed", "closed"}:
                lost = Lost(f"media connection {peer.connectionState}", may_redial=True)
                if not self._over.done() and self._signal is not None:
                    self._spawn(self._end_unless_told(self._signal, lost), "media is over")

        for channel in channels:
            channel.on("open", channel_open)
        peer.on("connectionstatechange", state_changed)
        return opened

    async def _offer(self, signal: Signal) -> None:
        assert self._peer is not None
        await self._peer.setLocalDescription(await self._peer.createOffer())
        # The server learns none of our addresses, so that media goes only where its candidates (a relay's) point.
        sdp = "".join(
            line
            for line in self._peer.localDescription.sdp.splitlines(keepends=True)
            if not line.startswith(("a=candidate", "a=end-of-candidates"))
        )
        await signal.send(SignalRequest(offer=SessionDescription(type="offer", sdp=sdp, id=1)))

    # -- signalling ------------------------------------------------------------------------------------------------

    async def _read(self, signal: Signal) -> None:
        while True:
            got = await signal.receive()
            if isinstance(got, Lost):
                self._end(got)
                return
            await self._handle(got)

    async def _handle(self, response: SignalResponse) -> None:
        which = response.WhichOneof("message")
        if which == "join":
            join = response.join
            self._keepalive_s = (join.ping_interval or PING_EVERY_S, join.ping_timeout or PING_TIMEOUT_S)
            self._room.set_result(join.room.name)
        elif which == "answer" and self._peer is not None:
            await self._peer.setRemoteDescription(RTCSessionDescription(response.answer.sdp, "answer"))
            self._answered = True
            for early in self._candidates:
                await self._add_candidate(early)
        elif which == "trickle":
            if self._answered:
                await self._add_candidate(response.trickle)
            else:
                self._candidates.append(response.trickle)
        elif which == "pong_resp":
            if response.pong_resp.last_ping_timestamp == self._asked_ms and not self._answer.done():
                self._answer.set_result(None)
        elif which == "leave":
            self._end(lost_by(response.leave))
        elif which == "refresh_token":
            self._token = response.refresh_token

    async def _add_candidate(self, trickle: TrickleRequest) -> None:
        text = str(json.loads(trickle.candidateInit).get("candidate", ""))
        if not text or " tcp " in text.lower():
            return  # the end of candidates, or one that aioice cannot use
        candidate = candidate_from_sdp(text.split(":", 1)[1])
        candidate.sdpMid, candidate.sdpMLineIndex = "0", 0
        assert self._peer is not None
        await self._peer.addIceCandidate(candidate)

    async def _end_unless_told(self, signal: Signal, lost: Lost) -> None:
        """End with ``lost``, but not before all is read that the server said about it."""
        await pause(SAYS_WHY_WITHIN_S, why="the server closes the media first, and then says why")
        if self._asked_ms is None:
            self._asked_ms = int(time.time() * 1000)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READ_DRY_WITHIN_S):
                with contextlib.suppress(ConnectionClosed):  # who reads the signal sees that, behind its last word
                    await signal.send(SignalRequest(ping_req=Ping(timestamp=self._asked_ms)))
                either: set[asyncio.Future[Any]] = {self._answer, self._over}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        self._end(lost)

    async def _keep_alive(self, signal: Signal) -> None:
        self._end(await signal.keep_alive(*self._keepalive_s))

    # -- packets ---------------------------------------------------------------------------------------------------

    def can_send(self) -> bool:
        """Tell whether the lossy channel is open and its queue short."""
        lossy = self._lossy
        if not self._connected or self._over.done() or lossy is None or lossy.readyState != "open":
            return False
        return lossy.bufferedAmount <= MAX_QUEUED_BYTES

    def send(self, payload: bytes, on_sent: Callable[[], None]) -> None:
        """Publish one lossy packet."""
        assert self._lossy is not None
        assert self._sent is not None
        packet = DataPacket(kind=DataPacket.LOSSY, user=UserPacket(payload=payload))
        self._sent.expect(on_sent)
        self._lossy.send(packet.SerializeToString())

    # -- the end ---------------------------------------------------------------------------------------------------

    async def leave(self) -> None:
        """Say leave, then close everything beside the caller."""
        self._over.remove_done_callback(self._report)
        if self._signal is not None and not self._over.done():
            await self._signal.say_leave()
        await self._shut()

    def _end(self, lost: Lost) -> None:
        if not self._over.done():
            self._over.set_result(lost)

    def _report(self, over: asyncio.Future[Lost]) -> None:
        task = asyncio.create_task(self._shut(), name="room is lost")
        _closing.add(task)
        task.add_done_callback(_closing.discard)
        self._on_news(over.result())

    async def _shut(self) -> None:
        """Stop using everything at once; the closing itself may take its time in a task of its own."""
        self._end(Lost("left", may_redial=False))
        self._connected = False
        for task in self._tasks:
            task.cancel()
        signal, self._signal = self._signal, None
        peer, self._peer = self._peer, None
        self._lossy = None
        task = asyncio.create_task(_close(signal, peer), name="closing a room")
        _closing.add(task)
        task.add_done_callback(_closing.discard)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._end(Lost(f"{task.get_name()}: {type(error).__name__}: {error}", may_redial=True))


async def _close(signal: Signal | None, peer: RTCPeerConnection | None) -> None:
    if signal is not None:
        await signal.close()
    if peer is not None:
        await peer.close()
