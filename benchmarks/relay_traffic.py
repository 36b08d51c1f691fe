"""What the relay benchmark sends: speech in WebSocket messages, and in a gRPC stream of AudioChunks, framed by hand.

Run as a program it is the far end: it echoes speech and swallows bulk until its stdin ends.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hpack import Encoder
from hyperframe.frame import DataFrame, HeadersFrame, SettingsFrame

from harness.clock import now_ns
from harness.links.readers.grpc import BRIDGE
from harness.links.readers.http2 import PREFACE
from harness.reference.proto import bridge_pb2
from harness.speech import encode

BULK_BLOCK_BYTES = 16_384
BULK_ROUNDS = 96
"""So often about 1 MB of blocks is sent."""
DONE = b"done"
_STAMP = struct.Struct("<q")
_WEBSOCKET_BYTES = 1281


class Traffic(Protocol):
    """One protocol as the benchmark speaks it; both ends know all sizes, so that neither has to parse."""

    name: str
    greeting: bytes
    """What the far end says first."""
    sent_bytes: int
    """Of a message on its way there."""
    echoed_bytes: int
    """Of a message on its way back."""
    block: bytes
    """A message of bulk."""

    def hello(self, *, bulk: bool) -> bytes:
        """Return what the near end says first."""
        ...

    def message(self, speaker: int, number: int) -> bytes:
        """Return 40 ms of speech that tells when it was sent."""
        ...

    def echo(self, message: bytes) -> bytes:
        """Return a message as the far end sends it back."""
        ...

    def sent_ns(self, echoed: bytes) -> int:
        """Return when an echoed message was sent."""
        ...


@dataclass
class WebSocket:
    """Binary messages of 1281 bytes; the mask is zero, so that masking costs nobody anything."""

    name: str = "websocket"
    greeting: bytes = (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )
    sent_bytes: int = 8 + _WEBSOCKET_BYTES
    echoed_bytes: int = 4 + _WEBSOCKET_BYTES
    block: bytes = b"\x82\xfe" + struct.pack(">H", BULK_BLOCK_BYTES) + bytes(4 + BULK_BLOCK_BYTES)

    def hello(self, *, bulk: bool) -> bytes:
        """Return the request to upgrade."""
        path = b"/bulk" if bulk else b"/talk"
        return (
            b"GET " + path + b" HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )

    def message(self, speaker: int, number: int) -> bytes:
        """Return a masked binary message: when it was sent, and speech."""
        del speaker, number
        payload = _STAMP.pack(now_ns()).ljust(_WEBSOCKET_BYTES, b"x")
        return b"\x82\xfe" + struct.pack(">H", _WEBSOCKET_BYTES) + bytes(4) + payload

    def echo(self, message: bytes) -> bytes:
        """Return it without a mask."""
        return b"\x82\x7e" + message[2:4] + message[8:]

    def sent_ns(self, echoed: bytes) -> int:
        """Return the stamp."""
        return int(_STAMP.unpack_from(echoed, 4)[0])


@dataclass
class GrpcStream:
    """AudioChunks of stamped speech in a StreamAudio call: what comes back is decoded for ``bridge-out``."""

    name: str = "grpc"
    greeting: bytes = field(init=False)
    sent_bytes: int = field(init=False)
    echoed_bytes: int = field(init=False)
    block: bytes = field(init=False)

    def __post_init__(self) -> None:
        """Frame what is always the same."""
        answer = Encoder().encode([(":status", "200"), ("content-type", "application/grpc")])
        self.greeting = SettingsFrame().serialize() + HeadersFrame(1, answer, flags=["END_HEADERS"]).serialize()
        self.sent_bytes = self.echoed_bytes = len(self.message(1, 0))
        self.block = _data(bytes(BULK_BLOCK_BYTES - 5))

    def hello(self, *, bulk: bool) -> bytes:
        """Return preface, settings and the call."""
        path = "/bench.Bulk/Send" if bulk else f"/{BRIDGE}/StreamAudio"
        call = Encoder().encode([(":method", "POST"), (":path", path), ("content-type", "application/grpc")])
        return PREFACE + SettingsFrame().serialize() + HeadersFrame(1, call, flags=["END_HEADERS"]).serialize()

    def message(self, speaker: int, number: int) -> bytes:
        """Return a DATA frame with one AudioChunk of two frames of speech."""
        chunk = bridge_pb2.AudioChunk(pcm_data=encode(speaker, 2 * number, 2), timestamp_ms=now_ns())
        return _data(chunk.SerializeToString())

    def echo(self, message: bytes) -> bytes:
        """Return it as it came."""
        return message

    def sent_ns(self, echoed: bytes) -> int:
        """Return the stamp."""
        return int(bridge_pb2.AudioChunk.FromString(echoed[14:]).timestamp_ms)


def _data(message: bytes) -> bytes:
    return DataFrame(1, b"\0" + len(message).to_bytes(4, "big") + message).serialize()


TRAFFIC: dict[str, Traffic] = {traffic.name: traffic for traffic in (WebSocket(), GrpcStream())}


async def talk(traffic: Traffic, streams: Any, speaker: int, said: int, due_ns: Sequence[int]) -> list[int]:
    """Send a message at each of the times, ``said`` were before; return the round trips in ns."""
    reader, writer = streams
    found: list[int] = []

    async def listen() -> None:
        for _ in due_ns:
            echoed = await reader.readexactly(traffic.echoed_bytes)
            found.append(now_ns() - traffic.sent_ns(echoed))

    listening = asyncio.create_task(listen())
    for number, at_ns in enumerate(due_ns, said):
        await asyncio.sleep(max(0, at_ns - now_ns()) / 1e9)  # the next 40 ms of speech
        writer.write(traffic.message(speaker, number))
    await asyncio.wait_for(listening, 10)
    return found


def push(traffic: Traffic, address: tuple[str, int]) -> float:
    """Send bulk through one connection; return MB/s until the far end has all of it."""
    many = _many(traffic)
    with socket.create_connection(address, timeout=60) as sock:
        sock.sendall(traffic.hello(bulk=True))
        _read(sock, len(traffic.greeting))
        began_ns = now_ns()
        for _ in range(BULK_ROUNDS):
            sock.sendall(many)
        _read(sock, len(DONE))
        return BULK_ROUNDS * len(many) / 1e6 / ((now_ns() - began_ns) / 1e9)


def _many(traffic: Traffic) -> bytes:
    return traffic.block * (1_000_000 // len(traffic.block))


def _read(sock: socket.socket, size: int) -> None:
    while size:
        got = len(sock.recv(size))
        if not got:
            raise ConnectionError(f"expected {size} more bytes; the connection ended")
        size -= got


# -- the far end ------------------------------------------------------------------------------------------------------


async def _echo(traffic: Traffic, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(len(traffic.hello(bulk=False)))
    writer.write(traffic.greeting)
    try:
        while True:
            writer.write(traffic.echo(await reader.readexactly(traffic.sent_bytes)))
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def _swallow(traffic: Traffic, listener: socket.socket) -> None:
    room = bytearray(1 << 18)
    while True:
        sock, _address = listener.accept()
        with sock:
            _read(sock, len(traffic.hello(bulk=True)))
            sock.sendall(traffic.greeting)
            left = BULK_ROUNDS * len(_many(traffic))
            while left > 0 and (got := sock.recv_into(room)):
                left -= got
            sock.sendall(DONE)
            sock.recv(1)  # the near end closes first


async def far_end(host: str, ports: Sequence[int]) -> None:
    """Serve at two ports for each sort of traffic, talk and bulk, until stdin ends."""
    numbers = iter(ports)
    for traffic in TRAFFIC.values():
        await asyncio.start_server(lambda r, w, t=traffic: _echo(t, r, w), host, next(numbers), backlog=256)  # type: ignore[misc]
        listener = socket.create_server((host, next(numbers)))
        threading.Thread(target=_swallow, args=(traffic, listener), daemon=True).start()
    print("up", flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(far_end(sys.argv[1], [int(port) for port in sys.argv[2:]]))
