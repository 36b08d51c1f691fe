"""The cloud's HTTP side: its few REST calls, its health, and where the two WebSockets are."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from harness.reference.cloud import tokens
from harness.reference.cloud.app_socket import AppSocket
from harness.reference.cloud.cloud import Cloud
from harness.reference.cloud.errors import Unauthorized
from harness.reference.cloud.phone import PING_TIMEOUT_TEXT
from harness.reference.cloud.phone_socket import PhoneSocket
from harness.reference.cloud.wire import Message, iso_now

Handler = Callable[[web.Request, str], Awaitable[web.Response]]
AnyHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]
HUNG_UP = 499
"""Never read by anybody: the number that web servers note for a caller that closed first."""


class Routes:
    """All handlers of one cloud."""

    def __init__(self, cloud: Cloud) -> None:
        """Serve `cloud`."""
        self._cloud = cloud
        self._ctx = cloud.ctx
        self._began_s = time.monotonic()

    def application(self) -> web.Application:
        """Make the aiohttp application."""
        app = web.Application(middlewares=[self._callers_may_hang_up])
        app.router.add_get("/glasses-ws", PhoneSocket(self._cloud).handle)
        app.router.add_get("/app-ws", AppSocket(self._cloud).handle)
        app.router.add_get("/health", self._health)
        app.router.add_get("/api/client/livekit/token", self._authorized(self._livekit_token))
        app.router.add_post("/apps/{package}/start", self._authorized(self._start_app))
        app.router.add_post("/apps/{package}/stop", self._authorized(self._stop_app))
        app.router.add_post("/api/client/debug/force-disconnect", self._authorized(self._force_disconnect))
        app.router.add_post("/api/client/debug/break-ping-pong", self._authorized(self._break_ping_pong))
        app.router.add_route("*", "/{elsewhere:.*}", self._elsewhere)
        return app

    @web.middleware
    async def _callers_may_hang_up(self, request: web.Request, handler: AnyHandler) -> web.StreamResponse:
        """Take a caller that is gone before its answer (an app that dials anew) for what it is: no error of ours."""
        try:
            return await handler(request)
        except ConnectionError as gone:
            self._ctx.log.debug("Caller hung up before its answer", path=request.path, error=type(gone).__name__)
            return web.Response(status=HUNG_UP)

    def _authorized(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def checked(request: web.Request) -> web.Response:
            try:
                user_id = tokens.read_core_token(
                    request.headers.get("Authorization", ""), "", self._ctx.settings.auth_secret
                )
            except Unauthorized as problem:
                return _refused(401, str(problem))
            return await handler(request, user_id.lower())

        return checked

    async def _health(self, _request: web.Request) -> web.Response:
        sessions = list(self._cloud.sessions())
        speaking = [session for session in sessions if session.audio_status.mic_on]
        seen = [session.audio_status.seen for session in speaking]
        written = [session.stt.available for session in speaking if session.stt.wanted]
        return web.json_response(
            {
                "status": "ok",
                "timestamp": iso_now(),
                "sessions": {"activeCount": len(sessions)},
                "uptime": round(time.monotonic() - self._began_s, 3),
                "audio": {"available": seen.count("available"), "unavailable": seen.count("unavailable")},
                # The phone is not told: the contract has no message for an STT that is away.
                "transcription": {"available": written.count(True), "unavailable": written.count(False)},
            }
        )

    async def _livekit_token(self, _request: web.Request, user_id: str) -> web.Response:
        keys = self._ctx.settings.livekit
        if keys is None:
            return _refused(500, "LiveKit is not configured")
        room = self._ctx.settings.room_of(user_id)
        token = tokens.rest_token(keys, user_id, room)
        return _done({"url": keys.url, "token": token, "room": room, "identity": user_id})

    async def _start_app(self, request: web.Request, user_id: str) -> web.Response:
        session = self._cloud.session(user_id)
        if session is None:
            return _refused(404, "No active session")
        package_name = request.match_info["package"]
        if not await session.apps.start(package_name):
            return _refused(500, f"App {package_name} could not be started")
        return _done({"status": "started", "packageName": package_name})

    async def _stop_app(self, request: web.Request, user_id: str) -> web.Response:
        session = self._cloud.session(user_id)
        if session is None:
            return _refused(404, "No active session")
        package_name = request.match_info["package"]
        await session.apps.stop(package_name)
        return _done({"status": "stopped", "packageName": package_name})

    async def _force_disconnect(self, _request: web.Request, user_id: str) -> web.Response:
        session = self._cloud.session(user_id)
        if session is None or session.phone is None:
            return _refused(404, "No phone connected")
        session.phone.terminate()
        return _done({"terminated": user_id})

    async def _break_ping_pong(self, _request: web.Request, user_id: str) -> web.Response:
        session = self._cloud.session(user_id)
        if session is None or session.phone is None:
            return _refused(404, "No phone connected")
        self._ctx.background.spawn(session.phone.close(1001, PING_TIMEOUT_TEXT), "broken ping-pong")
        return _done({"closing": user_id})

    async def _elsewhere(self, request: web.Request) -> web.Response:
        if request.headers.get("Upgrade", "").lower() == "websocket" and request.transport is not None:
            request.transport.close()  # the real cloud destroys such a socket without an answer
        return _refused(404, "Not found")


def _done(data: Message) -> web.Response:
    return web.json_response({"success": True, "data": data, "timestamp": iso_now()})


def _refused(status: int, text: str) -> web.Response:
    return web.json_response({"success": False, "message": text, "timestamp": iso_now()}, status=status)
