"""An audio stream that is opened and then not read: HTTP/2 by hand, for no gRPC library tells when its window is full.

It stands for a cloud that has stopped reading: the bridge's next send to it waits, until the stream is broken off.
"""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress

from hpack import Encoder
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
)

from harness.bridge_client import SERVICE
from harness.reference.proto import bridge_pb2

WINDOW_BYTES = 1_024
"""Less than one packet of speech (100 ms: 3200 bytes), so that the first one fills it."""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_BYTES = 9
CANCEL = 0x8
STREAM = 1


class UnreadStream:
    """A StreamAudio of ours on somebody's session that takes no more than `WINDOW_BYTES`."""

    def __init__(self, target: str, user: str) -> None:
        """Prepare; ``target`` is ``host:port`` or ``unix:<path>``."""
        self._target, self._user = target, user
        self._full = asyncio.Event()
        self.taken_bytes = 0
        """What came of the stream's DATA."""
        self.ended = ""
        """How the bridge ended it, in words; empty while it is open."""

    async def open(self, *, within_s: float) -> None:
        """Open it as a cloud would, and wait until its window is full or it has ended.

        Raises:
            OSError: nobody listens there.
            TimeoutError: neither came.
        """
        kind, _, path = self._target.partition(":")
        if kind == "unix":
            reader, self._writer = await asyncio.open_unix_connection(path)
        else:
            host, _, port = self._target.rpartition(":")
            reader, self._writer = await asyncio.open_connection(host, int(port))
        self._writer.write(PREFACE + _opening("localhost" if kind == "unix" else self._target, self._user))
        self._reading = asyncio.create_task(self._read(reader), name=f"unread stream of {self._user}")
        async with asyncio.timeout(within_s):
            await self._full.wait()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while not self.ended:
                frame, length = Frame.parse_frame_header(memoryview(await reader.readexactly(HEAD_BYTES)))
                body = await reader.readexactly(length)
                frame.parse_body(memoryview(body))
                self._take(frame, length)
        self.ended = self.ended or "the connection ended"
        self._full.set()

    def _take(self, frame: Frame, length: int) -> None:
        match frame:
            case DataFrame():
                self.taken_bytes += length
                if self.taken_bytes >= WINDOW_BYTES:
                    self._full.set()
            case SettingsFrame() if "ACK" not in frame.flags:
                self._writer.write(SettingsFrame(0, flags=["ACK"]).serialize())
            case PingFrame() if "ACK" not in frame.flags:
                self._writer.write(PingFrame(0, frame.opaque_data, flags=["ACK"]).serialize())
            case RstStreamFrame() | GoAwayFrame():
                self.ended = f"{type(frame).__name__} {frame.error_code}"
            case HeadersFrame() if "END_STREAM" in frame.flags:
                self.ended = "it was told that it is over"

    async def break_off(self) -> None:
        """Cancel it, as somebody who is gone; may be called when it had ended, or never opened."""
        reset = RstStreamFrame(STREAM)
        reset.error_code = CANCEL
        with suppress(OSError):
            self._writer.write(reset.serialize())
            await self._writer.drain()
        self._reading.cancel()
        await asyncio.wait([self._reading])
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


def _opening(authority: str, user: str) -> bytes:
    """Return the frames that open the stream: settings with a small window, headers, the chunk that names the user."""
    settings = SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: WINDOW_BYTES})
    fields = [
        (":method", "POST"), (":scheme", "http"), (":path", f"/{SERVICE}/StreamAudio"), (":authority", authority),
        ("te", "trailers"), ("content-type", "application/grpc"),
    ]  # fmt: skip
    headers = HeadersFrame(STREAM, Encoder().encode(fields), flags=["END_HEADERS"])
    chunk = bridge_pb2.AudioChunk(user_id=user, sample_rate=16_000, channels=1).SerializeToString()
    data = DataFrame(STREAM, struct.pack(">BI", 0, len(chunk)) + chunk)
    return b"".join(frame.serialize() for frame in (settings, headers, data))
