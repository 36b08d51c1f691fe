"""The phones' WebSocket, `/glasses-ws`: who connects, what a connection sets off, and what it carries."""

from __future__ import annotations

import asyncio
from typing import cast

import aiohttp
from aiohttp import web

from harness.reference.cloud import tokens
from harness.reference.cloud.cloud import Cloud
from harness.reference.cloud.errors import Unauthorized
from harness.reference.cloud.phone import PhoneConnection
from harness.reference.cloud.session import UserSession
from harness.reference.cloud.wire import iso_now, read_message

POLICY_VIOLATION = 1008
NO_CLOSE_FRAME = 1006


class PhoneSocket:
    """Serves `/glasses-ws`."""

    def __init__(self, cloud: Cloud) -> None:
        """Bring phones to the sessions of `cloud`."""
        self._cloud = cloud
        self._ctx = cloud.ctx

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one phone's connection until it ends."""
        try:
            user_id = tokens.read_core_token(
                request.headers.get("Authorization", ""),
                request.query.get("token", ""),
                self._ctx.settings.auth_secret,
            )
        except Unauthorized as problem:
            refusal = {"type": "connection_error", "message": str(problem), "timestamp": iso_now()}
            return web.json_response(refusal, status=401, headers={"Connection": "close"})
        wants_livekit = "true" in (request.query.get("livekit"), request.headers.get("livekit"))
        # Pings and pongs are ours to see, since a missing pong ends the connection.
        socket = web.WebSocketResponse(autoping=False, max_msg_size=0, compress=False, timeout=self._ctx.timers.close_s)
        await socket.prepare(request)
        line = f"Glasses WebSocket connection from user: {user_id} (LiveKit: {str(wants_livekit).lower()})"
        self._ctx.log.info(line)
        phone = PhoneConnection(self._ctx, user_id, socket, cast("asyncio.Transport", request.transport))
        session, reconnection = self._cloud.create_or_reconnect(user_id, phone)
        session.livekit.requested = session.livekit.requested or wants_livekit
        serving = self._ctx.background.spawn(phone.serve(), f"pings of {user_id}")
        self._ctx.background.spawn(session.initialise(reconnection=reconnection), f"connection of {user_id}")
        reason = ""
        try:
            reason = await self._listen(session, phone)
        finally:
            self._cloud.phone_closed(session, phone, socket.close_code or NO_CLOSE_FRAME, reason)
            serving.cancel()  # also when it is closing: the frame is out, and a frozen phone would never answer it
        return socket

    async def _listen(self, session: UserSession, phone: PhoneConnection) -> str:
        """Take what the phone sends, to the end; gives the reason in the phone's close frame, if it sent one."""
        while True:
            frame = await phone.socket.receive()
            match frame.type:
                case aiohttp.WSMsgType.PONG:
                    phone.pong()
                case aiohttp.WSMsgType.PING:
                    await phone.socket.pong(frame.data)
                case aiohttp.WSMsgType.BINARY:
                    session.phone_audio.receive(frame.data)
                case aiohttp.WSMsgType.TEXT:
                    message = read_message(frame.data)
                    if message is None:
                        await phone.dismiss("MALFORMED_MESSAGE", "Malformed message", POLICY_VIOLATION)
                        return ""
                    session.handle(message)
                case aiohttp.WSMsgType.CLOSE:
                    return frame.extra or ""
                case _:
                    return ""
