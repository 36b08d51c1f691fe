"""The bridge's single calls as the cloud makes them: join, leave, status, and the opening of the audio stream.

The real cloud's calls have no deadline, so a bridge that is frozen hangs it for ever; here each has one.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.reference.cloud.context import Context
from harness.reference.cloud.errors import JoinFailed
from harness.reference.cloud.log import Log

if TYPE_CHECKING:
    import grpc.aio

SERVICE = "/mentra.livekit.bridge.LiveKitBridge/"
CHANNEL_OPTIONS = (
    ("grpc.http2.bdp_probe", 0),  # or the window would grow as it likes
    ("grpc.max_receive_message_length", 10 * 1024 * 1024),
    ("grpc.max_send_message_length", 10 * 1024 * 1024),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),  # a connection of its own, so a new client dials at once
    # A bridge that restarted is dialled within the cloud's own back-off, not within gRPC's (up to two minutes).
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),
)

OWED_LIMIT = 1000
"""Of so many users a failed LeaveRoom is remembered: who never comes back would be remembered for ever."""


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


class JoinUnanswered(JoinFailed):
    """The bridge did not answer in time; it may join all the same."""


class BridgeCalls:
    """One channel to the bridge, and one user's calls on it."""

    def __init__(self, ctx: Context, user_id: str, log: Log) -> None:
        """Open a channel; nothing is sent yet."""
        # Imported late: they take a tenth of a second, which the start of the cloud need not pay.
        import grpc.aio  # noqa: PLC0415

        from harness.reference.proto import bridge_pb2  # noqa: PLC0415

        self._user_id = user_id
        self._log = log
        self._timers = ctx.timers
        self._owed = ctx.owed_leaves
        self._patient = ctx.defects.has("no-rpc-deadline")
        self._forgetful = ctx.defects.has("forget-failed-leave")
        self._blind = ctx.defects.has("no-getstatus")
        self._closed_channel = grpc.aio.UsageError
        self._late = grpc.StatusCode.DEADLINE_EXCEEDED
        self._pb = bridge_pb2
        window = ("grpc.http2.lookahead_bytes", ctx.settings.grpc_window_bytes)
        self._channel = grpc.aio.insecure_channel(ctx.settings.bridge_address, options=(window, *CHANNEL_OPTIONS))
        self.rpc_error = grpc.aio.AioRpcError
        self.end_of_stream = grpc.aio.EOF

    async def join(self, join: Join) -> None:
        """Send JoinRoom, and a LeaveRoom that is owed first. Raises JoinFailed, as JoinUnanswered when it took long."""
        if self._user_id in self._owed:
            await self.leave("LeaveRoom had failed")
        self._log.debug("Calling JoinRoom RPC", roomName=join.room)
        request = self._pb.JoinRoomRequest(
            user_id=self._user_id,
            room_name=join.room,
            token=join.token,
            livekit_url=join.url,
            target_identity=self._user_id,
        )
        call = self._unary("JoinRoom", self._pb.JoinRoomRequest, self._pb.JoinRoomResponse)
        try:
            reply = await call(request, timeout=self._within(self._timers.join_deadline_s))
        except self.rpc_error as problem:
            self._log.error("JoinRoom RPC failed", code=problem.code().name, error=problem.details())
            failed = JoinUnanswered if problem.code() is self._late else JoinFailed
            raise failed(f"JoinRoom failed: {problem.code().name} {problem.details()}") from None
        except self._closed_channel as problem:
            self._log.error("JoinRoom RPC failed", error=str(problem))
            raise JoinFailed(f"JoinRoom failed: {problem}") from None
        if not reply.success:
            self._log.error("JoinRoom returned failure", error=reply.error)
            raise JoinFailed(reply.error or "JoinRoom failed without a reason")
        self._log.info(
            "Joined LiveKit room", participantId=reply.participant_id, participantCount=reply.participant_count
        )

    async def leave(self, reason: str) -> None:
        """Send LeaveRoom; a failure is logged, and made good before the next JoinRoom of this user."""
        request = self._pb.LeaveRoomRequest(user_id=self._user_id, reason=reason)
        call = self._unary("LeaveRoom", self._pb.LeaveRoomRequest, self._pb.LeaveRoomResponse)
        try:
            await call(request, timeout=self._within(self._timers.leave_deadline_s))
        except self.rpc_error as problem:
            self._log.error("LeaveRoom RPC failed", code=problem.code().name, error=problem.details())
            self._owe_leave()
        except self._closed_channel as problem:
            self._log.error("LeaveRoom RPC failed", error=str(problem))
            self._owe_leave()
        except asyncio.CancelledError:  # its channel was closed: nobody knows whether the bridge heard it
            self._owe_leave()
            raise
        else:
            self._owed.pop(self._user_id, None)
            self._log.info("Left LiveKit room", reason=reason)

    def _owe_leave(self) -> None:
        """Remember a LeaveRoom that failed, of so many users; one that is still on its way need not be repeated."""
        if self._forgetful:
            return
        self._owed.pop(self._user_id, None)  # to the end of the row: the oldest is first
        self._owed[self._user_id] = None
        while len(self._owed) > OWED_LIMIT:
            del self._owed[next(iter(self._owed))]

    async def status(self) -> BridgeStatus:
        """Send GetStatus; a failure is a status too (reason `rpc_error` or `exception`)."""
        if self._blind:
            self._log.error("GetStatus threw", error="this.client.getStatus is not a function")
            return BridgeStatus(connected=False, last_disconnect_reason="exception")
        request = self._pb.BridgeStatusRequest(user_id=self._user_id)
        call = self._unary("GetStatus", self._pb.BridgeStatusRequest, self._pb.BridgeStatusResponse)
        try:
            reply = await call(request, timeout=self._within(self._timers.status_deadline_s))
        except self.rpc_error as problem:
            self._log.error("GetStatus RPC failed", code=problem.code().name, error=problem.details())
            return BridgeStatus(connected=False, last_disconnect_reason="rpc_error")
        except self._closed_channel as problem:
            self._log.error("GetStatus threw", error=str(problem))
            return BridgeStatus(connected=False, last_disconnect_reason="exception")
        return BridgeStatus(reply.connected, reply.participant_count, reply.last_disconnect_reason)

    def open_stream(self) -> grpc.aio.StreamStreamCall[Any, Any]:
        """Begin StreamAudio; nothing is written yet. It has no deadline: it lives as long as the session."""
        kind = self._pb.AudioChunk
        name = SERVICE + "StreamAudio"
        return self._channel.stream_stream(
            name, request_serializer=kind.SerializeToString, response_deserializer=kind.FromString
        )()

    def first_chunk(self) -> Any:
        """Give the empty chunk that names the user."""
        now_ms = int(time.time() * 1000)
        return self._pb.AudioChunk(
            user_id=self._user_id, pcm_data=b"", sample_rate=16000, channels=1, timestamp_ms=now_ms
        )

    async def close(self) -> None:
        """Close the channel with whatever is still open on it."""
        await self._channel.close()

    def _within(self, seconds: float) -> float | None:
        return None if self._patient else seconds

    def _unary(self, name: str, request: Any, reply: Any) -> Any:
        return self._channel.unary_unary(
            SERVICE + name, request_serializer=request.SerializeToString, response_deserializer=reply.FromString
        )
