"""A cloud, a REST endpoint and a media engine that are no more than a phone's tests need."""

import asyncio
import json
from contextlib import asynccontextmanager

from aiohttp import web
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from harness.history import History, Recorder
from harness.phone.app_behaviour import Phone, stop_task
from harness.phone.configuration import read_configuration
from harness.phone.engine import Lost, RoomDialError
from harness.phone.rest_token import RoomGrant
from harness.waiting import NotYet, until

USER = "alice@example.com"
KICKED = Lost("leave PARTICIPANT_REMOVED action DISCONNECT", may_redial=False)
REPLACED = Lost("leave DUPLICATE_IDENTITY action DISCONNECT", may_redial=False, replaced=True)
SIGNAL_LOST = Lost("signal closed (1006)", may_redial=True)


def configured(**fields):
    return read_configuration(
        {
            "person": "alice", "user_id": USER, "core_token": "core-token", "cloud_url": "ws://127.0.0.1:9",
            "rest_url": "http://127.0.0.1:9", "livekit_url": "ws://front:1", "speaker": 7, "epoch_ns": 1,
            "retry_s": 0.02, "room_retry_s": 0.03, "redial_base_s": 0.001, "dial_timeout_s": 0.5,
        } | fields
    )  # fmt: skip


class FakeEngine:
    """Connects, or refuses while its world says so; keeps what is sent."""

    def __init__(self, world, on_lost):
        self.world, self.on_lost, self.token = world, on_lost, ""
        self.sent, self.connected, self.left, self.full = [], False, False, False

    async def connect(self, url, token):
        self.token = token
        self.world.dials.append((url, token))
        self.world.now_dialing += 1
        self.world.most_dialing = max(self.world.most_dialing, self.world.now_dialing)
        try:
            await self.world.may_connect.wait()
            await asyncio.sleep(0)
        finally:
            self.world.now_dialing -= 1
        if self.world.refusals:
            raise RoomDialError(self.world.refusals.pop(0))
        self.connected = True
        return "room-of-alice"

    def can_send(self):
        return not self.full

    def send(self, payload, on_sent):
        self.sent.append(payload)
        on_sent()

    async def leave(self):
        self.left = True

    def lose(self, lost):
        self.connected = False
        self.on_lost(lost)


class Rooms:
    """Makes fake engines and REST tokens."""

    def __init__(self):
        self.engines, self.dials, self.refusals, self.token_refusals = [], [], [], []
        self.now_dialing = self.most_dialing = self.tokens = 0
        self.may_connect = asyncio.Event()
        self.may_connect.set()

    async def make_engine(self, on_lost):
        self.engines.append(FakeEngine(self, on_lost))
        return self.engines[-1]

    async def fetch_token(self):
        if self.token_refusals:
            raise self.token_refusals.pop(0)
        self.tokens += 1
        return RoomGrant("ws://advertised:1", f"fresh-{self.tokens}", "room-of-alice", USER)

    async def connected(self):
        return await seen(lambda: [e for e in self.engines if e.connected and not e.left][-1:], "a connected engine")


class TinyCloud:
    """Accepts phones, keeps what they say; ``refuse`` closes them before they are open."""

    def __init__(self):
        self.sockets, self.said, self.paths, self.url = [], [], [], ""

    async def _handle(self, socket):
        self.sockets.append(socket)
        self.paths.append(socket.request.path)
        try:
            async for message in socket:
                self.said.append(json.loads(message) if isinstance(message, str) else message)
        except ConnectionClosed:
            pass  # how it ended is the phone's to tell

    @asynccontextmanager
    async def open(self):
        async with serve(self._handle, "127.0.0.1", 0, close_timeout=0.2) as server:
            self.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield self

    async def say(self, **message):
        await self.sockets[-1].send(json.dumps(message))

    async def ack(self):
        await self.say(type="connection_ack", sessionId=USER, livekit={"token": "eyJhbGciOi.eyJzdWIi.c2ln"})

    def heard(self, kind):
        return [m for m in self.said if isinstance(m, dict) and m["type"] == kind]


@asynccontextmanager
async def a_phone(tmp_path, rooms, **fields):
    recorder = Recorder(tmp_path, "r1", "phone-alice-1")
    phone = Phone(configured(**fields), recorder, rooms.make_engine, rooms.fetch_token)
    running = asyncio.create_task(phone.run())
    try:
        yield phone
    finally:
        await phone.microphone.stop()
        await phone.room.leave()
        await stop_task(running)
        recorder.close()


@asynccontextmanager
async def rest_endpoint(handler):
    app = web.Application()
    app.router.add_get("/api/client/livekit/token", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def seen(look, what, within_s=2.0):
    """Wait until ``look`` gives something true; a list of one gives its element."""

    def probe():
        got = look()
        return got or NotYet(f"saw {got!r}")

    got = await until(probe, what=what, within_s=within_s, every_s=0.002)
    return got[0] if isinstance(got, list) and len(got) == 1 else got


def history(tmp_path):
    return History.load(tmp_path)
