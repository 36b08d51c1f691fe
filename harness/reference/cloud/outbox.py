"""What waits to leave over one WebSocket: callers never wait, order is kept, and a stalled reader bounds itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable

import aiohttp
from aiohttp import web

Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse
Before = Callable[[str | bytes], Awaitable[None]]
"""What is waited for before an entry goes."""


class Outbox:
    """A bounded queue and the task that empties it. When full, the oldest entry goes: late audio helps nobody."""

    def __init__(self, limit: int) -> None:
        """Keep at most `limit` entries."""
        self._waiting: deque[str | bytes] = deque()
        self._news = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self.limit = limit
        """How many may wait; may change at any time."""
        self.dropped = 0
        """How many had to go."""

    def put(self, entry: str | bytes) -> None:
        """Queue one frame: text or binary by its type."""
        self._waiting.append(entry)
        while len(self._waiting) > self.limit:
            self._waiting.popleft()
            self.dropped += 1
        self._empty.clear()
        self._news.set()

    async def emptied(self) -> None:
        """Wait until everything queued was sent, or was given up with its socket."""
        await self._empty.wait()

    async def drain_into(self, socket: Socket, before: Before | None = None) -> None:
        """Send, each entry when `before` lets it, for as long as the socket lives.

        Returns when it does not; its reader sees the same and acts.
        """
        try:
            with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                while not socket.closed:
                    await self._news.wait()
                    self._news.clear()
                    while self._waiting:
                        if before is not None:
                            await before(self._waiting[0])
                        entry = self._waiting.popleft()
                        await (socket.send_str(entry) if isinstance(entry, str) else socket.send_bytes(entry))
                    self._empty.set()
        finally:
            self._empty.set()
