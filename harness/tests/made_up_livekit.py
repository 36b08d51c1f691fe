"""A made-up LiveKit and a cloud's side of gRPC, for the tests of the reference bridge."""

import asyncio
import contextlib

import grpc
import grpc.aio

from harness.reference.bridge.listening import Bridge
from harness.reference.bridge.options import Options, Timers
from harness.reference.bridge.room import DialFailed
from harness.reference.defects import Defects
from harness.reference.proto import bridge_method, bridge_pb2

USER = "alice@example.com"


class FakeRoom:
    """A room whose ears the test holds."""

    def __init__(self, token, listener):
        self.token = token
        self.listener = listener
        self.closed = False
        self.close_fails_after: asyncio.Event | None = None
        self.participant_id = f"cloud-agent:{USER}"
        self.participant_count = 2

    async def close(self):
        self.closed = True
        if self.close_fails_after is not None:
            await self.close_fails_after.wait()
            raise RuntimeError("engine is\ngone: ws://x?access_token=eyJhbGciOi.eyJzdWIi.c2ln")

    def says(self, payload, sender=USER):
        self.listener.packet(payload, sender)


class FakeLiveKit:
    """Dials made-up rooms; `failures` makes the next dials fail, `gate` makes them wait."""

    def __init__(self):
        self.rooms = []
        self.dials = 0
        self.failures = 0
        self.breaks = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.dialled = asyncio.Event()

    async def __call__(self, url, token, listener):
        self.dials += 1
        self.dialled.set()
        await self.gate.wait()
        if self.breaks:
            raise RuntimeError("the SDK's own mistake")
        if self.failures > 0:
            self.failures -= 1
            raise DialFailed("no such host")
        self.rooms.append(FakeRoom(token, listener))
        return self.rooms[-1]

    @property
    def room(self):
        return self.rooms[-1]


class Cloud:
    """The calls of a bridge, as a cloud makes them."""

    def __init__(self, channel, bridge=None):
        self.channel = channel
        self.bridge = bridge

    async def call(self, name, request, reply=None):
        reply = reply or getattr(bridge_pb2, type(request).__name__.replace("Request", "Response"))
        return await self.channel.unary_unary(
            bridge_method(name),
            request_serializer=type(request).SerializeToString,
            response_deserializer=reply.FromString,
        )(request, timeout=5)

    def join_call(self, user=USER, token="t1"):
        return self.call(
            "JoinRoom",
            bridge_pb2.JoinRoomRequest(user_id=user, room_name="r", token=token, livekit_url="u", target_identity=user),
        )

    async def status(self, user=USER):
        return await self.call("GetStatus", bridge_pb2.BridgeStatusRequest(user_id=user))

    async def health(self):
        return await self.call("HealthCheck", bridge_pb2.HealthCheckRequest())

    async def leave(self, user=USER):
        return await self.call("LeaveRoom", bridge_pb2.LeaveRoomRequest(user_id=user, reason="User disconnected"))

    async def stream(self, user=USER):
        call = self.channel.stream_stream(
            bridge_method("StreamAudio"),
            request_serializer=bridge_pb2.AudioChunk.SerializeToString,
            response_deserializer=bridge_pb2.AudioChunk.FromString,
        )()
        await call.write(bridge_pb2.AudioChunk(user_id=user, sample_rate=16000, channels=1))
        return call


@contextlib.asynccontextmanager
async def talking(livekit, *defects, **timers):
    options = Options(port=0, timers=Timers(**timers), defects=Defects("bridge", frozenset(defects)))
    async with Bridge(options, livekit) as bridge:
        limits = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{bridge.port}", options=limits) as channel:
            yield Cloud(channel, bridge)


async def soon(probe, within_s=1.5):
    """Wait until an awaitable probe gives something true."""
    async with asyncio.timeout(within_s):
        while not (seen := await probe()):
            await asyncio.sleep(0.005)
    return seen


async def attached(cloud, user=USER):
    """Wait until the stream reads the session's queue."""

    async def probe():
        session = cloud.bridge.sessions.get(user)
        return session is not None and session.has_stream

    await soon(probe)


async def sessions(cloud):
    return (await cloud.health()).active_sessions
