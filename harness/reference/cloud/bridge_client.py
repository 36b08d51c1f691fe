"""The gRPC side towards the bridge: join, stream, leave, and coming back. One object per subscriber.

The real cloud recovers once per stream error, never from a stream that ended well, never from a join that failed, and
then waits for the next phone. This one goes on trying, with pauses that double, as long as it is wanted.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from harness.reference.cloud.backoff import Backoff, Replacements
from harness.reference.cloud.bridge_calls import BridgeCalls, BridgeStatus, Join, JoinUnanswered
from harness.reference.cloud.context import Context
from harness.reference.cloud.errors import JoinFailed

if TYPE_CHECKING:
    import grpc.aio

CHUNKS_PER_LINE = 100
UNANSWERED_JOIN_S = 2.0
"""How long an ending client waits for the answer to its JoinRoom, so that it can leave what it joined."""
LOST_ROOM = "the agent lost its room"
"""How a bridge's status begins whose agent was put out of its room."""
REPLACED_LIMIT = 4
"""So many replacements by somebody else within `replaced_window_s`, and the session is theirs."""


class BridgeClient:
    """One user's client.

    `on_chunk` gets PCM bytes as they came; `on_lost` hears why no audio comes; `wanted` tells whether a phone is there
    to come back for.
    """

    def __init__(
        self,
        ctx: Context,
        user_id: str,
        on_chunk: Callable[[bytes], None],
        on_lost: Callable[[str], None],
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        """Open a channel of its own; nothing is sent yet."""
        self._ctx = ctx
        self._user_id = user_id
        self._log = ctx.log.of(userId=user_id, service="GrpcClient")
        self._on_chunk = on_chunk
        self._on_lost = on_lost
        self._wanted = wanted
        self._calls = BridgeCalls(ctx, user_id, self._log)
        self._stream: grpc.aio.StreamStreamCall[Any, Any] | None = None
        self._last_join: Join | None = None
        self._joined = False
        self._connected = False
        self._connecting = False
        self._up_since_s = -float("inf")
        self._changing = asyncio.Lock()
        self._retired = False
        self._chunks = 0
        timers = ctx.timers
        if ctx.defects.has("fresh-client-no-dispose"):  # as the real cloud: pauses that do not grow, for ever
            self._backoff = Backoff(timers.stream_reconnect_s, timers.stream_reconnect_s)
            self._replacements = Replacements(None, timers.replaced_window_s)
        else:
            self._backoff = Backoff(timers.stream_reconnect_s, timers.reconnect_cap_s)
            self._replacements = Replacements(REPLACED_LIMIT, timers.replaced_window_s)
        self._recovering: asyncio.Task[None] | None = None
        self._log.info("gRPC client initialized", bridge=ctx.settings.bridge_address)

    @property
    def is_connected(self) -> bool:
        """Whether it joined and has a stream; says nothing about the room."""
        return self._connected and self._joined and self._stream is not None

    async def connect(self, join: Join) -> None:
        """Join the room and open the stream; silently returns while another call does so. Raises JoinFailed."""
        if self._connecting:
            self._log.debug("Connection already in progress, skipping duplicate call")
            return
        self._connecting = True
        try:
            async with self._changing:
                await self._connect(join)
        finally:
            self._connecting = False

    async def rejoin(self, join: Join, asked_s: float = float("inf")) -> bool:
        """Leave if joined, then join and stream anew; gives whether it did. Raises JoinFailed.

        What came up by itself since it was `asked` for (monotonic) is left alone.
        """
        # Waits for a join in flight: two at once would leave two streams on one bridge session, each with half
        # of the audio.
        async with self._changing:
            self._refuse_when_retired()
            if self.is_connected and self._up_since_s > asked_s:
                return False
            if self._ctx.defects.has("rejoin-without-leave"):
                await self._forget_stream()
            elif self._joined:
                await self._leave("Rejoining")
            await self._join(join)
            await self._open_stream()
            self._log.info("Rejoined LiveKit room via gRPC", roomName=join.room)
            return True

    def phone_came(self) -> None:
        """Count replacements anew: who has the phone has the session."""
        self._replacements.forget()

    def try_again(self) -> None:
        """Go on trying in the background after a join that failed."""
        if not self._ctx.defects.has("no-join-retry"):
            self._recover("Attempting to join again")

    async def status(self) -> BridgeStatus:
        """Ask the bridge about this user; a failure is a status too (reason `rpc_error` or `exception`)."""
        return await self._calls.status()

    async def disconnect(self) -> None:
        """End for good: half-close, leave if this process joined, close the channel."""
        self._retired = True
        await self._change_ended()
        if self._joined:
            await self._leave("User disconnected")
        await self._close()

    def forget(self) -> None:
        """Recover no more; whatever is open stays open, until `let_go`."""
        self._retired = True

    async def let_go(self) -> None:
        """Recover no more and close the channel, with whatever is still open on it.

        The bridge hears of it only if a join was in flight: nobody else would leave what that one joined.
        """
        self._retired = True
        if await self._change_ended() and self._joined:
            await self._leave("User disconnected")
        await self._close()

    async def _change_ended(self) -> bool:
        """Wait, within a limit, for a join or a leave in flight; gives whether there was one."""
        if not self._changing.locked():
            return False
        try:
            async with asyncio.timeout(UNANSWERED_JOIN_S), self._changing:
                pass
        except TimeoutError:
            self._log.warning("Not waiting longer for the bridge's answer")
        return True

    async def _close(self) -> None:
        self._stream = None
        await self._calls.close()

    def _refuse_when_retired(self) -> None:
        if self._retired:
            raise JoinFailed("disposed")

    async def _connect(self, join: Join) -> None:
        self._refuse_when_retired()
        if self._joined:
            await self._leave("Reconnecting")
        await self._join(join)
        await self._open_stream()
        self._log.info("Connected to LiveKit room via gRPC", roomName=join.room)

    async def _join(self, join: Join) -> None:
        self._refuse_when_retired()  # again: the leave before may have taken long
        self._last_join = join
        try:
            await self._calls.join(join)
        except JoinUnanswered:
            self._joined = True  # perhaps it will be: whoever comes next, or the end, must leave it
            raise
        self._joined = True

    async def _leave(self, reason: str) -> None:
        await self._forget_stream()
        await self._calls.leave(reason)

    async def _forget_stream(self) -> None:
        """Half-close the stream and think no more of it; its reader goes on and drops what comes."""
        stream, self._stream = self._stream, None
        self._connected = False
        self._joined = False
        if stream is not None and not stream.done():
            await stream.done_writing()

    async def _open_stream(self) -> None:
        """Open the stream; returns when its first chunk is written, so that no half-close can overtake it."""
        self._refuse_when_retired()
        stream = self._calls.open_stream()
        self._stream = stream
        self._connected = True
        self._up_since_s = time.monotonic()
        self._ctx.background.spawn(self._read(stream), f"stream of {self._user_id}")
        self._log.info("Audio stream started, listening for audio from bridge")
        # A stream that fails here fails for its reader too, which acts on it.
        with contextlib.suppress(self._calls.rpc_error, asyncio.InvalidStateError):
            await stream.write(self._calls.first_chunk())

    async def _read(self, stream: grpc.aio.StreamStreamCall[Any, Any]) -> None:
        """Read one stream to its end. Only the client's current stream is heard and only its end matters."""
        try:
            while (chunk := await stream.read()) is not self._calls.end_of_stream:
                if stream is self._stream:
                    self._receive(chunk.pcm_data)
        except self._calls.rpc_error:
            pass  # the status below tells the same
        code, details = await stream.code(), await stream.details()
        if stream is not self._stream:
            return
        self._stream = None
        self._connected = False
        if code.name == "OK":
            self._ended()
            return
        self._log.error("Audio stream error", code=code.name, error=details)
        self._on_lost("Audio stream error")
        if (details or "").startswith(LOST_ROOM) and not self._takes_the_room_back(stream):
            return
        self._recover("Attempting to reconnect after stream error")

    def _takes_the_room_back(self, stream: grpc.aio.StreamStreamCall[Any, Any]) -> bool:
        """Tell whether to join again after the agent was put out of its room: not for ever, or two would flap."""
        if self._ctx.defects.has("no-rejoin"):
            self._log.warning("The bridge lost its room, waiting for it to come back")
            self._stream, self._connected = stream, True
            return False
        if self._replacements.too_many():
            self._log.warning("Put out of the room again and again: another cloud has this user, giving up")
            self._on_lost("another cloud has this user's audio")
            return False
        return True

    def _ended(self) -> None:
        """Act on a stream that the bridge ended well: it closed the session, or gave it to somebody else."""
        self._log.info("Audio stream ended")
        self._on_lost("Audio stream ended")
        if self._ctx.defects.has("no-reconnect-on-end"):
            return
        self._joined = False  # what there is now is not ours: it must not be left
        if self._replacements.too_many():
            self._log.warning("Audio stream ended again and again: another cloud has this user, giving up")
            self._on_lost("another cloud has this user's audio")
            return
        self._recover("Attempting to reconnect after stream end")

    def _receive(self, pcm: bytes) -> None:
        if not pcm:
            return
        self._chunks += 1
        if self._chunks % CHUNKS_PER_LINE == 0:
            self._log.debug("Received audio chunks from gRPC bridge", count=self._chunks)
        self._on_chunk(pcm)

    def _recover(self, line: str) -> None:
        """Try until it is mended, unless that is under way; `line` is logged before each try."""
        if self._recovering is None or self._recovering.done():
            once = line.endswith("stream error") and self._ctx.defects.has("one-shot-reconnect")
            self._recovering = self._ctx.background.spawn(
                self._keep_trying(line, once=once), f"recovery of {self._user_id}"
            )

    async def _keep_trying(self, line: str, *, once: bool) -> None:
        while not self._retired:
            await asyncio.sleep(self._backoff.next_s())
            if once or self._wanted():
                await self._try(line)
            # Nothing is awaited from here to the end, so that a stream that breaks now finds this loop over.
            if once or self.is_connected or self._last_join is None:
                return

    async def _try(self, line: str) -> None:
        async with self._changing:
            # A rejoin in the meantime has mended it; a second one would only cut the audio again.
            if self._retired or self.is_connected or self._last_join is None:
                return
            self._log.info(line)
            try:
                await self._connect(self._last_join)
            except JoinFailed as problem:
                self._log.error("Reconnection failed", error=str(problem))
                self._on_lost("Reconnection failed")
