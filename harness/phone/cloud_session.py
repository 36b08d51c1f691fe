"""The phone's WebSocket to the cloud: dials until open, every attempt an event, away when the story says so."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from harness import events as ev
from harness.phone.configuration import PhoneConfiguration
from harness.waiting import within

MAX_WAITING_MESSAGES = 64
"""Outgoing messages a stalled socket may hold; audio beyond that is discarded (64 packets of 40 ms: 2.6 s)."""
CLOSE_WITHIN_S = 2.0
"""How long the cloud may take to answer a close frame before the phone ends the connection."""


class CloudSession:
    """One phone's connection to the cloud; :meth:`run` is the dial loop, the rest steers it."""

    def __init__(
        self,
        configuration: PhoneConfiguration,
        emit: Callable[[ev.Event], None],
        on_text: Callable[[str], None],
        on_closed: Callable[[], None],
    ) -> None:
        """Keep the parts; ``on_text`` gets every text message, ``on_closed`` is called after each closed socket."""
        self._configuration, self._emit = configuration, emit
        self._on_text, self._on_closed = on_text, on_closed
        self._wanted = asyncio.Event()
        self._away = asyncio.Event()
        self._away.set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._hurry = asyncio.Event()
        self._socket: ClientConnection | None = None
        self._waiting: asyncio.Queue[str | bytes] = asyncio.Queue(MAX_WAITING_MESSAGES)
        self._ended_by_us: tuple[int, str] | None = None
        self._last_closed: ev.PhoneSocketClosed | None = None

    @property
    def state(self) -> str:
        """``open``, ``dialing`` or ``away``."""
        if self._socket is not None:
            return "open"
        return "dialing" if self._wanted.is_set() else "away"

    def connect(self) -> None:
        """Dial at once and go on dialing until open; also comes back from being away."""
        if self._away.is_set():
            self._hurry.set()  # coming back waits for no retry; asking twice shortens none
        self._away.clear()
        self._wanted.set()

    async def close(self, code: int, reason: str) -> dict[str, Any]:
        """Close with a close frame and stay away; return how it ended."""
        return await self._leave(code, reason, polite=True)

    async def drop(self) -> dict[str, Any]:
        """End the TCP connection without a close frame and stay away; return how it ended."""
        return await self._leave(1006, "dropped without a close frame", polite=False)

    async def _leave(self, code: int, reason: str, *, polite: bool) -> dict[str, Any]:
        self._wanted.clear()
        self._away.set()
        socket = self._socket
        if socket is None:
            await self._idle.wait()
            return {"was_open": False}
        self._ended_by_us = (code, reason)
        if polite:
            await socket.close(code, reason)
        else:
            socket.transport.abort()
        await self._idle.wait()
        closed = self._last_closed
        assert closed is not None
        answered = socket.protocol.close_rcvd.code if socket.protocol.close_rcvd else None
        return {"was_open": True, "code": closed.code, "reason": closed.reason, "by": closed.by, "answered": answered}

    def send_text(self, message: dict[str, Any]) -> bool:
        """Queue a JSON message; False when there is no open socket or it is stalled."""
        return self._put(json.dumps(message))

    def send_audio(self, pcm: bytes) -> bool:
        """Queue PCM as a binary message; False when there is no open socket or it is stalled."""
        return self._put(pcm)

    def can_send(self) -> bool:
        """Tell whether a message can be queued now."""
        return self._socket is not None and not self._waiting.full()

    def _put(self, item: str | bytes) -> bool:
        if not self.can_send():
            return False
        self._waiting.put_nowait(item)
        return True

    async def run(self) -> None:
        """Dial, read, and dial again after ``retry_s``, for ever; while away only wait."""
        attempt = 0
        while True:
            await self._wanted.wait()
            self._hurry.clear()
            attempt += 1
            self._idle.clear()
            socket = await self._dial(attempt)
            if socket is not None:
                attempt = 0
                await self._live(socket)
            self._idle.set()
            if self._wanted.is_set():
                with contextlib.suppress(TimeoutError):
                    await within(self._hurry.wait(), self._configuration.retry_s)

    async def _dial(self, attempt: int) -> ClientConnection | None:
        person = self._configuration.person
        self._emit(ev.PhoneDialing(person=person, attempt=attempt))
        dial = asyncio.create_task(self._open(), name="dial the cloud")
        away = asyncio.create_task(self._away.wait(), name="away")
        try:
            await asyncio.wait({dial, away}, return_when=asyncio.FIRST_COMPLETED)
            if not dial.done():
                dial.cancel()
                await asyncio.gather(dial, return_exceptions=True)
                self._emit(ev.PhoneDialFailed(person=person, attempt=attempt, reason="the phone went away"))
                return None
            socket = dial.result()
        except (OSError, TimeoutError, WebSocketException) as error:
            reason = f"{type(error).__name__}: {error}"
            self._emit(ev.PhoneDialFailed(person=person, attempt=attempt, reason=reason))
            return None
        finally:
            dial.cancel()
            away.cancel()
        self._emit(ev.PhoneSocketOpen(person=person, attempt=attempt))
        return socket

    async def _open(self) -> ClientConnection:
        token = quote(self._configuration.core_token, safe="")
        return await connect(
            f"{self._configuration.cloud_url.rstrip('/')}/glasses-ws?token={token}&livekit=true",
            proxy=None, ping_interval=None, max_size=None, compression=None,
            open_timeout=self._configuration.dial_timeout_s, close_timeout=CLOSE_WITHIN_S,
        )  # fmt: skip

    async def _live(self, socket: ClientConnection) -> None:
        self._waiting = asyncio.Queue(MAX_WAITING_MESSAGES)
        self._socket = socket
        self._ended_by_us = None
        if self._away.is_set():  # told to go away in the very moment the dial succeeded
            self._ended_by_us = (1006, "dropped without a close frame")
            socket.transport.abort()
        sender = asyncio.create_task(self._send(socket), name="to the cloud")
        try:
            while True:
                raw = await socket.recv()
                if isinstance(raw, str):
                    self._on_text(raw)
        except ConnectionClosed as closed:
            self._last_closed = self._how(closed)
        finally:
            self._socket = None
            sender.cancel()
        self._emit(self._last_closed)
        self._on_closed()

    def _how(self, closed: ConnectionClosed) -> ev.PhoneSocketClosed:
        person = self._configuration.person
        if self._ended_by_us is not None:
            code, reason = self._ended_by_us
            return ev.PhoneSocketClosed(person=person, code=code, reason=reason, by="phone")
        if closed.rcvd is not None:
            code, reason = closed.rcvd.code, closed.rcvd.reason
            return ev.PhoneSocketClosed(person=person, code=code, reason=reason, by="cloud")
        reason = str(closed.__cause__ or "the connection ended without a close frame")
        return ev.PhoneSocketClosed(person=person, code=1006, reason=reason, by="network")

    async def _send(self, socket: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):  # the reader tells of it
            while True:
                await socket.send(await self._waiting.get())
