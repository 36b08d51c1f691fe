"""The bridge as a whole: one listening gRPC server, from its first answer to a clean end."""

import asyncio
import signal
from pathlib import Path
from typing import Final, Self

import grpc.aio

from harness.reference.bridge import log
from harness.reference.bridge.calls import BridgeCalls
from harness.reference.bridge.health import HealthCalls
from harness.reference.bridge.options import Options
from harness.reference.bridge.room import Dial, dial_livekit, preload
from harness.reference.bridge.sessions import Sessions
from harness.reference.proto import MAX_MESSAGE_BYTES

LEAVE_LIMIT_S: Final = 1.2
"""For leaving all rooms at the end; with the grace below the whole end takes less than 2 s."""
STOP_GRACE_S: Final = 0.3
_NEVER_MS: Final = 2**31 - 1
_FOR_EVER_S: Final = 86_400.0


class CannotListen(OSError):
    """The address cannot be had; the text is one sentence."""


class Bridge:
    """A reference bridge inside this process; `async with` starts it and ends it.

    `dial` enters rooms (LiveKit by default); `port` is the TCP port really taken (0 for a unix socket).
    """

    def __init__(self, options: Options, dial: Dial = dial_livekit) -> None:
        """Prepare; nothing listens before `async with`."""
        self._options = options
        self._health: HealthCalls
        self.sessions = Sessions(dial=dial, timers=options.timers, defects=options.defects)
        self.port = 0
        self._server: grpc.aio.Server

    async def __aenter__(self) -> Self:
        """Listen. Raises `CannotListen`."""
        self._health = HealthCalls()
        self._server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),  # two bridges on one port must be an error
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
                # No keepalive, and with it no TCP_USER_TIMEOUT (20 s by default on gRPC servers):
                # a cloud that went silent keeps its session, as with the real bridge.
                ("grpc.keepalive_time_ms", _NEVER_MS),
            ],
        )
        calls = BridgeCalls(self.sessions, self._options.timers)
        self._server.add_generic_rpc_handlers((calls.handler(), self._health.handler()))
        self._bind()
        await self._server.start()
        self._open_socket_to_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Refuse new calls, leave all rooms, end all streams with OK, stop listening; takes less than 2 s."""
        self._health.stop()
        if self._options.defects.has("sigterm-waits"):
            await self._server.stop(_FOR_EVER_S)  # as a graceful stop of Go's gRPC: until the last stream has ended
        # At once: a cloud whose stream has ended joins again, and must not find a bridge that is about to go.
        stopping = asyncio.create_task(self._server.stop(LEAVE_LIMIT_S + STOP_GRACE_S))
        await asyncio.wait({asyncio.create_task(self.sessions.close_all())}, timeout=LEAVE_LIMIT_S)
        await self._server.stop(STOP_GRACE_S)  # what a vanished cloud left open never ends by itself
        await stopping
        self._remove_socket()

    @property
    def where(self) -> str:
        """Say where it listens, in the real bridge's words."""
        path = self._options.socket_path
        return f"Unix socket: {path}" if path else f"TCP port: {self.port}"

    def _bind(self) -> None:
        path = self._options.socket_path
        if path:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._remove_socket()
        address = f"unix:{path}" if path else f"{self._options.bind_address}:{self._options.port}"
        try:
            port = self._server.add_insecure_port(address)
        except RuntimeError as refused:
            raise CannotListen(f"cannot listen on {address}: another process may hold it ({refused})") from refused
        self.port = 0 if path else port

    def _open_socket_to_all(self) -> None:
        if self._options.socket_path:
            Path(self._options.socket_path).chmod(0o666)  # as the real bridge: the cloud may run as another user

    def _remove_socket(self) -> None:
        if self._options.socket_path:
            Path(self._options.socket_path).unlink(missing_ok=True)


async def run(options: Options) -> None:
    """Serve until SIGTERM or SIGINT. Raises `CannotListen`."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Bridge(options) as bridge:
        log.line(f"✅ LiveKit gRPC Bridge listening on {bridge.where}")
        log.line("Ready to accept connections...")
        if options.defects.active:
            log.line(f"Defects on: {', '.join(sorted(options.defects.active))}")
        loading = asyncio.create_task(asyncio.to_thread(preload))
        await stop.wait()
        log.line("Shutting down")
    await loading
