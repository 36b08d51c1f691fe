"""The harness's own questions to a bridge: GetStatus, HealthCheck, a JoinRoom that plants a session, a second stream.

They go to the bridge's real address, beside the links, so that no fault of ours can lie to us.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc

from harness.errors import HarnessError
from harness.reference.proto import bridge_pb2

SERVICE = "mentra.livekit.bridge.LiveKitBridge"
OPTIONS = (("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1))


class BridgeRefused(HarnessError):
    """The bridge answered JoinRoom or LeaveRoom with success = false, or not at all."""


class BridgeGone(BridgeRefused):
    """The connection broke before the bridge had answered."""


@dataclass(frozen=True)
class BridgeStatus:
    """What a bridge says of itself at one moment."""

    answered: bool
    """False when no call was answered at all."""
    active_sessions: int = -1
    """HealthCheck's number; -1 when it was not answered."""
    connected: dict[str, bool] = field(default_factory=dict)
    """GetStatus per user id; a user whose GetStatus failed is missing."""
    detail: str = ""
    """What failed, in words."""
    active_streams: int = -1
    """HealthCheck's number; -1 when it was not answered."""


async def read_status(address: str, users: Sequence[str], *, within_s: float = 1.0) -> BridgeStatus:
    """Ask the bridge at ``host:port`` for each user and for its number of sessions; never raises for a bad bridge."""
    sessions, streams, connected, failures = -1, -1, dict[str, bool](), list[str]()
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        try:
            health = await _call(channel, "HealthCheck", bridge_pb2.HealthCheckRequest(), within_s)
            sessions, streams = health.active_sessions, health.active_streams
        except grpc.aio.AioRpcError as error:
            failures.append(f"HealthCheck: {error.code().name}")
        for user in users:
            try:
                reply = await _call(channel, "GetStatus", bridge_pb2.BridgeStatusRequest(user_id=user), within_s)
                connected[user] = reply.connected
            except grpc.aio.AioRpcError as error:
                failures.append(f"GetStatus({user}): {error.code().name}")
    return BridgeStatus(sessions >= 0 or bool(connected), sessions, connected, "; ".join(failures), streams)


async def join_room(address: str, *, user: str, room: str, token: str, livekit_url: str, within_s: float = 10) -> str:
    """Send JoinRoom as a cloud would and go away after the answer; return the participant id.

    Raises:
        BridgeGone: the connection broke before the answer.
        BridgeRefused: the bridge answered success = false, or not at all.
    """
    request = bridge_pb2.JoinRoomRequest(
        user_id=user, room_name=room, token=token, livekit_url=livekit_url, target_identity=user
    )
    return str((await _change(address, "JoinRoom", request, within_s)).participant_id)


async def leave_room(address: str, *, user: str, within_s: float = 10) -> None:
    """Send LeaveRoom for a user, as a cloud of before might.

    Raises:
        BridgeGone: the connection broke before the answer.
        BridgeRefused: the bridge answered success = false (no such session), or not at all.
    """
    request = bridge_pb2.LeaveRoomRequest(user_id=user, reason="User disconnected")
    await _change(address, "LeaveRoom", request, within_s)


async def _change(address: str, method: str, request: Any, within_s: float) -> Any:
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        try:
            reply = await _call(channel, method, request, within_s)
        except grpc.aio.AioRpcError as error:
            kind = BridgeGone if error.code() is grpc.StatusCode.UNAVAILABLE else BridgeRefused
            text = f"the bridge did not answer {method}: {error.code().name} {error.details()}"
            raise kind(text) from error
    if not reply.success:
        raise BridgeRefused(f"the bridge refused {method}: {reply.error}")
    return reply


class ForeignStream:
    """A StreamAudio of ours on somebody's session, held open and read; what it hears is counted and forgotten."""

    def __init__(self, address: str, user: str) -> None:
        """Prepare; ``open`` dials."""
        self._address, self._user = address, user
        self._told = asyncio.Event()
        self.chunks = 0
        """Chunks with audio that came."""
        self.status = ""
        """How it ended by itself; empty while it is open."""

    async def open(self, *, within_s: float) -> None:
        """Open it as a cloud would, and wait until it has brought audio or has ended.

        Raises:
            TimeoutError: it did neither.
        """
        self._channel = grpc.aio.insecure_channel(self._address, options=OPTIONS)
        method: Any = self._channel.stream_stream(
            f"/{SERVICE}/StreamAudio",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=bridge_pb2.AudioChunk.FromString,
        )
        self._call = method()
        self._reading = asyncio.create_task(self._read(), name=f"foreign stream of {self._user}")
        async with asyncio.timeout(within_s):
            await self._told.wait()

    async def _read(self) -> None:
        try:
            await self._call.write(bridge_pb2.AudioChunk(user_id=self._user, sample_rate=16_000, channels=1))
            while (chunk := await self._call.read()) is not grpc.aio.EOF:
                if chunk.pcm_data:
                    self.chunks += 1
                    self._told.set()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass  # the status below tells the same
        self.status = (await self._call.code()).name
        self._told.set()

    async def close(self) -> None:
        """Break it off, as somebody who goes away; may be called when it never opened."""
        self._reading.cancel()
        await asyncio.wait([self._reading])
        await self._channel.close()


_REPLIES: dict[str, Any] = {
    "HealthCheck": bridge_pb2.HealthCheckResponse,
    "GetStatus": bridge_pb2.BridgeStatusResponse,
    "JoinRoom": bridge_pb2.JoinRoomResponse,
    "LeaveRoom": bridge_pb2.LeaveRoomResponse,
}


async def _call(channel: grpc.aio.Channel, method: str, request: Any, within_s: float) -> Any:
    call: Any = channel.unary_unary(
        f"/{SERVICE}/{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=_REPLIES[method].FromString,
    )
    return await call(request, timeout=within_s, wait_for_ready=False)
