"""Waits until a component is ready, whatever it runs as: polls, and gives up at once when it dies."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import Any

from harness.addresses import grpc_target, is_path
from harness.clock import now_ns, seconds_between
from harness.errors import NotReached, StartFailed
from harness.runtimes.capabilities import Loggable, Running
from harness.system import Address, Component, Ready
from harness.waiting import NotYet, until, within

ONE_PROBE_S = 1.0
"""A probe that hangs is asked again after this."""
BY_HAND = "try by hand how {0} is started here, and mend that"
LONGER = "let it listen at the port it is told, mend {0}.ready, or give it longer by --set {0}.ready.within_s=60"
Probe = Callable[[], Awaitable[str | NotYet]]


async def ready(component: Component, addresses: Mapping[str, Address], running: Running) -> float:
    """Wait until ``component`` answers as its ``ready`` says, and its own process lives; return the seconds it took.

    ``addresses``: port name to where it really listens. A component without ``ready`` is ready when it runs.

    Raises:
        StartFailed: it ended (at once), or did not answer within ``ready.within_s``.
    """
    start_ns = now_ns()
    check = component.ready
    if check is None:
        if not running.alive():
            raise _failed(running, "it ended at once", BY_HAND.format(component.name))
        return 0.0
    async with _probe(check, addresses, running) as probe:

        async def ask() -> str | NotYet:
            try:
                return await within(probe(), ONE_PROBE_S)
            except TimeoutError:
                return NotYet(f"no answer within {ONE_PROBE_S:g} s")
            except (OSError, EOFError) as refused:
                return NotYet(str(refused) or type(refused).__name__)

        waiting: Coroutine[Any, Any, str] = until(ask, what=f"{component.name} to be ready", within_s=check.within_s)
        polling = asyncio.create_task(waiting)
        ending = asyncio.create_task(running.wait_exit())
        try:
            await asyncio.wait({polling, ending}, return_when=asyncio.FIRST_COMPLETED)
            # Somebody else's process may answer on that port: the own one must live.
            if not running.alive():
                raise _failed(running, f"it ended before {_wanted(check)}", BY_HAND.format(component.name))
            await polling
        except NotReached as late:
            reason = f"not ready within {check.within_s:g} s: waited until {_wanted(check)}; last: {late.last_reason}"
            raise _failed(running, reason, LONGER.format(component.name)) from None
        finally:
            for task in (polling, ending):
                task.cancel()
            await asyncio.gather(polling, ending, return_exceptions=True)
    return seconds_between(start_ns, now_ns())


async def answers_now(component: Component, addresses: Mapping[str, Address], running: Running) -> str | None:
    """Ask the ready probe once; return its answer, or None when there is none within 1 s (or nothing to ask)."""
    if component.ready is None or component.ready.kind == "log":
        return None
    async with _probe(component.ready, addresses, running) as probe:
        try:
            said = await within(probe(), ONE_PROBE_S)
        except (TimeoutError, OSError, EOFError):
            return None
    return None if isinstance(said, NotYet) else said


def _failed(running: Running, reason: str, mend: str) -> StartFailed:
    lines, log = (running.last_lines(), str(running.log_path)) if isinstance(running, Loggable) else ((), "")
    return StartFailed(
        running.component.name, reason, exit_text=running.exit_text() or "", mend=mend, last_lines=lines, log=log
    )


def _wanted(check: Ready) -> str:
    match check.kind:
        case "http":
            return f"GET {check.path} answers 200 on port {check.port}"
        case "tcp":
            return f"port {check.port} takes connections"
        case "grpc_health":
            return f"gRPC health of {check.path or 'the whole'} is SERVING on port {check.port}"
        case "log":
            return f"a log line matches {check.pattern!r}"


@contextlib.asynccontextmanager
async def _probe(check: Ready, addresses: Mapping[str, Address], running: Running) -> AsyncIterator[Probe]:
    match check.kind:
        case "log":

            async def line() -> str | NotYet:
                assert isinstance(running, Loggable), "readiness by log needs a log"
                return running.find_line(check.pattern) or NotYet("no such line yet")

            yield line
        case "tcp":

            async def connect() -> str | NotYet:
                _, writer = await _dial(addresses[check.port])
                writer.close()
                return "connected"

            yield connect
        case "http":
            yield lambda: _http(addresses[check.port], check.path)
        case "grpc_health":
            async with _grpc_health(addresses[check.port], check.path) as probe:
                yield probe


async def _dial(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if is_path(address):
        return await asyncio.open_unix_connection(address[0])
    return await asyncio.open_connection(*address)


async def _http(address: Address, path: str) -> str | NotYet:
    host, port = address
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        status = (await reader.readline()).decode("latin-1").strip()
    finally:
        writer.close()
    words = status.split()
    return status if len(words) > 1 and words[1] == "200" else NotYet(f"GET {path} answered {status!r}")


@contextlib.asynccontextmanager
async def _grpc_health(address: Address, name: str) -> AsyncIterator[Probe]:
    # Imported here: 0.2 s that a system without gRPC need not spend.
    import grpc  # noqa: PLC0415

    from harness.reference.proto import health_pb2  # noqa: PLC0415

    target = grpc_target(address)
    channel: Any = None

    async def probe() -> str | NotYet:
        nonlocal channel
        if channel is None:
            # gRPC waits a second after a refused connection; so it only dials what takes connections.
            _, writer = await _dial(address)
            writer.close()
            channel = grpc.aio.insecure_channel(
                target,
                options=[
                    ("grpc.enable_http_proxy", 0),
                    ("grpc.use_local_subchannel_pool", 1),
                    ("grpc.min_reconnect_backoff_ms", 50),
                    ("grpc.initial_reconnect_backoff_ms", 50),
                    ("grpc.max_reconnect_backoff_ms", 100),
                ],
            )
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = await check(health_pb2.HealthCheckRequest(service=name))
        except grpc.aio.AioRpcError as refused:
            return NotYet(f"gRPC health: {refused.code().name} {refused.details()}")
        status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
        return str(status) if status == "SERVING" else NotYet(f"gRPC health says {status}")

    try:
        yield probe
    finally:
        if channel is not None:
            await channel.close()
