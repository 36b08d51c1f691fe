"""One phone's WebSocket as the cloud holds it: ordered sending, pings, and two ways to end it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math

from aiohttp import web

from harness.reference.cloud.context import Context
from harness.reference.cloud.outbox import Outbox
from harness.reference.cloud.wire import Message, iso_now

FRAMES_QUEUED = 1000
PING_TIMEOUT_TEXT = "Ping timeout - no pong received"


class PhoneConnection:
    """An open socket of a user's phone; identity matters, since a user may have had others before."""

    def __init__(self, ctx: Context, user_id: str, socket: web.WebSocketResponse, transport: asyncio.Transport) -> None:
        """Hold a prepared socket and the transport below it."""
        self._ctx = ctx
        self._user_id = user_id
        self._transport = transport
        self._outbox = Outbox(FRAMES_QUEUED)
        self._loop = asyncio.get_running_loop()
        self._last_pong_s = self._loop.time()
        self.socket = socket

    def send(self, message: Message) -> None:
        """Queue one message."""
        self._outbox.put(json.dumps(message, ensure_ascii=False))

    def pong(self) -> None:
        """Note a pong."""
        self._last_pong_s = self._loop.time()

    async def close(self, code: int, text: str) -> None:
        """Close with a reason and wait for the phone's answer, within the socket's limit."""
        await self.socket.close(code=code, message=text.encode())

    async def dismiss(self, error_code: str, text: str, close_code: int) -> None:
        """Tell the phone a `connection_error`, after all that waits for it, and close."""
        self.send({"type": "connection_error", "code": error_code, "message": text, "timestamp": iso_now()})
        # A frozen phone may never take it; the close must not wait for that.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._ctx.timers.close_s):
                await self._outbox.emptied()
        await self.close(close_code, text)

    def terminate(self) -> None:
        """Drop the connection without a word; the phone sees 1006."""
        self._transport.abort()

    async def serve(self) -> None:
        """Send what is queued, and ping, until the socket ends or no pong came for too long."""
        sending = asyncio.create_task(self._outbox.drain_into(self.socket))
        try:
            with contextlib.suppress(ConnectionError):
                await self._ping()
        finally:
            sending.cancel()

    async def _ping(self) -> None:
        timers = self._ctx.timers
        patience_s = math.inf if self._ctx.defects.has("no-pong-timeout") else timers.pong_s
        next_ping_s = self._loop.time() + timers.ping_s
        while not self.socket.closed:
            deadline_s = self._last_pong_s + patience_s
            await asyncio.sleep(max(0.0, min(next_ping_s, deadline_s) - self._loop.time()))
            now_s = self._loop.time()
            silent_s = now_s - self._last_pong_s
            if silent_s >= patience_s:
                line = (
                    "[UserSession:pongTimeout] Phone connection timeout - "
                    f"no pong for {round(silent_s * 1000)}ms from user {self._user_id}"
                )
                self._ctx.log.warning(line)
                await self.close(1001, PING_TIMEOUT_TEXT)
                return
            if now_s >= next_ping_s:
                next_ping_s = now_s + timers.ping_s
                await self.socket.ping()
