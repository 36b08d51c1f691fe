"""gRPC as it passes: methods, messages by type, statuses; the audio of ``StreamAudio`` for the hop ``bridge-out``.

What a trigger may hold: a message with the HTTP/2 frames that carry it, and with them everything behind it in that
direction of that connection, other calls too, since HPACK lets no frame of headers overtake another. So a message that
is not complete is only kept back while a trigger may want it: its reader may have stopped, and the others have not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from harness.clock import MS_NS, now_ns
from harness.events.wire import Fact
from harness.links.readers.http2 import WHOLE_BYTES, Data, GoAway, Headers, Http2, Piece, Ping, Reset, error_name
from harness.links.reading import Awaits, Said, Unreadable, Way, anything
from harness.moments import Kind
from harness.redact import mask
from harness.reference.proto import bridge_pb2, health_pb2

TEXT_CHARS = 200
"""Longer texts are cut."""
READ_BYTES = 1 << 20
"""A longer message is named and skipped."""
MESSAGE_BYTES = 64 << 20
"""A longer one is none: the contract allows 10 MB."""
KEPT_BYTES = 16_384
"""A longer message is not kept back until it is complete: its sender may wait for room in its window meanwhile."""
UNFINISHED_BYTES = 8 << 20
"""More of messages that are not complete, at once on one connection, is taken for nonsense."""
MAX_STREAMS = 1_024
"""Calls open at once on one connection; more are taken for nonsense."""
_STRINGS = frozenset({
    "error", "last_disconnect_reason", "participant_id", "reason", "request_id", "room_name", "server_version",
    "service", "stopped_request_id", "target_identity", "user_id",
})  # fmt: skip
"""Texts that may be written down; never tokens, addresses, or whatever a stranger adds."""
_RESETS = {
    "CANCEL": "CANCELLED", "REFUSED_STREAM": "UNAVAILABLE", "ENHANCE_YOUR_CALM": "RESOURCE_EXHAUSTED",
    "INADEQUATE_SECURITY": "PERMISSION_DENIED",
}  # fmt: skip
"""RST_STREAM code -> gRPC status, INTERNAL otherwise (grpc/doc/PROTOCOL-HTTP2.md, "Errors")."""
_NAMES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
_CODES = {str(number): name for number, name in enumerate(_NAMES)}
"""``grpc-status`` -> name (grpc/doc/statuscodes.md)."""


def _types() -> dict[tuple[str, str], tuple[type[Message], type[Message]]]:
    """Return (service, method) -> types of its messages to the target and to the dialer."""
    return {
        (service.full_name, method.name): (GetMessageClass(method.input_type), GetMessageClass(method.output_type))
        for file in (bridge_pb2, health_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }


TYPES = _types()
BRIDGE: str = bridge_pb2.DESCRIPTOR.services_by_name["LiveKitBridge"].full_name


@dataclass(slots=True)
class _Messages:
    """One direction of a call: bytes become messages."""

    type: type[Message] | None
    count: int = 0
    start: int = -1
    """Offset of the first frame that carries a byte of the message which is not complete; -1 when there is none."""
    length: int = -1
    """Of that message; -1 while not known."""
    is_compressed: bool = False
    skipped: int = 0
    left: bytearray = field(default_factory=bytearray)

    def feed(self, piece: Data) -> Iterator[tuple[int, bool, bytes | None]]:
        """Yield (start, compressed, bytes or None when it was too long) of each message that is complete now."""
        self.left += piece.data
        while True:
            if self.start < 0 and self.left:
                self.start = piece.start
            if self.length < 0 and not self._begin():
                return
            if self.length > READ_BYTES:
                taken = min(len(self.left), self.length - self.skipped)
                del self.left[:taken]
                self.skipped += taken
                if self.skipped < self.length:
                    return
                body = None
            elif len(self.left) < self.length:
                return
            else:
                body = bytes(self.left[: self.length])
                del self.left[: self.length]
            start, self.start, self.length, self.skipped = self.start, -1, -1, 0
            self.count += 1
            yield start, self.is_compressed, body

    def may_be(self, awaits: Awaits) -> bool:
        """Tell whether the message that is not complete may be one that is awaited."""
        name: str = self.type.DESCRIPTOR.name if self.type is not None else "message"
        is_plain, may_be_compressed = self.length >= 0 and not self.is_compressed, self.length < 0 or self.is_compressed
        return ((is_plain or self.length < 0) and awaits("message", name)) or (
            may_be_compressed and awaits("message", "compressed")
        )

    def _begin(self) -> bool:
        if len(self.left) < 5:
            return False
        flag, length = self.left[0], int.from_bytes(self.left[1:5])
        if flag > 1 or length > MESSAGE_BYTES:
            raise Unreadable(f"expected a message of up to {MESSAGE_BYTES} bytes; seen flag {flag}, {length} bytes")
        self.is_compressed, self.length = bool(flag), length
        del self.left[:5]
        return True


@dataclass(slots=True)
class _Call:
    """One stream."""

    service: str
    method: str
    began_ns: int
    to_target: _Messages
    to_dialer: _Messages
    user: str = ""
    is_answered: bool = False
    is_half_closed: bool = False

    def facts(self, **more: Fact) -> dict[str, Fact]:
        """Return what every word of it is told with, and more."""
        who: dict[str, Fact] = {"user": self.user} if self.user else {}
        where: dict[str, Fact] = {} if self.service == BRIDGE else {"service": self.service}
        return {**who, **where, **more}


class Grpc:
    """Reads one connection of gRPC over HTTP/2 with prior knowledge.

    Facts: ``user`` once known; ``service`` when it is not the bridge's; of a message its small fields; of a status
    ``code`` (such as UNAVAILABLE), ``message``, ``reset`` (the RST_STREAM's code, without a status), ``requests`` and
    ``replies`` (messages), ``half_closed``, ``took_ms``. The first AudioChunk of a direction is told, the others quiet.
    """

    def __init__(self, clock: Callable[[], int] = now_ns) -> None:
        """Begin at the connection's first byte; ``clock`` gives ns."""
        self._clock = clock
        self._http2 = Http2()
        self._calls: dict[int, _Call] = {}
        self._last_stream = 0

    def feed(self, way: Way, data: bytes) -> list[Said]:
        """Take the next bytes of one direction; return what is complete.

        Raises:
            Unreadable: no gRPC, or not any more.
        """
        found: list[Said] = []
        try:
            for piece in self._http2.feed(way, data):
                found.extend(self._piece(way, piece))
        except Unreadable as error:
            error.said = found
            raise
        return found

    def settled(self, way: Way, awaits: Awaits = anything, gone: int = 0, /) -> int:
        """Return the offset before the first frame of any message that is awaited and not complete.

        Frames are kept whole. Left out are very long messages, and those whose first byte lies before ``gone``: the
        rest of such a one is stopped when its last frame is here.
        """
        settled = self._http2.directions[way].settled()
        for call in self._calls.values():
            messages = call.to_target if way == "to-target" else call.to_dialer
            if gone <= messages.start < settled and messages.length <= KEPT_BYTES and messages.may_be(awaits):
                settled = messages.start
        return settled

    def _piece(self, way: Way, piece: Piece) -> Iterator[Said]:
        match piece:
            case Data():
                yield from self._data(way, piece)
            case Headers():
                yield from self._request(piece) if way == "to-target" else self._answer(piece)
            case Reset():
                call = self._calls.pop(piece.stream, None)
                if call is not None:
                    name = error_name(piece.code)
                    yield self._status(way, piece, call, _RESETS.get(name, "INTERNAL"), {"reset": name})
            case GoAway():
                facts: dict[str, Fact] = {"code": error_name(piece.code), "last_stream": piece.last_stream}
                if piece.text:
                    facts["message"] = _text(piece.text)
                yield _said(way, "message", "GOAWAY", piece, facts)
            case Ping():
                yield _said(way, "message", "PING ack" if piece.is_ack else "PING", piece, {}, quiet=True)

    def _request(self, piece: Headers) -> Iterator[Said]:
        if piece.stream <= self._last_stream:
            self._half_close(piece)
            return
        path = piece.fields.get(":path", "")
        service, _, method = path.removeprefix("/").rpartition("/")
        if not service or not method or len(self._calls) >= MAX_STREAMS:
            raise Unreadable(f"expected /Service/Method, up to {MAX_STREAMS} calls at once; seen {path[:80]!r}")
        self._last_stream = piece.stream
        to_target, to_dialer = TYPES.get((service, method), (None, None))
        call = _Call(service[:TEXT_CHARS], method[:80], self._clock(), _Messages(to_target), _Messages(to_dialer))
        self._calls[piece.stream] = call
        yield _said("to-target", "request", call.method, piece, call.facts())
        self._half_close(piece)

    def _half_close(self, piece: Headers | Data) -> None:
        if piece.is_last and piece.stream in self._calls:
            self._calls[piece.stream].is_half_closed = True

    def _answer(self, piece: Headers) -> Iterator[Said]:
        call = self._calls.get(piece.stream)
        http = piece.fields.get(":status", "")
        if call is None or http.startswith("1"):
            return
        if not call.is_answered:
            call.is_answered = True
            odd: dict[str, Fact] = {"http_status": http} if http != "200" else {}
            yield _said("to-dialer", "reply", call.method, piece, call.facts(**odd))
        if piece.is_last or "grpc-status" in piece.fields:
            code = piece.fields.get("grpc-status", "")
            text = unquote(piece.fields.get("grpc-message", ""))
            yield self._over(piece, call, _CODES.get(code, f"CODE_{code[:8]}" if code else "UNKNOWN"), text)

    def _over(self, piece: Headers | Data, call: _Call, code: str, text: str) -> Said:
        del self._calls[piece.stream]
        return self._status("to-dialer", piece, call, code, {"message": _text(text)} if text else {})

    def _status(self, way: Way, piece: Piece, call: _Call, code: str, more: dict[str, Fact]) -> Said:
        facts = call.facts(
            code=code, **more, requests=call.to_target.count, replies=call.to_dialer.count,
            half_closed=call.is_half_closed, took_ms=(self._clock() - call.began_ns) // MS_NS,
        )  # fmt: skip
        return _said(way, "status", call.method, piece, facts)

    def _data(self, way: Way, piece: Data) -> Iterator[Said]:
        if piece.stream > self._last_stream:
            raise Unreadable(f"expected DATA of a call that began; seen it on stream {piece.stream}")
        call = self._calls.get(piece.stream)
        if call is None:
            return  # it is over; what was on its way is nobody's
        messages = call.to_target if way == "to-target" else call.to_dialer
        for start, is_compressed, body in messages.feed(piece):
            yield self._message(way, Piece(piece.stream, start, piece.end), call, messages, is_compressed, body)
        if len(messages.left) > WHOLE_BYTES and self._unfinished_bytes() > UNFINISHED_BYTES:
            raise Unreadable(f"expected messages to be finished; seen {UNFINISHED_BYTES} bytes of such that are not")
        if way == "to-target":
            self._half_close(piece)
        elif piece.is_last:
            yield self._over(piece, call, "UNKNOWN", "the stream ended without a status")

    def _unfinished_bytes(self) -> int:
        return sum(len(call.to_target.left) + len(call.to_dialer.left) for call in self._calls.values())

    def _message(
        self, way: Way, piece: Piece, call: _Call, messages: _Messages, is_compressed: bool, body: bytes | None
    ) -> Said:
        if is_compressed:
            return _said(way, "message", "compressed", piece, call.facts())
        if messages.type is None:
            return _said(way, "message", "message", piece, call.facts())
        name: str = messages.type.DESCRIPTOR.name
        if body is None:
            return _said(way, "message", name, piece, call.facts())
        parsed: Any = messages.type()
        try:
            parsed.ParseFromString(body)
        except DecodeError as error:
            raise Unreadable(f"expected {name} in {call.method}; seen {len(body)} bytes that are none") from error
        call.user = getattr(parsed, "user_id", "")[:TEXT_CHARS] or call.user
        if not isinstance(parsed, bridge_pb2.AudioChunk):
            return _said(way, "message", name, piece, call.facts(**facts_of(parsed)))
        pcm: bytes = parsed.pcm_data if way == "to-dialer" else b""
        if messages.count > 1:
            return _said(way, "message", name, piece, {}, quiet=True, pcm=pcm)
        facts = call.facts(sample_rate=parsed.sample_rate, channels=parsed.channels, bytes=len(parsed.pcm_data))
        return _said(way, "message", name, piece, facts, pcm=pcm)


def facts_of(message: Message) -> dict[str, Fact]:
    """Return a message's numbers, switches and enumerated values, and those of its texts that are no secret."""
    found: dict[str, Fact] = {}
    for described in message.DESCRIPTOR.fields:
        name = described.name
        if described.is_repeated or described.type in {FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_MESSAGE}:
            continue
        value: Any = getattr(message, name)
        if described.enum_type is not None:
            known = described.enum_type.values_by_number.get(value)
            found[name] = known.name if known is not None else value
        elif not isinstance(value, str):
            found[name] = value
        elif value and name in _STRINGS and name != "user_id":  # that one is every word's "user"
            found[name] = _text(value)
    return found


def _text(text: str) -> str:
    return mask(text)[:TEXT_CHARS]


def _said(
    way: Way, kind: Kind, name: str, piece: Piece, facts: dict[str, Fact], *, quiet: bool = False, pcm: bytes = b""
) -> Said:
    return Said(way, kind, name, piece.start, piece.end, piece.stream, facts, quiet, pcm)
