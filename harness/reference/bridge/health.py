"""The standard gRPC health check (grpc.health.v1), by hand: two calls, one truth."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from harness.reference.proto import BRIDGE_SERVICE, HEALTH_SERVICE, health_pb2

Context = grpc.aio.ServicerContext[Any, Any]
_handlers: Any = grpc  # the factories of handlers carry no types
_NAMES = ("", BRIDGE_SERVICE, HEALTH_SERVICE)


class HealthCalls:
    """SERVING from the first answer until `stop`."""

    def __init__(self) -> None:
        """Start serving."""
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Answer NOT_SERVING from now on and end the watches."""
        self._stopped.set()

    def handler(self) -> Any:
        """Give the handler to register with a server."""
        read = health_pb2.HealthCheckRequest.FromString
        write = health_pb2.HealthCheckResponse.SerializeToString
        return _handlers.method_handlers_generic_handler(
            HEALTH_SERVICE,
            {
                "Check": _handlers.unary_unary_rpc_method_handler(self.check, read, write),
                "Watch": _handlers.unary_stream_rpc_method_handler(self.watch, read, write),
            },
        )

    async def check(self, request: health_pb2.HealthCheckRequest, context: Context) -> health_pb2.HealthCheckResponse:
        """Answer for the whole process (empty name) or one gRPC interface; NOT_FOUND for a name not served."""
        if request.service not in _NAMES:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"unknown name {request.service!r}")
        return self._answer()

    async def watch(
        self,
        request: health_pb2.HealthCheckRequest,
        _context: Context,
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Send the present answer and each change; a name not served stays SERVICE_UNKNOWN."""
        if request.service not in _NAMES:
            yield health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
            await self._stopped.wait()  # the watch stays open, as the protocol asks, and nothing changes
            return
        yield self._answer()
        if not self._stopped.is_set():
            await self._stopped.wait()
            yield self._answer()

    def _answer(self) -> health_pb2.HealthCheckResponse:
        reply = health_pb2.HealthCheckResponse
        return reply(status=reply.NOT_SERVING if self._stopped.is_set() else reply.SERVING)
