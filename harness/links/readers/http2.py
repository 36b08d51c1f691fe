"""HTTP/2 as it passes: frames of both directions, header blocks decoded, padding taken off; nothing is answered.

HPACK has a state per direction, so that a connection is read from its first byte or not at all.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from hpack import Decoder
from hpack.exceptions import HPACKError
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import ContinuationFrame, Frame, GoAwayFrame, HeadersFrame, RstStreamFrame, SettingsFrame

from harness.links.reading import Unreadable, Way

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_FRAME_BYTES = 16_384
"""What a frame may carry until the other side's SETTINGS allow more (RFC 9113 §6.5.2)."""
WHOLE_BYTES = 65_536
"""Up to this a frame is waited for; longer DATA is taken as it comes, other frames are never as long."""
BLOCK_BYTES = 65_536
"""A header block with its continuations; gRPC allows 16 KiB."""
TABLE_BYTES = 1 << 20
"""The HPACK table is never larger, whatever SETTINGS allow."""
_HEAD = struct.Struct(">BHBBL")
_DATA, _HEADERS, _PRIORITY, _RESET, _SETTINGS, _PUSH, _PING, _GOAWAY, _WINDOW, _CONTINUATION = range(10)
_PADDED, _END_STREAM, _ACK = 0x8, 0x1, 0x1
_PARSED: dict[int, type[Frame]] = {
    _HEADERS: HeadersFrame, _RESET: RstStreamFrame, _SETTINGS: SettingsFrame, _GOAWAY: GoAwayFrame,
    _CONTINUATION: ContinuationFrame,
}  # fmt: skip
ERRORS = (
    "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
    "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
)  # fmt: skip
"""Names of the error codes, in their order (RFC 9113 §7)."""


def error_name(code: int) -> str:
    """Return an HTTP/2 error code's name."""
    return ERRORS[code] if code < len(ERRORS) else f"ERROR_{code}"


@dataclass(frozen=True, slots=True)
class Piece:
    """What one frame (or HEADERS with its continuations) says; offsets are of its direction of the connection."""

    stream: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Headers(Piece):
    """A header block, decoded; of a name that stands twice the last value."""

    fields: dict[str, str]
    is_last: bool
    """The stream's direction ends with it."""


@dataclass(frozen=True, slots=True)
class Data(Piece):
    """Bytes of a stream without their padding; a very long frame comes in several."""

    data: bytes
    is_last: bool


@dataclass(frozen=True, slots=True)
class Reset(Piece):
    """RST_STREAM."""

    code: int


@dataclass(frozen=True, slots=True)
class GoAway(Piece):
    """GOAWAY; ``text`` is its debug data."""

    code: int
    last_stream: int
    text: str


@dataclass(frozen=True, slots=True)
class Ping(Piece):
    """PING, or the answer to one."""

    is_ack: bool


@dataclass(slots=True)
class _Long:
    """A DATA frame that is taken as it comes."""

    stream: int
    start: int
    left: int
    padding: int
    is_last: bool


class Direction:
    """One direction of a connection: bytes become pieces."""

    def __init__(self, way: Way) -> None:
        """Begin at its first byte."""
        self.way = way
        self.max_frame_bytes = MAX_FRAME_BYTES
        self.hpack = Decoder(max_header_list_size=BLOCK_BYTES)
        self._left = b""
        self._next = 0
        """Where in ``_left`` the bytes begin that were not taken yet."""
        self._at = 0
        """Offset of that byte in the direction."""
        self._has_begun = False
        self._needs_preface = way == "to-target"
        self._long: _Long | None = None
        self._block: tuple[int, int, bytearray, bool] | None = None
        """A header block that goes on: stream, start, bytes, whether it ends the stream."""

    def settled(self) -> int:
        """Return the offset behind the last complete piece."""
        return self._block[1] if self._block is not None else self._at

    def feed(self, data: bytes) -> Iterator[Piece | SettingsFrame]:
        """Yield what is complete with these bytes.

        Raises:
            Unreadable: no HTTP/2, or more of it than is sane.
        """
        self._left = self._left + data if self._left else data
        if self._needs_preface and not self._take_preface():
            return
        try:
            while self._next < len(self._left):
                if self._long is not None:
                    yield from self._go_on(self._long)
                    continue
                if len(self._left) < self._next + _HEAD.size:
                    return
                high, low, kind, flags, stream = _HEAD.unpack_from(self._left, self._next)
                length, stream = (high << 16) + low, stream & 0x7FFF_FFFF
                self._judge(kind, length, stream, flags)
                if kind == _DATA and length > WHOLE_BYTES:
                    if not self._begin_long(length, flags, stream):
                        return
                    continue
                size = _HEAD.size + length
                if len(self._left) < self._next + size:
                    return
                yield from self._frame(kind, flags, stream, self._take(size))
        finally:  # once for all of them: a copy of the rest for each of thousands of short frames takes long
            self._left, self._next = self._left[self._next :], 0

    def _take(self, size: int) -> bytes:
        """Take up to so many bytes."""
        taken = self._left[self._next : self._next + size]
        self._next += len(taken)
        self._at += len(taken)
        return taken

    def _take_preface(self) -> bool:
        seen = self._left[: len(PREFACE)]
        if not PREFACE.startswith(seen):
            raise Unreadable(f"expected the HTTP/2 preface; seen {seen!r}")
        if len(seen) < len(PREFACE):
            return False
        self._left, self._at, self._needs_preface = self._left[len(PREFACE) :], len(PREFACE), False
        return True

    def _judge(self, kind: int, length: int, stream: int, flags: int) -> None:
        if not self._has_begun and (kind != _SETTINGS or stream or flags & _ACK):
            raise Unreadable(f"expected SETTINGS as the first HTTP/2 frame {self.way}; seen a frame of type {kind}")
        self._has_begun = True
        if length > self.max_frame_bytes or (length > WHOLE_BYTES and kind != _DATA):
            raise Unreadable(f"expected HTTP/2 frames up to {self.max_frame_bytes} bytes; seen one of {length}")
        if (self._block is not None) != (kind == _CONTINUATION) or (self._block and self._block[0] != stream):
            raise Unreadable(f"expected header blocks in one piece; seen a frame of type {kind} on stream {stream}")
        if kind == _DATA and not stream:
            raise Unreadable("expected DATA on a stream; seen it on none")
        if kind == _PUSH:
            raise Unreadable("expected requests from the dialer only; seen PUSH_PROMISE")

    def _begin_long(self, length: int, flags: int, stream: int) -> bool:
        padded = bool(flags & _PADDED)
        size = _HEAD.size + padded
        if len(self._left) < self._next + size:
            return False
        start = self._at
        head = self._take(size)
        padding = head[-1] if padded else 0
        self._long = _Long(stream, start, length - padded, padding, bool(flags & _END_STREAM))
        return True

    def _go_on(self, long: _Long) -> Iterator[Piece]:
        taken = self._take(long.left)
        long.left -= len(taken)
        if not long.left:
            self._long = None
        over = max(0, long.padding - long.left)  # so many bytes at the end of what came are padding
        data = taken[: max(0, len(taken) - over)]
        yield Data(long.stream, long.start, self._at, data, long.is_last and not long.left)

    def _frame(self, kind: int, flags: int, stream: int, frame: bytes) -> Iterator[Piece | SettingsFrame]:
        start, end = self._at - len(frame), self._at
        if kind == _DATA:
            yield Data(stream, start, end, self._unpadded(frame, flags), bool(flags & _END_STREAM))
        elif kind == _PING:
            yield Ping(0, start, end, bool(flags & _ACK))
        elif kind in _PARSED:
            yield from self._parsed(_parse(frame), start, end)

    def _unpadded(self, frame: bytes, flags: int) -> bytes:
        if not flags & _PADDED:
            return frame[_HEAD.size :]
        body = frame[_HEAD.size + 1 :]
        if len(frame) == _HEAD.size or frame[_HEAD.size] > len(body):
            raise Unreadable("expected DATA with its padding; seen more padding than frame")
        return body[: len(body) - frame[_HEAD.size]]

    def _parsed(self, frame: Frame, start: int, end: int) -> Iterator[Piece | SettingsFrame]:
        if isinstance(frame, RstStreamFrame):
            yield Reset(frame.stream_id, start, end, frame.error_code)
        elif isinstance(frame, GoAwayFrame):
            text = frame.additional_data.decode("utf-8", "replace")
            yield GoAway(0, start, end, frame.error_code, frame.last_stream_id, text)
        elif isinstance(frame, SettingsFrame):
            yield frame
        elif isinstance(frame, HeadersFrame | ContinuationFrame):
            stream, first, block, is_last = self._block or (
                frame.stream_id, start, bytearray(), "END_STREAM" in frame.flags,
            )  # fmt: skip
            block += frame.data
            if len(block) > BLOCK_BYTES:
                raise Unreadable(f"expected header blocks up to {BLOCK_BYTES} bytes; seen one of {len(block)}")
            if "END_HEADERS" not in frame.flags:
                self._block = (stream, first, block, is_last)
                return
            self._block = None
            yield Headers(stream, first, end, self._decoded(bytes(block)), is_last)

    def _decoded(self, block: bytes) -> dict[str, str]:
        try:
            pairs = self.hpack.decode(block, raw=True)
        except HPACKError as error:
            raise Unreadable(f"expected headers by HPACK; {type(error).__name__}: {error}") from error
        return {bytes(name).decode("latin-1"): bytes(value).decode("latin-1") for name, value in pairs}


def _parse(frame: bytes) -> Frame:
    try:
        parsed, _length = Frame.parse_frame_header(memoryview(frame[: _HEAD.size]))
        parsed.parse_body(memoryview(frame[_HEAD.size :]))
    except HyperframeError as error:
        raise Unreadable(f"expected an HTTP/2 frame; {type(error).__name__}: {error}") from error
    return parsed


class Http2:
    """Both directions, and what the SETTINGS of one allow the other."""

    def __init__(self) -> None:
        """Begin at the first byte of both."""
        ways: tuple[Way, Way] = ("to-target", "to-dialer")
        self.directions: dict[Way, Direction] = {way: Direction(way) for way in ways}

    def feed(self, way: Way, data: bytes) -> Iterator[Piece]:
        """Yield what is complete with these bytes of one direction.

        Raises:
            Unreadable: as :meth:`Direction.feed`.
        """
        for piece in self.directions[way].feed(data):
            if isinstance(piece, SettingsFrame):
                self._allow(self.directions["to-dialer" if way == "to-target" else "to-target"], piece)
            else:
                yield piece

    def _allow(self, other: Direction, settings: SettingsFrame) -> None:
        """Widen what the other side may send; what was sent before a smaller setting was heard of is still good."""
        frame_bytes = settings.settings.get(SettingsFrame.MAX_FRAME_SIZE, 0)
        other.max_frame_bytes = max(other.max_frame_bytes, frame_bytes)
        table_bytes = min(settings.settings.get(SettingsFrame.HEADER_TABLE_SIZE, 0), TABLE_BYTES)
        other.hpack.max_allowed_table_size = max(other.hpack.max_allowed_table_size, table_bytes)
