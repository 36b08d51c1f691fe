"""One session of the captions app: its socket to the cloud, as the app SDK keeps it, and what it hears there."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import jwt
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.frames import CloseCode

from harness.ears.owners import Owners
from harness.events import AppSocketClosed, AppSocketOpen, AppSubscribed, Caption, Note
from harness.frames import Hop
from harness.history import Recorder
from harness.pcm_ear import PcmEar
from harness.speech import parse_words
from harness.waiting import pause

RETRY_S: Final = (1.0, 2.0, 4.0)
"""The app SDK's reconnects (wire contract §6); counted anew after each acknowledgement."""
NO_RETRY_CODES: Final = frozenset({CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.POLICY_VIOLATION})
ENDED_ON_PURPOSE: Final = frozenset({"App stopped", "User session ended"})
"""The cloud's reasons for closing with 1000 an app that is not missed (contract §6)."""
ACK_WITHIN_S: Final = 5.0
"""The cloud gives an app 5000 ms to connect (contract §6); we give the cloud as long to acknowledge."""
TEXT_LIMIT: Final = 500


@dataclass(frozen=True)
class AppSetup:
    """How the captions app presents itself, and what it wants."""

    package: str
    api_key: str
    cloud_ws_url: str
    auth: str = "headers"
    """``headers`` (JWT, contract's Auth A) or ``init`` (first message, Auth B)."""
    jwt_secret: str = ""
    subscriptions: tuple[str, ...] = ("transcription:en-US", "audio_chunk")
    display: bool = True
    """Ask the cloud to show each caption on the glasses."""
    retry_s: tuple[float, ...] = RETRY_S


@dataclass(frozen=True)
class _End:
    code: int
    reason: str
    acknowledged: bool


class Owner(Protocol):
    """Whom a session tells how it fares."""

    @property
    def owners(self) -> Owners:
        """Who may be heard where."""

    def acknowledged(self, session: AppSession) -> None:
        """Take note that the cloud acknowledged its socket."""

    def lost(self, session: AppSession, reason: str, *, wanted: bool) -> None:
        """Take note that its acknowledged socket ended; ``wanted`` when the cloud ended the app on purpose."""


class AppSession:
    """A session from its webhook until it ends or the SDK's retries are spent."""

    def __init__(self, setup: AppSetup, session: str, user: str, recorder: Recorder, owner: Owner) -> None:
        """Describe it; ``run`` dials."""
        self.setup, self.session, self.user = setup, session, user
        self._recorder, self._owner = recorder, owner
        self._dial: asyncio.Task[ClientConnection] | None = None
        self._ws: ClientConnection | None = None
        self._closing: asyncio.Task[None] | None = None
        self._retired = False
        self._crashed = False
        self.acknowledged = False

    async def run(self) -> None:
        """Keep the socket as the SDK does, until it is closed for good."""
        tries = 0
        while not (self._retired or self._crashed):
            end = await self._once()
            if self._retired:
                return
            if end.acknowledged:
                tries = 0
                reason = f"the socket closed with {end.code} {end.reason}".rstrip()
                wanted = end.code == CloseCode.NORMAL_CLOSURE and end.reason in ENDED_ON_PURPOSE
                self._owner.lost(self, reason, wanted=wanted)
            if self._crashed or end.code in NO_RETRY_CODES or tries >= len(self.setup.retry_s):
                return
            tries += 1
            await pause(self.setup.retry_s[tries - 1], why="the app SDK waits before it reconnects")

    def retire(self) -> None:
        """Close the socket with 1000: another one took over, or the app was stopped."""
        self._retired = True
        if self._dial is not None:
            self._dial.cancel()  # landing late, it would take the place of the fresh one
        if self._ws is not None:
            self._closing = asyncio.create_task(self._ws.close())

    def drop(self, *, abort: bool) -> bool:
        """Lose the socket (with a reset, else by a close frame 1011); the SDK's reconnects follow. False: none open."""
        if self._ws is None:
            return False
        if abort:
            self._ws.transport.abort()
        else:
            self._closing = asyncio.create_task(self._ws.close(CloseCode.INTERNAL_ERROR))
        return True

    def crash(self) -> bool:
        """Lose the socket with a reset, as a process that dies does, and never dial again. False: none was open."""
        self._crashed = True
        if self._dial is not None:
            self._dial.cancel()
        return self.drop(abort=True)

    async def _once(self) -> _End:
        """Dial, and hear until the socket ends."""
        self.acknowledged = False
        ear = PcmEar(self._recorder, Hop.CLOUD_IN, self._owner.owners.stream(Hop.CLOUD_IN, self.user))
        try:
            self._dial = asyncio.create_task(self._connect(), name=f"dial of {self.session}")
            self._ws = ws = await self._dial
        except asyncio.CancelledError:
            if not (self._retired or self._crashed) or _cancelled_from_outside():
                raise
            return _End(CloseCode.NORMAL_CLOSURE, "given up while dialing", acknowledged=False)
        except (OSError, InvalidHandshake, ConnectionClosed) as error:  # TimeoutError is an OSError
            self._recorder.emit(Note(text=f"captions app {self.session}: dialing the cloud failed: {error}"))
            return _End(CloseCode.ABNORMAL_CLOSURE, str(error), acknowledged=False)
        finally:
            self._dial = None
        try:
            if self._crashed:  # between the end of the dial and here: nobody had the socket to reset it
                ws.transport.abort()
                await ws.wait_closed()
            elif self._retired:
                await ws.close()
            else:
                await self._hear(ws, ear)
        except ConnectionClosed:
            code, reason = _how_it_ended(ws)
        except TimeoutError:
            code, reason = int(CloseCode.ABNORMAL_CLOSURE), f"not acknowledged within {ACK_WITHIN_S:.0f} s"
            await ws.close()
        else:
            code, reason = _how_it_ended(ws)
        finally:
            self._ws = None
            ear.finish()
        acknowledged, self.acknowledged = self.acknowledged, False
        self._recorder.emit(AppSocketClosed(session=self.session, code=code, reason=reason))
        return _End(code, reason, acknowledged)

    async def _connect(self) -> ClientConnection:
        return await connect(
            self.setup.cloud_ws_url, additional_headers=self._headers(), proxy=None, ping_interval=None,
            max_size=None, compression=None, open_timeout=ACK_WITHIN_S, close_timeout=1,
        )  # fmt: skip

    def _headers(self) -> dict[str, str]:
        if self.setup.auth != "headers":
            return {}
        claims = {"packageName": self.setup.package, "apiKey": self.setup.api_key}
        token = jwt.encode(claims, self.setup.jwt_secret, algorithm="HS256")
        return {"Authorization": f"Bearer {token}", "x-user-id": self.user, "x-session-id": self.session}

    async def _hear(self, ws: ClientConnection, ear: PcmEar) -> None:
        if self.setup.auth == "init":
            await self._send(ws, {"type": "tpa_connection_init", "apiKey": self.setup.api_key})
        async with asyncio.timeout(ACK_WITHIN_S):
            while not self.acknowledged:
                await self._message(ws, ear, await ws.recv())
        async for message in ws:
            await self._message(ws, ear, message)

    async def _message(self, ws: ClientConnection, ear: PcmEar, message: str | bytes) -> None:
        if isinstance(message, bytes):
            ear.feed(message)
            return
        try:
            body: dict[str, Any] = json.loads(message)
            kind = body["type"]
        except (ValueError, KeyError, TypeError):
            self._recorder.emit(Note(text=f"captions app {self.session}: no message of the contract: {message[:200]}"))
            return
        if kind == "tpa_connection_ack":
            await self._acknowledge(ws)
        elif kind == "data_stream" and str(body.get("streamType", "")).startswith("transcription"):
            await self._caption(ws, body.get("data") or {})
        elif kind == "tpa_connection_error":
            self._recorder.emit(Note(text=f"captions app {self.session}: the cloud said {message[:200]}"))

    async def _acknowledge(self, ws: ClientConnection) -> None:
        if self._retired:
            return  # it is closing already
        self._recorder.emit(AppSocketOpen(session=self.session))
        await self._send(ws, {"type": "subscription_update", "subscriptions": list(self.setup.subscriptions)})
        self._recorder.emit(AppSubscribed(session=self.session, subscriptions=self.setup.subscriptions))
        self.acknowledged = True
        self._owner.acknowledged(self)

    async def _caption(self, ws: ClientConnection, data: dict[str, Any]) -> None:
        text, final = str(data.get("text", ""))[:TEXT_LIMIT], bool(data.get("isFinal"))
        words: dict[int, list[int]] = {}
        for speaker, word in parse_words(text):
            words.setdefault(speaker, []).append(word)
        for speaker, named in (words or {0: []}).items():
            self._recorder.emit(Caption(hop="app-in", speaker=speaker, words=tuple(named), final=final, text=text))
            self._owner.owners.words("app-in", self.user, speaker, named)
        if self.setup.display:
            layout = {"layoutType": "text_wall", "text": text}
            await self._send(ws, {"type": "display_event", "view": "main", "layout": layout})

    async def _send(self, ws: ClientConnection, body: dict[str, Any]) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        common = {"packageName": self.setup.package, "sessionId": self.session, "timestamp": now}
        await ws.send(json.dumps(body | common))


def _cancelled_from_outside() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _how_it_ended(ws: ClientConnection) -> tuple[int, str]:
    """Return the close code and reason of whoever closed first; 1006 when nobody said anything."""
    protocol = ws.protocol
    first = protocol.close_rcvd if protocol.close_rcvd_then_sent in {True, None} else protocol.close_sent
    return (int(first.code), first.reason) if first else (int(CloseCode.ABNORMAL_CLOSURE), "no close frame")
