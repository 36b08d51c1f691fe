"""What stands around a reference cloud in its tests: a bridge, STT, a captions app and a phone, all in this process."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import grpc.aio
import jwt
from aiohttp import web

from harness.reference.cloud.cloud import Cloud
from harness.reference.cloud.listening import bind, serving
from harness.reference.cloud.log import Log
from harness.reference.cloud.settings import AppDocument, LiveKitKeys, Settings
from harness.reference.cloud.timers import Timers
from harness.reference.proto import bridge_pb2 as pb

SECRET = "core-secret-of-at-least-thirty-two-bytes"
KEYS = LiveKitKeys("ws://127.0.0.1:1", "devkey", "livekit-secret-of-at-least-32-bytes")
USER = "wearer1@example.com"
PACKAGE = "com.example.captions"
APP_KEY = "key-of-the-app"
BRISK = Timers(
    grace_s=0.2, rejoin_backoff_s=0.05, stream_reconnect_s=0.05, stt_ready_s=0.02, stt_retry_s=0.02,
    stt_recreate_s=0.01, app_grace_s=0.1, app_connect_s=0.5, webhook_s=0.5, webhook_retry_s=0.02,
    empty_update_grace_s=0.1, mic_debounce_s=0.05, mic_keepalive_s=0.3, mic_hold_s=0.05, subscription_debounce_s=0.01,
    display_throttle_s=0.05, audio_unavailable_s=0.1,
)  # fmt: skip


async def eventually(probe: Callable[[], Any], what: str, within_s: float = 3.0) -> Any:
    """Wait until a probe gives something true."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            while not (found := probe()):
                await asyncio.sleep(0.005)
            return found
    raise AssertionError(f"never seen within {within_s} s: {what}")


class FakeBridge:
    """Answers as the fixed bridge does, or refuses when told; keeps every call."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.joins: list[Any] = []
        self.sessions: dict[str, asyncio.Queue[bytes | Exception | None]] = {}
        self.open_streams = 0
        self.refuse_existing = False
        self.refuse_all = ""
        self.forget_status = False
        self.join_gate: asyncio.Event | None = None
        self.leave_gate: asyncio.Event | None = None
        self.status_gate: asyncio.Event | None = None

    async def _join(self, request: Any, _context: Any) -> Any:
        self.calls.append("JoinRoom")
        self.joins.append(request)
        if self.join_gate is not None:
            await self.join_gate.wait()
        if self.refuse_all:
            return pb.JoinRoomResponse(success=False, error=self.refuse_all)
        former = self.sessions.get(request.user_id)
        if former is not None and self.refuse_existing:
            return pb.JoinRoomResponse(success=False, error="session already exists for this user")
        if former is not None:
            former.put_nowait(None)
        self.sessions[request.user_id] = asyncio.Queue()
        return pb.JoinRoomResponse(success=True, participant_id="PA_1", participant_count=2)

    async def _leave(self, request: Any, _context: Any) -> Any:
        self.calls.append("LeaveRoom")
        if self.leave_gate is not None:
            await self.leave_gate.wait()
        session = self.sessions.pop(request.user_id, None)
        if session is None:
            return pb.LeaveRoomResponse(success=False, error="session not found")
        session.put_nowait(None)
        return pb.LeaveRoomResponse(success=True)

    async def _status(self, request: Any, _context: Any) -> Any:
        self.calls.append("GetStatus")
        if self.status_gate is not None:
            await self.status_gate.wait()
        return pb.BridgeStatusResponse(connected=request.user_id in self.sessions and not self.forget_status)

    async def _stream(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        first = await anext(requests)
        self.calls.append("StreamAudio")
        session = self.sessions.get(first.user_id)
        if session is None or first.pcm_data:
            await context.abort(grpc.StatusCode.NOT_FOUND, "session not found")
            return
        self.open_streams += 1
        try:
            while (entry := await session.get()) is not None:
                if isinstance(entry, Exception):
                    del self.sessions[first.user_id]
                    await context.abort(grpc.StatusCode.UNKNOWN, str(entry))
                    return
                yield pb.AudioChunk(pcm_data=entry, sample_rate=16000, channels=1)
        finally:
            self.open_streams -= 1

    def say(self, pcm: bytes) -> None:
        self.sessions[USER].put_nowait(pcm)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        unary = grpc.unary_unary_rpc_method_handler
        handlers = {
            "JoinRoom": unary(self._join, pb.JoinRoomRequest.FromString, pb.JoinRoomResponse.SerializeToString),
            "LeaveRoom": unary(self._leave, pb.LeaveRoomRequest.FromString, pb.LeaveRoomResponse.SerializeToString),
            "GetStatus": unary(
                self._status, pb.BridgeStatusRequest.FromString, pb.BridgeStatusResponse.SerializeToString
            ),
            "StreamAudio": grpc.stream_stream_rpc_method_handler(
                self._stream, pb.AudioChunk.FromString, pb.AudioChunk.SerializeToString
            ),
        }
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("mentra.livekit.bridge.LiveKitBridge", handlers),)
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            await server.stop(None)


class FakeStt:
    """Takes Soniox streams and says what it is told."""

    def __init__(self) -> None:
        self.configurations: list[dict[str, Any]] = []
        self.audio: list[bytes] = []
        self.closes: list[int] = []
        self.socket: Any = None
        self.refuse_code = 0
        self.is_away = self.ends_early = False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.is_away:
            return web.Response(status=503)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.socket = socket
        async for frame in socket:
            if frame.type is aiohttp.WSMsgType.BINARY:
                self.audio.append(frame.data)
                continue
            message = json.loads(frame.data)
            if "model" in message:
                self.configurations.append(message)
                if self.ends_early:
                    await socket.close(code=1011)
                if self.refuse_code:
                    await socket.send_json({"tokens": [], "error_code": self.refuse_code, "error_message": "no"})
        self.closes.append(socket.close_code or 0)
        return socket

    async def say(self, *words: tuple[str, bool]) -> None:
        assert self.socket is not None
        tokens = [
            {"text": text, "start_ms": 10 * i, "end_ms": 10 * i + 9, "is_final": f} for i, (text, f) in enumerate(words)
        ]
        await self.socket.send_json({"tokens": tokens})

    async def fail(self, code: int) -> None:
        assert self.socket is not None
        await self.socket.send_json({"tokens": [], "error_code": code, "error_message": "no"})


class FakeApp:
    """A captions app: on a webhook it connects, subscribes and listens."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http
        self.webhooks: list[dict[str, Any]] = []
        self.received: list[dict[str, Any]] = []
        self.audio: list[bytes] = []
        self.subscriptions = ["transcription:en-US", "audio_chunk"]
        self.cloud_url = ""
        self.by_headers = False
        self.connects = True
        self.answers = asyncio.Event()
        self.answers.set()
        self.socket: Any = None
        self._listening: set[asyncio.Task[None]] = set()

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.webhooks.append(body)
        if body["type"] == "session_request" and self.connects:
            task = asyncio.create_task(self._connect(body))
            self._listening.add(task)
            task.add_done_callback(self._listening.discard)
        await self.answers.wait()
        return web.json_response({"status": "success"})

    async def _connect(self, body: dict[str, Any]) -> None:
        headers = {}
        if self.by_headers:
            token = jwt.encode({"packageName": PACKAGE, "apiKey": APP_KEY}, SECRET, algorithm="HS256")
            headers = {"Authorization": f"Bearer {token}", "x-user-id": USER, "x-session-id": body["sessionId"]}
        async with self._http.ws_connect(f"{self.cloud_url}/app-ws", headers=headers) as socket:
            self.socket = socket
            if not self.by_headers:
                init = {"type": "tpa_connection_init", "packageName": PACKAGE, "sessionId": body["sessionId"]}
                await socket.send_json({**init, "apiKey": APP_KEY})
            async for frame in socket:
                if frame.type is aiohttp.WSMsgType.BINARY:
                    self.audio.append(frame.data)
                    continue
                message = json.loads(frame.data)
                self.received.append(message)
                if message["type"] == "tpa_connection_ack":
                    await self.subscribe(self.subscriptions)

    async def subscribe(self, subscriptions: list[str]) -> None:
        assert self.socket is not None
        await self.socket.send_json(
            {"type": "subscription_update", "packageName": PACKAGE, "subscriptions": subscriptions}
        )

    def heard(self, *, final: bool) -> list[str]:
        streams = [message["data"] for message in self.received if message["type"] == "data_stream"]
        return [data["text"] for data in streams if data["isFinal"] is final]


@dataclass(eq=False)
class FakePhone:
    """A phone's socket and what came over it."""

    socket: aiohttp.ClientWebSocketResponse
    received: list[dict[str, Any]] = field(default_factory=list)
    pongs: bool = True
    close_code: int | None = None

    async def listen(self) -> None:
        while True:
            frame = await self.socket.receive()
            if frame.type is aiohttp.WSMsgType.PING:
                if self.pongs:
                    await self.socket.pong(frame.data)
            elif frame.type is aiohttp.WSMsgType.TEXT:
                self.received.append(json.loads(frame.data))
            elif frame.type is not aiohttp.WSMsgType.PONG:
                self.close_code = self.socket.close_code
                return

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.received if message["type"] == kind]

    def audio_statuses(self) -> list[str]:
        return [message["status"] for message in self.of("audio_status")]

    async def acknowledged(self, count: int = 1) -> dict[str, Any]:
        await eventually(lambda: len(self.of("connection_ack")) >= count, "connection_ack")
        return self.of("connection_ack")[-1]


class World:
    """A cloud and everything around it."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.http = http
        self.bridge = FakeBridge()
        self.stt = FakeStt()
        self.app = FakeApp(http)
        self.cloud: Cloud
        self.url = ""
        self.log_stream = io.StringIO()
        self._tasks: list[asyncio.Task[None]] = []

    def log_lines(self, start: str = "") -> list[str]:
        lines = [line.split(" ", 2)[2] for line in self.log_stream.getvalue().splitlines()]
        return [line for line in lines if line.startswith(start)]

    def log_words(self, *wanted: str) -> list[str]:
        """Give which of the wanted messages were logged, in the log's order."""
        return [word for line in self.log_lines() for word in wanted if line.startswith(word)]

    async def phone(self, livekit: bool = True, user: str = USER) -> FakePhone:
        token = core_token(user)
        url = f"{self.url}/glasses-ws?token={token}" + ("&livekit=true" if livekit else "")
        phone = FakePhone(await self.http.ws_connect(url, autoping=False))
        self._tasks.append(asyncio.create_task(phone.listen()))
        return phone

    async def captions_running(self) -> FakePhone:
        """Bring a phone and its captions app up to where audio may flow."""
        phone = await self.phone()
        await phone.acknowledged()
        await phone.socket.send_json(
            {"type": "glasses_connection_state", "modelName": "Simulated Glasses", "status": "CONNECTED"}
        )
        await phone.socket.send_json({"type": "start_app", "packageName": PACKAGE})
        await eventually(lambda: self.stt.configurations, "STT stream")
        await eventually(lambda: phone.of("microphone_state_change"), "microphone on")
        await eventually(lambda: "StreamAudio" in self.bridge.calls or self.bridge.refuse_all, "the bridge's stream")
        return phone

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()


def core_token(user: str = USER) -> str:
    return jwt.encode({"sub": user, "email": user}, SECRET, algorithm="HS256")


@contextlib.asynccontextmanager
async def world(
    *defects: str, timers: Timers = BRISK, database: str = ":memory:", **changes: Any
) -> AsyncIterator[World]:
    """Start everything; `changes` replace fields of the cloud's settings."""
    async with aiohttp.ClientSession() as http, contextlib.AsyncExitStack() as stack:
        w = World(http)
        bridge_address = await stack.enter_async_context(w.bridge.serving())
        stt_url = await stack.enter_async_context(_web(w.stt.handle, "GET", "/stt"))
        app_url = await stack.enter_async_context(_web(w.app.handle, "POST", "/webhook"))
        settings = Settings(
            port=0,
            auth_secret=SECRET,
            livekit=KEYS,
            bridge_address=bridge_address,
            stt_endpoint=f"{stt_url}/stt",
            stt_key="stt-secret-key",
            database_path=database,
            apps=(AppDocument(PACKAGE, app_url, APP_KEY),),
            timers=timers,
            defect_names=defects,
        )
        listener = bind("127.0.0.1", 0)
        w.url = w.app.cloud_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        w.cloud = await stack.enter_async_context(serving(replace(settings, **changes), listener, Log(w.log_stream)))
        try:
            yield w
        finally:
            await w.close()


@contextlib.asynccontextmanager
async def _web(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]], method: str, path: str
) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route(method, path, handler)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()
