"""The media engine made of LiveKit's own Python SDK: its resumes, its full reconnects, its back-off.

The SDK's panics signal their own process with SIGTERM, and a ``Room`` that is connected twice is one way to a panic:
each engine has a room of its own, used once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

from livekit import rtc
from livekit.rtc._ffi_client import FfiClient

from harness.phone.engine import Lost, OnNews, Resumed, Resuming, RoomDialError
from harness.redact import mask

MAX_QUEUED_BYTES: Final = 16_000
"""About half a second of speech, as with the other engine. A packet that would wait longer is not handed over."""
CONNECT_TIMEOUT_S: Final = 1.2
"""Per attempt of the SDK (its own default is 5 s). Against a silent peer it makes eight, four on each of its two paths
(measured): so it ends within the phone's own 10 s for a dial, and never joins behind the back of the dial after it."""
PARTED_WITHIN_S: Final = 2.0
"""So long a dial that is given up is waited for: joining takes a tenth of a second; one that hangs ends by itself."""
LEAVE_WITHIN_S: Final = 0.25
"""So long a room that leaves slowly may hold up the phone that wants to be gone."""

_ending: set[asyncio.Task[None]] = set()
_ = FfiClient.instance  # loads the native library at import, which a thread does, and not at the first dial


class LivekitEngine:
    """A :class:`harness.phone.engine.MediaEngine` that is one ``rtc.Room``."""

    def __init__(self, on_news: OnNews) -> None:
        """Prepare; ``connect`` does the work."""
        self._on_news = on_news
        self._room = rtc.Room()
        self._token = ""
        self._queue: deque[tuple[bytes, Callable[[], None]]] = deque()
        self._queued_bytes = 0
        self._wake = asyncio.Event()
        self._sender: asyncio.Task[None] | None = None
        self._ready = False
        """In the room, and not resuming."""
        self._over = False
        self._lost_early: str | None = None

    @property
    def token(self) -> str:
        """The newest token."""
        return self._token

    async def connect(self, url: str, token: str) -> str:
        """Join; return the room's name once the SDK calls itself connected.

        Raises:
            RoomDialError: refused, not reached after all of the SDK's attempts, or lost again at once.
        """
        self._token = token
        room, options = self._room, rtc.RoomOptions(auto_subscribe=False, connect_timeout=CONNECT_TIMEOUT_S)
        self._listen(room)
        # A task of its own: a connect that is cancelled goes on inside the SDK and would stay in the room unseen.
        dial = asyncio.create_task(room.connect(url, token, options), name="SDK connect")
        try:
            await asyncio.shield(dial)
        except asyncio.CancelledError:
            self._over = True
            # Waited for: a join that another one overtakes is tried again by the SDK, and takes the place back.
            await asyncio.wait({_in_background(_part(room, dial))}, timeout=PARTED_WITHIN_S)
            raise
        except rtc.ConnectError as error:
            self._over = True
            raise RoomDialError(mask(error.message)) from None
        # The SDK's own task may have seen the end before this one went on: that is the last it tells of it.
        if self._lost_early is not None or not room.isconnected():
            self._over = True
            _in_background(_part(room, None))
            raise RoomDialError(self._lost_early or "disconnected while joining")
        self._ready = True
        self._sender = asyncio.create_task(self._send_all(), name="SDK sender")
        self._sender.add_done_callback(self._sender_ended)
        return str(room.name)

    def _listen(self, room: rtc.Room) -> None:
        room.on("reconnecting", self._resuming)
        room.on("reconnected", self._resumed)
        room.on("token_refreshed", self._token_refreshed)
        room.on("disconnected", lambda reason: self._disconnected(rtc.DisconnectReason.Name(reason)))

    # -- what the SDK tells ------------------------------------------------------------------------------------------

    def _resuming(self) -> None:
        if self._over or not self._ready:
            return
        self._ready = False
        self._drop_queue()  # what waits would come seconds late
        self._on_news(Resuming())

    def _resumed(self) -> None:
        if self._over or self._ready or self._sender is None:
            return
        self._ready = True
        self._on_news(Resumed())

    def _token_refreshed(self) -> None:
        self._token = str(self._room._token)  # noqa: SLF001  the SDK tells only that there is one

    def _disconnected(self, reason: str) -> None:
        if self._over:
            return
        if self._sender is None:
            self._lost_early = f"disconnected: {reason}"
            return
        self._shut()
        # Whatever could be redialed the SDK has redialed by now (10 attempts, about 20 s): it is final.
        self._on_news(
            Lost(f"disconnected: {reason}", may_redial=False, replaced=reason == "DUPLICATE_IDENTITY"),
        )

    async def simulate(self, kind: str) -> None:
        """Let the SDK act as if its connection had failed (see :class:`harness.phone.engine.Simulating`)."""
        await self._room.simulate_scenario(rtc.SimulateScenarioKind.Value(f"SIMULATE_{kind}"))

    # -- packets -----------------------------------------------------------------------------------------------------

    def can_send(self) -> bool:
        """Tell whether the room is connected, not resuming, and the queue short."""
        return self._ready and self._queued_bytes <= MAX_QUEUED_BYTES

    def send(self, payload: bytes, on_sent: Callable[[], None]) -> None:
        """Queue one lossy packet; ``on_sent`` follows when the SDK's ``publish_data`` returned."""
        self._queue.append((payload, on_sent))
        self._queued_bytes += len(payload)
        self._wake.set()

    async def _send_all(self) -> None:
        """Publish packets one after the other: while the SDK resumes, the one it has blocks, and is late, alone."""
        while True:
            while not self._queue:
                self._wake.clear()
                await self._wake.wait()
            payload, on_sent = self._queue.popleft()
            self._queued_bytes -= len(payload)
            try:
                await self._room.local_participant.publish_data(payload, reliable=False)
            except rtc.participant.PublishDataError:
                continue  # lost, as a lossy packet may be: without ``on_sent`` the record says so
            on_sent()

    def _sender_ended(self, sender: asyncio.Task[None]) -> None:
        """Give up a room that nothing can be sent to any more, and say so."""
        if self._over or sender.cancelled() or (error := sender.exception()) is None:
            return
        self._shut()
        _in_background(_part(self._room, None))
        self._on_news(Lost(mask(f"{sender.get_name()}: {type(error).__name__}: {error}"), may_redial=True))

    def _drop_queue(self) -> None:
        self._queue.clear()
        self._queued_bytes = 0

    # -- the end -----------------------------------------------------------------------------------------------------

    async def leave(self) -> None:
        """Say leave; a room that takes its time goes on leaving beside the caller."""
        if self._over:
            return
        self._shut()
        parting = _in_background(_part(self._room, None))
        await asyncio.wait({parting}, timeout=LEAVE_WITHIN_S)

    def _shut(self) -> None:
        self._over, self._ready = True, False
        self._drop_queue()
        if self._sender is not None:
            self._sender.cancel()


def _in_background(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    task = asyncio.create_task(work, name="leaving a room")
    _ending.add(task)
    task.add_done_callback(_ending.discard)
    return task


async def _part(room: rtc.Room, dial: asyncio.Task[None] | None) -> None:
    """Leave a room that is no longer wanted, also when its connect is still under way."""
    if dial is not None:
        with contextlib.suppress(rtc.ConnectError):
            await dial
    if room.isconnected():
        await room.disconnect()
