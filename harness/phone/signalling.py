"""LiveKit signalling on ``/rtc/v1``: protobuf messages over a WebSocket, one peer connection, our own keepalive."""

from __future__ import annotations

import asyncio
import base64
import math
import time
from typing import Self

from livekit.protocol.models import ClientInfo, DisconnectReason
from livekit.protocol.rtc import (
    ConnectionSettings,
    JoinRequest,
    LeaveRequest,
    Ping,
    SignalRequest,
    SignalResponse,
    WrappedJoinRequest,
)
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, WebSocketException

from harness.phone.engine import Lost, RoomDialError
from harness.waiting import within

PROTOCOL = 16
PING_EVERY_S = 5.0
PING_TIMEOUT_S = 15.0
"""Used until the join answer says otherwise; LiveKit 1.13.5 says the same."""
LEAVE_WITHIN_S = 0.25
"""So long a dying signal may hold up the phone that wants to be gone."""


def join_url(front: str) -> str:
    """Return the url that joins with one peer connection and no subscriptions; ``front`` is ws://host:port."""
    wanted = JoinRequest(
        client_info=ClientInfo(sdk=ClientInfo.REACT_NATIVE, protocol=PROTOCOL, version="2.15.0", os="simulated"),
        connection_settings=ConnectionSettings(auto_subscribe=False),
    )
    wrapped = WrappedJoinRequest(
        compression=WrappedJoinRequest.NONE, join_request=wanted.SerializeToString()
    ).SerializeToString()
    return f"{front.rstrip('/')}/rtc/v1?join_request={base64.urlsafe_b64encode(wrapped).decode()}"


def lost_by(leave: LeaveRequest) -> Lost:
    """Return what a ``leave`` of the server means."""
    action = LeaveRequest.Action.Name(leave.action)
    return Lost(
        f"leave {DisconnectReason.Name(leave.reason)} action {action}",
        may_redial=leave.action != LeaveRequest.DISCONNECT,
        replaced=leave.reason == DisconnectReason.DUPLICATE_IDENTITY,
    )


class Signal:
    """An open signalling socket."""

    def __init__(self, socket: ClientConnection) -> None:
        """Wrap an open socket; :meth:`dial` makes one."""
        self._socket = socket
        self._unanswered = 0

    @classmethod
    async def dial(cls, front: str, token: str) -> Self:
        """Open the socket; the token travels in the Authorization header.

        Raises:
            RoomDialError: refused or unreachable.
        """
        try:
            socket = await connect(
                join_url(front), additional_headers={"Authorization": f"Bearer {token}"}, proxy=None,
                ping_interval=None, max_size=None, compression=None, open_timeout=None, close_timeout=1,
            )  # fmt: skip
        except InvalidStatus as error:
            body = (error.response.body or b"")[:200].decode(errors="replace").strip()
            raise RoomDialError(f"signalling answered HTTP {error.response.status_code}: {body}") from None
        except (OSError, InvalidHandshake, WebSocketException) as error:
            raise RoomDialError(f"signalling: {type(error).__name__}: {error}") from error
        return cls(socket)

    async def send(self, request: SignalRequest) -> None:
        """Send one request.

        Raises:
            ConnectionClosed: the signal is gone.
        """
        await self._socket.send(request.SerializeToString())

    async def receive(self) -> SignalResponse | Lost:
        """Return the next message, or how the signal ended."""
        while True:
            try:
                raw = await self._socket.recv()
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd else 1006
                return Lost(f"signal closed ({code})", may_redial=True)
            if isinstance(raw, str):
                continue  # we speak protobuf; the server then does, too
            response = SignalResponse.FromString(raw)
            which = response.WhichOneof("message")
            if which in {"pong", "pong_resp"}:
                self._unanswered = 0
            return response

    async def keep_alive(self, every_s: float, timeout_s: float) -> Lost:
        """Ping for ever; return when as many pings in a row as fit in ``timeout_s`` stayed unanswered.

        Counting pings and not seconds keeps a phone that was itself stopped from blaming the server.
        """
        allowed = max(1, math.ceil(timeout_s / every_s))
        while True:
            await asyncio.sleep(every_s)
            if self._unanswered >= allowed:
                return Lost(f"signal: {self._unanswered} pings without an answer", may_redial=True)
            self._unanswered += 1
            now_ms = int(time.time() * 1000)
            try:
                await within(self._ping(now_ms), timeout_s)
            except (ConnectionClosed, TimeoutError):
                return Lost("signal: cannot ping", may_redial=True)

    async def _ping(self, now_ms: int) -> None:
        await self.send(SignalRequest(ping=now_ms))
        await self.send(SignalRequest(ping_req=Ping(timestamp=now_ms)))

    async def say_leave(self) -> None:
        """Tell the server that the phone leaves; a signal that does not take it is given up."""
        leave = LeaveRequest(reason=DisconnectReason.CLIENT_INITIATED, action=LeaveRequest.DISCONNECT)
        try:
            await within(self.send(SignalRequest(leave=leave)), LEAVE_WITHIN_S)
        except (ConnectionClosed, TimeoutError):
            self._socket.transport.abort()

    def abort(self) -> None:
        """End the connection at once, without a word."""
        self._socket.transport.abort()

    async def close(self) -> None:
        """Close the socket."""
        await self._socket.close()
