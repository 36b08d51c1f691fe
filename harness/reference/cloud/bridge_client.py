"""The gRPC side towards the bridge: join, stream, status, leave. One object per subscriber, as in the real cloud.

It recovers by itself exactly once per stream error, and never from a stream that ended well.
No call has a deadline and the channel has no keepalive: the real cloud has neither.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.reference.cloud.context import Context
from harness.reference.cloud.errors import JoinFailed

if TYPE_CHECKING:
    import grpc.aio

SERVICE = "/mentra.livekit.bridge.LiveKitBridge/"
CHUNKS_PER_LINE = 100
UNANSWERED_JOIN_S = 2.0
"""How long an ending client waits for the answer to its JoinRoom, so that it can leave what it joined."""
CHANNEL_OPTIONS = (
    # Models a reader with a large window (4 MB, two minutes of speech); the real cloud's gRPC library has 64 KB.
    ("grpc.http2.lookahead_bytes", 4 * 1024 * 1024),
    ("grpc.max_receive_message_length", 10 * 1024 * 1024),
    ("grpc.max_send_message_length", 10 * 1024 * 1024),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),  # a connection of its own, so a new client dials at once
)


@dataclass(frozen=True)
class Join:
    """What the bridge needs to enter a room; the token stays out of every log."""

    room: str
    token: str
    url: str


@dataclass(frozen=True)
class BridgeStatus:
    """The bridge's word on one user."""

    connected: bool
    participant_count: int = 0
    last_disconnect_reason: str = ""


class BridgeClient:
    """One user's client. `on_chunk` gets PCM bytes as they came; `on_lost` hears that the stream is gone."""

    def __init__(
        self, ctx: Context, user_id: str, on_chunk: Callable[[bytes], None], on_lost: Callable[[str], None]
    ) -> None:
        """Open a channel of its own; nothing is sent yet."""
        # Imported late: they take a tenth of a second, which the start of the cloud need not pay.
        import grpc.aio  # noqa: PLC0415

        from harness.reference.proto import bridge_pb2  # noqa: PLC0415

        self._ctx = ctx
        self._user_id = user_id
        self._log = ctx.log.of(userId=user_id, service="GrpcClient")
        self._on_chunk = on_chunk
        self._on_lost = on_lost
        self._rpc_error = grpc.aio.AioRpcError
        self._closed_channel = grpc.aio.UsageError
        self._end_of_stream = grpc.aio.EOF
        self._pb = bridge_pb2
        self._channel = grpc.aio.insecure_channel(ctx.settings.bridge_address, options=CHANNEL_OPTIONS)
        self._stream: grpc.aio.StreamStreamCall[Any, Any] | None = None
        self._last_join: Join | None = None
        self._joined = False
        self._connected = False
        self._connecting = False
        self._changing = asyncio.Lock()
        self._retired = False
        self._chunks = 0
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

    async def rejoin(self, join: Join) -> None:
        """Leave if joined, then join and stream anew. Raises JoinFailed."""
        # Waits for a join in flight: two at once would leave two streams on one bridge session, each with half
        # of the audio.
        async with self._changing:
            self._refuse_when_retired()
            if self._ctx.defects.has("rejoin-without-leave"):
                await self._forget_stream()
            elif self._joined:
                await self._leave("Rejoining")
            await self._join(join)
            await self._open_stream()
            self._log.info("Rejoined LiveKit room via gRPC", roomName=join.room)

    async def status(self) -> BridgeStatus:
        """Ask the bridge about this user; a failure is a status too (reason `rpc_error` or `exception`)."""
        if self._ctx.defects.has("no-getstatus"):
            self._log.error("GetStatus threw", error="this.client.getStatus is not a function")
            return BridgeStatus(connected=False, last_disconnect_reason="exception")
        call = self._channel.unary_unary(
            SERVICE + "GetStatus",
            request_serializer=self._pb.BridgeStatusRequest.SerializeToString,
            response_deserializer=self._pb.BridgeStatusResponse.FromString,
        )
        try:
            reply = await call(self._pb.BridgeStatusRequest(user_id=self._user_id))
        except self._rpc_error as problem:
            self._log.error("GetStatus RPC failed", code=problem.code().name, error=problem.details())
            return BridgeStatus(connected=False, last_disconnect_reason="rpc_error")
        except self._closed_channel as problem:
            self._log.error("GetStatus threw", error=str(problem))
            return BridgeStatus(connected=False, last_disconnect_reason="exception")
        return BridgeStatus(reply.connected, reply.participant_count, reply.last_disconnect_reason)

    async def disconnect(self) -> None:
        """End for good: half-close, leave if this process joined, close the channel."""
        self._retired = True
        await self._change_ended()
        if self._joined:
            await self._leave("User disconnected")
        await self._close()

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
        await self._channel.close()

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
        self._log.debug("Calling JoinRoom RPC", roomName=join.room)
        call = self._channel.unary_unary(
            SERVICE + "JoinRoom",
            request_serializer=self._pb.JoinRoomRequest.SerializeToString,
            response_deserializer=self._pb.JoinRoomResponse.FromString,
        )
        request = self._pb.JoinRoomRequest(
            user_id=self._user_id,
            room_name=join.room,
            token=join.token,
            livekit_url=join.url,
            target_identity=self._user_id,
        )
        try:
            reply = await call(request)
        except self._rpc_error as problem:
            self._log.error("JoinRoom RPC failed", code=problem.code().name, error=problem.details())
            raise JoinFailed(f"JoinRoom failed: {problem.code().name} {problem.details()}") from None
        except self._closed_channel as problem:
            self._log.error("JoinRoom RPC failed", error=str(problem))
            raise JoinFailed(f"JoinRoom failed: {problem}") from None
        if not reply.success:
            self._log.error("JoinRoom returned failure", error=reply.error)
            raise JoinFailed(reply.error or "JoinRoom failed without a reason")
        self._joined = True
        self._log.info(
            "Joined LiveKit room", participantId=reply.participant_id, participantCount=reply.participant_count
        )

    async def _leave(self, reason: str) -> None:
        await self._forget_stream()
        call = self._channel.unary_unary(
            SERVICE + "LeaveRoom",
            request_serializer=self._pb.LeaveRoomRequest.SerializeToString,
            response_deserializer=self._pb.LeaveRoomResponse.FromString,
        )
        try:
            await call(self._pb.LeaveRoomRequest(user_id=self._user_id, reason=reason))
        except self._rpc_error as problem:
            self._log.error("LeaveRoom RPC failed", code=problem.code().name, error=problem.details())
        except self._closed_channel as problem:
            self._log.error("LeaveRoom RPC failed", error=str(problem))
        else:
            self._log.info("Left LiveKit room", reason=reason)

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
        stream = self._channel.stream_stream(
            SERVICE + "StreamAudio",
            request_serializer=self._pb.AudioChunk.SerializeToString,
            response_deserializer=self._pb.AudioChunk.FromString,
        )()
        self._stream = stream
        self._connected = True
        self._ctx.background.spawn(self._read(stream), f"stream of {self._user_id}")
        self._log.info("Audio stream started, listening for audio from bridge")
        first = self._pb.AudioChunk(
            user_id=self._user_id, pcm_data=b"", sample_rate=16000, channels=1, timestamp_ms=int(time.time() * 1000)
        )
        # A stream that fails here fails for its reader too, which acts on it.
        with contextlib.suppress(self._rpc_error, asyncio.InvalidStateError):
            await stream.write(first)

    async def _read(self, stream: grpc.aio.StreamStreamCall[Any, Any]) -> None:
        """Read one stream to its end. Only the client's current stream is heard and only its end matters."""
        try:
            while (chunk := await stream.read()) is not self._end_of_stream:
                if stream is self._stream:
                    self._receive(chunk.pcm_data)
        except self._rpc_error:
            pass  # the status below tells the same
        code, details = await stream.code(), await stream.details()
        if stream is not self._stream:
            return
        self._stream = None
        self._connected = False
        if code.name == "OK":
            self._log.info("Audio stream ended")
            self._on_lost("Audio stream ended")
            return
        self._log.error("Audio stream error", code=code.name, error=details)
        self._on_lost("Audio stream error")
        await self._reconnect_once()

    def _receive(self, pcm: bytes) -> None:
        if not pcm:
            return
        self._chunks += 1
        if self._chunks % CHUNKS_PER_LINE == 0:
            self._log.debug("Received audio chunks from gRPC bridge", count=self._chunks)
        self._on_chunk(pcm)

    async def _reconnect_once(self) -> None:
        await asyncio.sleep(self._ctx.timers.stream_reconnect_s)
        async with self._changing:
            # A rejoin in the meantime has mended it; a second one would only cut the audio again.
            if self._retired or self.is_connected or self._last_join is None:
                return
            self._log.info("Attempting to reconnect after stream error")
            try:
                await self._connect(self._last_join)
            except JoinFailed as problem:
                self._log.error("Reconnection failed", error=str(problem))
