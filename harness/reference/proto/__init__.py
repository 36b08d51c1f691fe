"""The messages between cloud and bridge, and where each call lives.

`bridge_pb2` and `health_pb2` are generated; the header of `bridge.proto` says how.
"""

from typing import Final

BRIDGE_SERVICE: Final = "mentra.livekit.bridge.LiveKitBridge"
HEALTH_SERVICE: Final = "grpc.health.v1.Health"

MAX_MESSAGE_BYTES: Final = 10 * 1024 * 1024
"""Both sides of the real pair allow messages up to 10 MB."""


def bridge_method(name: str) -> str:
    """Give the path of one bridge call, such as ``/mentra.livekit.bridge.LiveKitBridge/JoinRoom``."""
    return f"/{BRIDGE_SERVICE}/{name}"


def health_method(name: str) -> str:
    """Give the path of one call of the standard health check."""
    return f"/{HEALTH_SERVICE}/{name}"
