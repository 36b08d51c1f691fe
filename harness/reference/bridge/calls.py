"""The bridge's gRPC calls, as the real bridge answers them.

Left out: PlayAudio and StopAudio answer UNIMPLEMENTED for a user with a session; the first chunk of StreamAudio
publishes no `speaker` track, since nothing is ever played into the room (so GetStatus never waits for a publication);
server reflection. A second StreamAudio on one session is refused and harms nothing; the real bridge lets it in, to read
the same queue.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NoReturn

import grpc
import grpc.aio

from harness.reference.bridge import log
from harness.reference.bridge.options import Timers
from harness.reference.bridge.room import DialFailed
from harness.reference.bridge.session import RoomLost, Session
from harness.reference.bridge.sessions import JoinRefused, Sessions
from harness.reference.proto import BRIDGE_SERVICE, bridge_pb2

SERVER_VERSION = "1.0.0"
SAMPLE_RATE_HZ = 16_000
LOST_ROOM = "the agent lost its room"
"""How the status of a stream begins whose session was put out of its room, or could not get back into it."""

Context = grpc.aio.ServicerContext[Any, Any]
_handlers: Any = grpc  # the factories of handlers carry no types


class BridgeCalls:
    """Every call of `mentra.livekit.bridge.LiveKitBridge`."""

    def __init__(self, sessions: Sessions, timers: Timers) -> None:
        """Serve the given sessions."""
        self._sessions = sessions
        self._timers = timers
        self._joins: set[asyncio.Task[bridge_pb2.JoinRoomResponse]] = set()

    def handler(self) -> Any:
        """Give the handler to register with a server."""
        pb = bridge_pb2
        unary = _handlers.unary_unary_rpc_method_handler
        plain: dict[str, tuple[Any, Any, Any]] = {
            "JoinRoom": (self.join_room, pb.JoinRoomRequest, pb.JoinRoomResponse),
            "LeaveRoom": (self.leave_room, pb.LeaveRoomRequest, pb.LeaveRoomResponse),
            "StopAudio": (self.stop_audio, pb.StopAudioRequest, pb.StopAudioResponse),
            "HealthCheck": (self.health_check, pb.HealthCheckRequest, pb.HealthCheckResponse),
            "GetStatus": (self.get_status, pb.BridgeStatusRequest, pb.BridgeStatusResponse),
        }
        calls = {
            name: unary(call, request.FromString, reply.SerializeToString)
            for name, (call, request, reply) in plain.items()
        }
        calls["StreamAudio"] = _handlers.stream_stream_rpc_method_handler(
            self.stream_audio,
            pb.AudioChunk.FromString,
            pb.AudioChunk.SerializeToString,
        )
        calls["PlayAudio"] = _handlers.unary_stream_rpc_method_handler(
            self.play_audio,
            pb.PlayAudioRequest.FromString,
            pb.PlayAudioEvent.SerializeToString,
        )
        return _handlers.method_handlers_generic_handler(BRIDGE_SERVICE, calls)

    async def join_room(self, request: bridge_pb2.JoinRoomRequest, _context: Context) -> bridge_pb2.JoinRoomResponse:
        """Enter a room. Goes on to its end when the caller goes away, as the real bridge does."""
        joining = asyncio.create_task(self._join(request))
        self._joins.add(joining)
        joining.add_done_callback(self._joins.discard)
        joining.add_done_callback(log.failure(f"JoinRoom of {request.user_id}"))
        return await asyncio.shield(joining)

    async def _join(self, request: bridge_pb2.JoinRoomRequest) -> bridge_pb2.JoinRoomResponse:
        user_id = request.user_id
        log.line(f"JoinRoom request: userId={user_id}, room={request.room_name}")
        try:
            session = await self._sessions.join(
                user_id,
                request.room_name,
                request.target_identity,
                url=request.livekit_url,
                token=request.token,
            )
        except JoinRefused as refused:
            return bridge_pb2.JoinRoomResponse(success=False, error=str(refused))
        except DialFailed as failed:
            error = f"failed to connect to room: {failed}"
            log.line(f"Failed to join room: userId={user_id}: {failed}")
            return bridge_pb2.JoinRoomResponse(success=False, error=error)
        log.line(f"Successfully joined room: userId={user_id}")
        return bridge_pb2.JoinRoomResponse(
            success=True,
            participant_id=session.participant_id,
            participant_count=session.participant_count,
        )

    async def leave_room(self, request: bridge_pb2.LeaveRoomRequest, _context: Context) -> bridge_pb2.LeaveRoomResponse:
        """Close and forget a user's session."""
        log.line(f"LeaveRoom request: userId={request.user_id}, reason={request.reason}")
        if not await self._sessions.leave(request.user_id):
            return bridge_pb2.LeaveRoomResponse(success=False, error="session not found")
        log.line(f"Successfully left room: userId={request.user_id}")
        return bridge_pb2.LeaveRoomResponse(success=True)

    async def get_status(
        self,
        request: bridge_pb2.BridgeStatusRequest,
        _context: Context,
    ) -> bridge_pb2.BridgeStatusResponse:
        """Tell how one user's session stands."""
        session = self._sessions.get(request.user_id)
        if session is None:
            return bridge_pb2.BridgeStatusResponse(connected=False, server_version=SERVER_VERSION)
        return bridge_pb2.BridgeStatusResponse(
            connected=session.connected,
            participant_id=session.participant_id,
            participant_count=session.participant_count,
            last_disconnect_at=session.last_disconnect_at_ms,
            last_disconnect_reason=session.last_disconnect_reason,
            server_version=SERVER_VERSION,
        )

    async def health_check(
        self,
        _request: bridge_pb2.HealthCheckRequest,
        _context: Context,
    ) -> bridge_pb2.HealthCheckResponse:
        """Answer SERVING, with how many sessions there are; `metadata` counts packets of the present sessions."""
        counts = [session.counts for session in self._sessions]
        return bridge_pb2.HealthCheckResponse(
            status=bridge_pb2.HealthCheckResponse.SERVING,
            active_sessions=len(self._sessions),
            active_streams=sum(session.has_room for session in self._sessions),
            uptime_seconds=0,  # the real bridge never filled it in
            metadata={
                "packets_queued": str(sum(c.queued for c in counts)),
                "packets_dropped_full": str(sum(c.dropped_full for c in counts)),
                "packets_unknown_sender": str(sum(c.unknown_sender for c in counts)),
                "packets_other_sender": str(sum(c.other_sender for c in counts)),
            },
        )

    async def stream_audio(self, chunks: AsyncIterator[bridge_pb2.AudioChunk], context: Context) -> None:
        """Send a session's audio until it is closed (status OK), its room is lost, or the stream breaks (dropped)."""
        first = await anext(aiter(chunks), None)
        if first is None or not first.user_id:
            await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, "the first chunk must carry user_id")
        session = self._sessions.get(first.user_id)
        if session is None:
            await _abort(context, grpc.StatusCode.NOT_FOUND, f"session not found for user {first.user_id}")
        if session.has_stream and not self._sessions.share_streams:
            await _abort(context, grpc.StatusCode.ALREADY_EXISTS, f"user {first.user_id} has an audio stream already")
        log.line(f"StreamAudio started: userId={session.user_id}")
        session.has_stream = True
        listening = asyncio.create_task(_ignore(chunks))
        try:
            try:
                await self._send_audio(session, context)
            finally:
                session.has_stream = False
                listening.cancel()
        except SendTimeout as late:
            self._drop(session, str(late))
            await _abort(context, grpc.StatusCode.UNKNOWN, str(late))  # waits for a cloud that may never read it
        except RoomLost as lost:
            log.line(f"StreamAudio error for userId={session.user_id}: {LOST_ROOM} ({lost})")
            self._sessions.lost_room(session)
            await _abort(context, grpc.StatusCode.UNAVAILABLE, f"{LOST_ROOM}: {lost}")
        except BaseException as broken:
            self._drop(session, "cloud is gone" if isinstance(broken, asyncio.CancelledError) else str(broken))
            raise
        log.line(f"StreamAudio context done: userId={session.user_id}")

    def _drop(self, session: Session, reason: str) -> None:
        log.line(f"StreamAudio error for userId={session.user_id}: {reason}")
        self._sessions.clean_up(session)

    async def _send_audio(self, session: Session, context: Context) -> None:
        sent = 0
        limit_s = self._timers.send_timeout_s
        while (pcm := await session.next_packet()) is not None:
            chunk = bridge_pb2.AudioChunk(pcm_data=pcm, sample_rate=SAMPLE_RATE_HZ, channels=1)
            try:
                async with asyncio.timeout(limit_s):
                    await context.write(chunk)
            except TimeoutError:
                text = f"StreamAudio send timeout for {session.user_id} after {limit_s:g}s"
                log.line(text)
                raise SendTimeout(text) from None
            sent += 1
            if sent % 100 == 0:
                log.line(f"Audio flowing for {session.user_id}: {sent} chunks")

    async def play_audio(
        self,
        request: bridge_pb2.PlayAudioRequest,
        context: Context,
    ) -> AsyncIterator[bridge_pb2.PlayAudioEvent]:
        """Refuse: NOT_FOUND without a session, else UNIMPLEMENTED."""
        if self._sessions.get(request.user_id) is None:
            await _abort(context, grpc.StatusCode.NOT_FOUND, f"session not found for user {request.user_id}")
        await _abort(context, grpc.StatusCode.UNIMPLEMENTED, "the reference bridge plays no audio")
        yield  # never reached; makes this a stream

    async def stop_audio(self, request: bridge_pb2.StopAudioRequest, context: Context) -> bridge_pb2.StopAudioResponse:
        """Refuse: `session not found` without a session, else UNIMPLEMENTED."""
        if self._sessions.get(request.user_id) is not None:
            await _abort(context, grpc.StatusCode.UNIMPLEMENTED, "the reference bridge plays no audio")
        return bridge_pb2.StopAudioResponse(success=False, error="session not found")


class SendTimeout(Exception):
    """The cloud did not take a chunk in time."""


async def _abort(context: Context, code: grpc.StatusCode, text: str) -> NoReturn:
    await context.abort(code, text)
    raise AssertionError("abort always raises")


async def _ignore(chunks: AsyncIterator[bridge_pb2.AudioChunk]) -> None:
    """Read what the cloud sends, so it never fills the connection; it would be speaker audio."""
    async for _ in chunks:
        pass
