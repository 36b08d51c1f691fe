"""The apps' WebSocket, `/app-ws`: who connects (by headers or by first message), and what it says."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from harness.reference.cloud import tokens
from harness.reference.cloud.apps import AppSession
from harness.reference.cloud.cloud import Cloud
from harness.reference.cloud.errors import AppRefused, Unauthorized
from harness.reference.cloud.session import UserSession
from harness.reference.cloud.wire import Message, iso_now, read_message, text_of

POLICY_VIOLATION = 1008


@dataclass(frozen=True)
class Caller:
    """Who an app says it is."""

    package_name: str
    api_key: str
    user_id: str
    session_id: str


class AppSocket:
    """Serves `/app-ws`."""

    def __init__(self, cloud: Cloud) -> None:
        """Admit apps to the sessions of `cloud`."""
        self._cloud = cloud
        self._ctx = cloud.ctx

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one app's connection until it ends."""
        try:
            caller = self._caller_by_headers(request)
        except AppRefused as refusal:
            return web.json_response(_error(refusal), status=401)
        socket = web.WebSocketResponse(max_msg_size=0, compress=False)
        await socket.prepare(request)
        try:
            if caller is None:
                caller = await _caller_by_first_message(socket)
            session, app = self._admit(caller)
        except AppRefused as refusal:
            self._ctx.log.warning("App connection refused", code=refusal.code)
            with contextlib.suppress(ConnectionError):
                await socket.send_json(_error(refusal))
            await socket.close(code=POLICY_VIOLATION, message=str(refusal).encode())
            return socket
        await self._serve(socket, caller, session, app)
        return socket

    def _caller_by_headers(self, request: web.Request) -> Caller | None:
        authorization = request.headers.get("Authorization", "")
        if not authorization.startswith("Bearer "):
            return None
        user_id, session_id = request.headers.get("x-user-id", ""), request.headers.get("x-session-id", "")
        if not user_id or not session_id:
            raise AppRefused("MISSING_HEADERS", "Missing x-user-id or x-session-id header")
        try:
            package_name, api_key = tokens.read_app_token(
                authorization[len("Bearer ") :], self._ctx.settings.auth_secret
            )
        except Unauthorized as problem:
            raise AppRefused("JWT_INVALID", str(problem)) from None
        return Caller(package_name, api_key, user_id, session_id)

    def _admit(self, caller: Caller) -> tuple[UserSession, AppSession]:
        session = self._cloud.session(caller.user_id)
        if session is None:
            raise AppRefused("SESSION_NOT_FOUND", "Session not found")
        return session, session.apps.admit(caller.package_name, caller.api_key)

    async def _serve(
        self, socket: web.WebSocketResponse, caller: Caller, session: UserSession, app: AppSession
    ) -> None:
        log = self._ctx.log.of(userId=session.user_id, packageName=caller.package_name, service="AppSocket")
        former = session.apps.opened(app, socket)
        if former is not None:
            # 1000 tells the app's SDK that this one need not be brought back.
            self._ctx.background.spawn(_close(former), "close of a replaced app socket")
        acknowledgement: Message = {
            "type": "tpa_connection_ack",
            "sessionId": caller.session_id,
            "settings": [],
            "augmentosSettings": {},
            "capabilities": {},
            "timestamp": iso_now(),
        }
        app.outbox.put(json.dumps(acknowledgement))
        log.info("App connected")
        side = [asyncio.create_task(app.outbox.drain_into(socket)), asyncio.create_task(self._ping(socket))]
        try:
            async for frame in socket:
                if frame.type is aiohttp.WSMsgType.TEXT and (message := read_message(frame.data)) is not None:
                    _handle(session, app, message)
        finally:
            for task in side:
                task.cancel()
            log.info("App socket closed", code=socket.close_code)
            session.apps.closed(app, socket)

    async def _ping(self, socket: web.WebSocketResponse) -> None:
        with contextlib.suppress(ConnectionError):
            while not socket.closed:
                await asyncio.sleep(self._ctx.timers.ping_s)
                await socket.ping()


def _handle(session: UserSession, app: AppSession, message: Message) -> None:
    match text_of(message, "type"):
        case "subscription_update":
            session.apps.subscribe(app, message)
        case "display_event":
            session.display.show(
                {**message, "packageName": app.document.package_name, "timestamp": message.get("timestamp", iso_now())}
            )
        case _:  # nothing else of an app concerns the path from speech to captions
            pass


async def _caller_by_first_message(socket: web.WebSocketResponse) -> Caller:
    async for frame in socket:
        if frame.type is not aiohttp.WSMsgType.TEXT:
            continue
        message = read_message(frame.data) or {}
        if text_of(message, "type") != "tpa_connection_init":
            continue
        session_id = text_of(message, "sessionId")
        # The user id is what stands before the first dash, so user ids must have none.
        return Caller(
            text_of(message, "packageName"), text_of(message, "apiKey"), session_id.partition("-")[0], session_id
        )
    raise AppRefused("INTERNAL_ERROR", "Connection closed before tpa_connection_init")


async def _close(socket: web.WebSocketResponse) -> None:
    await socket.close(code=1000, message=b"Replaced by a new connection")


def _error(refusal: AppRefused) -> Message:
    return {
        "type": "tpa_connection_error",
        "code": refusal.code,
        "message": str(refusal),
        "timestamp": iso_now(),
    }
