"""WebSocket frames (RFC 6455) of one direction, read as they pass: what was said, never more than one message kept.

Binary messages are skipped where they stand, unless somebody reads their contents or later ones may lean on them
(compressed ones); text is kept until it is complete.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from harness.events.wire import Fact
from harness.links.reading import Said, Unreadable, Way
from harness.redact import mask

FRAME_BYTES = 16 * 1024 * 1024
"""A frame longer than this is taken for nonsense."""
KEPT_BYTES = 1024 * 1024
"""A message longer than this is counted, not looked into."""
_CONT, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_OPCODES = {_CONT, _TEXT, _BINARY, _CLOSE, _PING, _PONG}
_NOTHING: Mapping[str, Fact] = {}


@dataclass(frozen=True, slots=True)
class Named:
    """What a message is called, and what is worth knowing of it."""

    name: str
    facts: Mapping[str, Fact] = field(default_factory=dict)
    quiet: bool = False


Name = Callable[[Way, bytes, bool], Named]
"""Names a message: its direction, its contents, whether they are text. Raises Unreadable when that is nonsense."""


class Inflater:
    """Undoes permessage-deflate (RFC 7692) with one context, which is right with and without context takeover.

    A message that was not looked into takes the context along. The next begin with an empty one: those that lean on
    nothing before them (all of them, without context takeover) are read, the others are known by leaning too far back.
    """

    def __init__(self) -> None:
        """Begin with an empty window."""
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self.has_lost = False
        """True once a message could not be inflated."""

    def inflate(self, data: bytes | None) -> bytes | None:
        """Return the message, None when that cannot be known (damaged, longer than is kept, or leaning on such).

        ``data`` is None for a message that was not kept.
        """
        if data is not None:
            try:
                plain = self._inflate.decompress(data + b"\x00\x00\xff\xff", KEPT_BYTES + 1)
            except zlib.error:
                pass
            else:
                if len(plain) <= KEPT_BYTES and not self._inflate.unconsumed_tail and not self._inflate.eof:
                    return plain
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self.has_lost = True
        return None


class Frames:
    """One direction of a WebSocket."""

    def __init__(self, way: Way, at: int, name: Name, *, keeps_binary: bool) -> None:
        """Begin at offset ``at`` of the direction's bytes; ``keeps_binary``: ``name`` wants to see binary messages."""
        self._way, self._at, self._name, self._keeps_binary = way, at, name, keeps_binary
        self._head = b""
        """The beginning of a frame whose header is not complete."""
        self._frame_at = at
        self._left: int | None = None
        """Payload bytes of the present frame still to come; None between frames."""
        self._is_last = self._is_control = False
        self._opcode = 0
        self._mask = b""
        self._frame = bytearray()
        self._message_at: int | None = None
        self._message_opcode = 0
        self._is_deflated = False
        self._message = bytearray()
        self._size = 0
        self._is_kept = False
        self._inflater = Inflater()

    @property
    def settled(self) -> int:
        """Offset up to which everything belongs to messages that are complete."""
        if self._message_at is not None:
            return self._message_at
        return self._frame_at if self._left is not None else self._at - len(self._head)

    def feed(self, data: bytes) -> list[Said]:
        """Take the next bytes; return what is complete now.

        Raises:
            Unreadable: these are no WebSocket frames; what was understood before is in its ``said``.
        """
        said: list[Said] = []
        try:
            self._feed(data, said)
        except Unreadable as error:
            error.said = said
            raise
        return said

    def _feed(self, data: bytes, said: list[Said]) -> None:
        position, end = 0, len(data)
        while position < end:
            if self._left is None:
                position = self._take_head(data, position)
                if self._left is None:
                    return
            step = min(self._left, end - position)
            if self._is_kept or self._is_control:
                self._frame += data[position : position + step]
            position += step
            self._at += step
            self._left -= step
            if not self._left:
                self._end_frame(said)

    def _take_head(self, data: bytes, position: int) -> int:
        """Read a frame's header from ``position`` on, or keep what there is of it; return where the rest begins."""
        had = len(self._head)
        head = self._head + data[position : position + 14 - had] if had else data[position : position + 14]
        need = 2
        if len(head) >= 2:
            need += {126: 2, 127: 8}.get(head[1] & 0x7F, 0) + (4 if head[1] & 0x80 else 0)
        if len(head) < need:
            self._head = head
            self._at += len(head) - had
            return position + len(head) - had
        self._head = b""
        self._at += need - had
        self._frame_at = self._at - need
        self._begin_frame(head, need)
        return position + need - had

    def _begin_frame(self, head: bytes, need: int) -> None:
        flags, size = head[0], head[1] & 0x7F
        is_masked = bool(head[1] & 0x80)
        if size >= 126:
            size = int.from_bytes(head[2 : 4 if size == 126 else 10], "big")
        self._opcode = opcode = flags & 0x0F
        self._is_last, self._is_control = bool(flags & 0x80), opcode >= _CLOSE
        if opcode not in _OPCODES or flags & 0x30:
            raise Unreadable(f"expected a WebSocket frame {self._way} at byte {self._frame_at}; seen {head[:2]!r}")
        if is_masked != (self._way == "to-target"):
            wanted = "a masked" if self._way == "to-target" else "an unmasked"
            raise Unreadable(f"expected {wanted} WebSocket frame {self._way} at byte {self._frame_at}")
        if size > (125 if self._is_control else FRAME_BYTES) or (self._is_control and not self._is_last):
            raise Unreadable(f"expected a WebSocket frame {self._way} of sane size; seen {size} bytes, opcode {opcode}")
        if not self._is_control and (opcode == _CONT) == (self._message_at is None):
            seen = "one goes on that never began" if opcode == _CONT else "another begins in the middle of one"
            raise Unreadable(f"expected whole WebSocket messages {self._way}; seen that {seen}")
        self._mask = head[need - 4 : need] if is_masked else b""
        self._left = size
        if not self._is_control:
            if opcode != _CONT:
                self._message_at, self._message_opcode, self._size = self._frame_at, opcode, 0
                self._is_deflated = bool(flags & 0x40)
                self._is_kept = opcode == _TEXT or self._keeps_binary or self._is_deflated
            self._size += size
            if self._is_kept and self._size > KEPT_BYTES:
                self._is_kept = False
                self._message.clear()
        if not size:
            self._left = 0

    def _end_frame(self, said: list[Said]) -> None:
        self._left = None
        payload = b""
        if self._frame:
            payload = unmasked(self._frame, self._mask) if self._mask else bytes(self._frame)
            self._frame = bytearray()
        if self._is_control:
            said.append(self._control(payload))
            return
        if not self._is_last:
            self._message += payload
            return
        start, self._message_at = self._message_at, None
        if self._message:
            payload = bytes(self._message) + payload
            self._message = bytearray()
        named = self._named(payload)
        self._is_kept = False
        said.append(
            Said(
                self._way, "message", named.name, start if start is not None else self._frame_at, self._at,
                facts=named.facts, quiet=named.quiet,
            )
        )  # fmt: skip

    def _named(self, payload: bytes) -> Named:
        is_text = self._message_opcode == _TEXT
        is_wanted = is_text or self._keeps_binary
        if self._is_deflated:
            had_lost = self._inflater.has_lost
            plain = self._inflater.inflate(payload if self._is_kept else None)
            if plain is None:
                name = "binary" if not is_wanted else "compressed" if self._is_kept else "big"
                facts: dict[str, Fact] = {"bytes": self._size}
                if not had_lost:
                    facts["lost"] = "the context of permessage-deflate: those that lean on it are not read"
                return Named(name, facts, quiet=had_lost and name != "big")
            payload = plain
        elif is_wanted and not self._is_kept:
            return Named("big", {"bytes": self._size})
        return self._name(self._way, payload, is_text) if is_wanted else BINARY

    def _control(self, payload: bytes) -> Said:
        if self._opcode != _CLOSE:
            name = "ping" if self._opcode == _PING else "pong"
            return Said(self._way, "message", name, self._frame_at, self._at, quiet=True)
        if len(payload) == 1:
            raise Unreadable(f"expected a close code of two bytes {self._way}; seen one byte")
        code = int.from_bytes(payload[:2], "big") if payload else 1005  # RFC 6455 7.1.5: no code was given
        reason = safe(payload[2:].decode(errors="replace"))
        return Said(
            self._way, "close", str(code), self._frame_at, self._at, facts={"reason": reason} if reason else _NOTHING
        )


BINARY = Named("binary", quiet=True)


def safe(text: str, *, longest: int = 120) -> str:
    """Return ``text`` fit for an event: no secret in it, one line, at most ``longest`` characters."""
    masked = mask(text[: 8 * longest])[:longest]
    return masked if masked.isprintable() else "".join(c if c.isprintable() else "?" for c in masked)


def unmasked(data: bytes | bytearray, mask_key: bytes) -> bytes:
    """Undo the masking of a frame's payload (RFC 6455 5.3), as one number: Python does that quickly."""
    size = len(data)
    key = (mask_key * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")
