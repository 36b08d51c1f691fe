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
from websockets.protocol import State

from harness import events as ev
from harness.clock import now_ns, seconds_between
from harness.phone.configuration import PhoneConfiguration
from harness.waiting import pause, within

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
        self._twice: tuple[float, asyncio.Future[float | None]] | None = None
        self._newer: asyncio.Task[None] | None = None
        self._elder: ClientConnection | None = None
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

    async def connect_twice(self, after_ms: float, within_s: float) -> dict[str, Any]:
        """Come back with two sockets: dial, and ``after_ms`` after that one opened dial a second, and go on with it.

        Returns how many milliseconds after the first the second was open; None when it was not within ``within_s``.
        """
        opened: asyncio.Future[float | None] = asyncio.get_running_loop().create_future()
        self._twice = (after_ms / 1000, opened)
        self.connect()
        try:
            await within(asyncio.wait({opened}), within_s)
        except TimeoutError:
            if not opened.done():
                self._twice = None
                opened.cancel()
                if self._newer is not None:
                    self._newer.cancel()
                return {"apart_ms": None}
        apart_s = opened.result()
        return {"apart_ms": None if apart_s is None else round(apart_s * 1000, 1)}

    async def close_older(self, code: int) -> dict[str, Any]:
        """Close the socket that another one was opened beside; return whether it still was open."""
        elder, self._elder = self._elder, None
        if elder is None or elder.state is not State.OPEN:
            return {"was_open": False}
        await elder.close(code, "superseded")
        return {"was_open": True, "code": code}

    async def close(self, code: int, reason: str) -> dict[str, Any]:
        """Close with a close frame and stay away; return how it ended."""
        return await self._leave(code, reason, polite=True)

    async def drop(self) -> dict[str, Any]:
        """End the TCP connection without a close frame and stay away; return how it ended."""
        return await self._leave(1006, "dropped without a close frame", polite=False)

    async def _leave(self, code: int, reason: str, *, polite: bool) -> dict[str, Any]:
        self._wanted.clear()
        self._away.set()
        if self._elder is not None:
            self._elder.transport.abort()
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
        try:
            await self._run()
        finally:
            if self._newer is not None:
                self._newer.cancel()

    async def _run(self) -> None:
        attempt = 0
        while True:
            await self._wanted.wait()
            self._hurry.clear()
            attempt += 1
            self._idle.clear()
            socket = await self._dial(attempt)
            if socket is not None:
                attempt = 0
                if self._twice is not None:
                    self._newer = asyncio.create_task(self._beside(socket, *self._twice), name="a second socket")
                    self._twice = None
                await self._live(socket)
                if self._newer is not None:
                    await asyncio.wait({self._newer})
                    newer, self._newer = self._newer, None
                    if not newer.cancelled():  # who asked for it gave it up
                        newer.result()
            self._idle.set()
            if self._wanted.is_set():
                with contextlib.suppress(TimeoutError):
                    await within(self._hurry.wait(), self._configuration.retry_s)

    async def _beside(self, first: ClientConnection, after_s: float, opened: asyncio.Future[float | None]) -> None:
        """Open a second socket beside the first, and live with it."""
        began = now_ns()
        await pause(after_s, why="the second socket opens a moment after the first")
        socket = await self._dial(1)
        if not opened.done():  # who asked may be gone
            opened.set_result(None if socket is None else seconds_between(began, now_ns()))
        if socket is not None:
            self._elder = first
            await self._live(socket)

    async def _dial(self, attempt: int) -> ClientConnection | None:
        person = self._configuration.person
        self._emit(ev.PhoneDialing(person=person, attempt=attempt, user=self._configuration.user_id))
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
        sender = asyncio.create_task(self._send(socket, self._waiting), name="to the cloud")
        try:
            while True:
                raw = await socket.recv()
                if isinstance(raw, str):
                    self._on_text(raw)
        except ConnectionClosed as closed:
            if socket is not self._socket:  # the phone went on with a newer one
                code = closed.rcvd.code if closed.rcvd else 1006
                self._emit(ev.OldSocketClosed(person=self._configuration.person, code=code))
                return
            self._last_closed = self._how(closed)
        finally:
            if socket is self._socket:
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

    async def _send(self, socket: ClientConnection, waiting: asyncio.Queue[str | bytes]) -> None:
        with contextlib.suppress(ConnectionClosed):  # the reader tells of it
            while True:
                await socket.send(await waiting.get())
