"""HTTP/1.1 as it passes: requests, replies, and what becomes of them when they are upgraded to a WebSocket.

Paths are told without their query, which carries tokens. Bodies are skipped; a short JSON body is told by its type.
"""

from __future__ import annotations

import base64
import re
from collections import deque
from dataclasses import dataclass
from typing import Literal

import msgspec

from harness.events.wire import Fact
from harness.links.readers.json_names import name_message, type_of
from harness.links.readers.livekit import is_signalling, name_signal
from harness.links.readers.websocket import Frames, safe
from harness.links.reading import Awaits, Said, Unreadable, Way, anything

METHODS = (b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE ", b"OPTIONS ", b"PATCH ")
"""What a dialer that speaks HTTP/1 begins with."""
HEAD_BYTES = 65_536
BODY_BYTES = 65_536
"""A longer JSON body is not looked into."""
_LINE_BYTES = 4_096
_PIPELINED = 1_000
_REQUEST = re.compile(r"([A-Z]{1,20}) (\S+) HTTP/1\.[01]")
_REPLY = re.compile(r"HTTP/1\.[01] ([1-5]\d\d)(?: .*)?")
_CLAIMS = re.compile(r"eyJ[A-Za-z0-9_-]{1,300}\.([A-Za-z0-9_-]{2,8000})\.")
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,12}")
_MAY_BEGIN_REQUEST = frozenset(method[:1] for method in METHODS)
"""No WebSocket frame begins with one of these: they would need a reserved bit."""
State = Literal["head", "body", "until-end", "chunk-size", "chunk", "chunk-end", "trailer", "upgrade"]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request that waits for its reply."""

    name: str
    method: str
    path: str
    wants_websocket: bool


class HttpReader:
    """One connection: HTTP/1.1, perhaps a WebSocket later."""

    def __init__(self) -> None:
        """Begin with a connection that has just been made."""
        asked: deque[_Asked] = deque()
        self._ways: dict[Way, _Way] = {"to-target": _Requests(asked), "to-dialer": _Replies(asked)}

    def feed(self, way: Way, data: bytes) -> list[Said]:
        """Take the next bytes of one direction; return what is complete now.

        Raises:
            Unreadable: it is not HTTP/1 or WebSocket (any more).
        """
        return self._ways[way].feed(data)

    def settled(self, way: Way, _awaits: Awaits = anything, _gone: int = 0, /) -> int:
        """Return the offset behind what is complete."""
        return self._ways[way].settled


class _Way:
    """One direction of HTTP/1: heads and bodies."""

    way: Way

    def __init__(self, asked: deque[_Asked]) -> None:
        self._asked = asked
        self._state: State = "head"
        self._at = 0
        """Offset of the first byte in ``_buffer``."""
        self._buffer = bytearray()
        self._looked = 0
        """So much of the buffer holds no end of a head or line."""
        self._left = 0
        self._body: bytearray | None = None
        """The body, when it is JSON and short."""
        self._body_at = 0
        self._frames: Frames | None = None

    @property
    def settled(self) -> int:
        """Offset behind what is complete."""
        if self._frames is not None:
            return self._frames.settled
        return self._body_at if self._body is not None and self._state != "head" else self._at

    def feed(self, data: bytes) -> list[Said]:
        """Take bytes; see `HttpReader.feed`."""
        if self._frames is not None:
            return self._frames.feed(data)
        said: list[Said] = []
        self._buffer += data
        try:
            while self._frames is None and self._buffer and self._step(said):
                pass
            if self._frames is not None and self._buffer:
                rest, self._buffer = bytes(self._buffer), bytearray()
                said += self._frames.feed(rest)
        except Unreadable as error:
            error.said = said + error.said
            raise
        return said

    def _step(self, said: list[Said]) -> bool:
        """Do the next thing; tell whether there may be more to do."""
        if self._state == "upgrade":
            self._begin_upgrade()
            return True
        if self._state == "until-end":
            self._consume(len(self._buffer))
            return False
        if self._state in ("body", "chunk"):
            return self._take_body(said)
        if self._state == "head":
            return self._take_head(said)
        line = self._line(b"\r\n", _LINE_BYTES)
        return line is not None and self._take_line(line, said)

    # -- heads -------------------------------------------------------------------------------------------------------

    def _take_head(self, said: list[Said]) -> bool:
        while self._buffer[:2] == b"\r\n":  # RFC 9112 2.2: an empty line before a request is ignored
            self._consume(2)
        if not self._buffer or self._buffer == b"\r":
            return False
        start = self._at
        block = self._line(b"\r\n\r\n", HEAD_BYTES)
        if block is None:
            self._check_beginning()
            return False
        first, *lines = block.decode("latin-1").split("\r\n")
        fields: dict[str, str] = {}
        for line in lines:
            key, colon, value = line.partition(":")
            if not colon:
                raise Unreadable(f"expected an HTTP header field {self.way}; seen a line without a colon")
            fields[key.strip().lower()] = value.strip()
        self._head(first, fields, start, said)
        return True

    def _check_beginning(self) -> None:
        """Fail early on what cannot be a head: a binary protocol may never send an empty line."""
        raise NotImplementedError

    def _head(self, first: str, fields: dict[str, str], start: int, said: list[Said]) -> None:
        raise NotImplementedError

    def _expect_body(self, fields: dict[str, str], *, until_end: bool) -> None:
        is_json = "json" in fields.get("content-type", "").lower() and not fields.get("content-encoding")
        self._body, self._body_at = (bytearray() if is_json else None), self._at
        if "chunked" in fields.get("transfer-encoding", "").lower():
            self._state = "chunk-size"
            return
        length = fields.get("content-length")
        if length is None:
            self._state = "until-end" if until_end else "head"
            self._body = None
            return
        if not (length.isascii() and length.isdigit() and len(length) <= 18):
            raise Unreadable(f"expected a Content-Length in digits {self.way}; seen {safe(length, longest=40)!r}")
        self._left = int(length)
        self._state = "body" if self._left else "head"

    # -- bodies ------------------------------------------------------------------------------------------------------

    def _take_body(self, said: list[Said]) -> bool:
        step = min(self._left, len(self._buffer))
        if self._body is not None:
            self._body += self._buffer[:step]
            if len(self._body) > BODY_BYTES:
                self._body = None
        self._consume(step)
        self._left -= step
        if self._left:
            return False
        if self._state == "chunk":
            self._state = "chunk-end"
        else:
            self._end_body(said)
        return True

    def _take_line(self, line: bytes, said: list[Said]) -> bool:
        """Take a line of the chunked coding."""
        if self._state == "chunk-end":
            if line:
                raise Unreadable(f"expected the end of an HTTP chunk {self.way}; seen more of it")
            self._state = "chunk-size"
        elif self._state == "chunk-size":
            size = line.partition(b";")[0].strip()
            if not _SIZE.fullmatch(size):
                raise Unreadable(f"expected the size of an HTTP chunk {self.way}; seen something else")
            self._left = int(size, 16)
            self._state = "chunk" if self._left else "trailer"
        elif not line:
            self._end_body(said)
        return True

    def _end_body(self, said: list[Said]) -> None:
        self._state = "head"
        body, self._body = self._body, None
        named = type_of(bytes(body)) if body else None
        if named is not None:
            said.append(Said(self.way, "message", named.name, self._body_at, self._at, facts=named.facts))

    # -- bytes -------------------------------------------------------------------------------------------------------

    def _line(self, ending: bytes, longest: int) -> bytes | None:
        """Take what stands before ``ending``, and that; None when it is not there yet."""
        found = self._buffer.find(ending, max(0, self._looked - len(ending) + 1))
        if (found if found >= 0 else len(self._buffer)) > longest:
            raise Unreadable(f"expected an HTTP head or line of at most {longest} bytes {self.way}; seen more")
        if found < 0:
            self._looked = len(self._buffer)
            return None
        line = bytes(self._buffer[:found])
        self._consume(found + len(ending))
        return line

    def _consume(self, size: int) -> None:
        del self._buffer[:size]
        self._at += size
        self._looked = 0

    # -- upgrades ----------------------------------------------------------------------------------------------------

    def _begin_upgrade(self) -> None:
        raise NotImplementedError

    def _speak_websocket(self, path: str) -> None:
        signals = is_signalling(path)
        self._frames = Frames(self.way, self._at, name_signal if signals else name_message, keeps_binary=signals)


class _Requests(_Way):
    way: Way = "to-target"
    _path = ""

    def _check_beginning(self) -> None:
        if not self._buffer[:1].isalpha():
            raise Unreadable(f"expected an HTTP request; seen {bytes(self._buffer[:8])!r}")

    def _head(self, first: str, fields: dict[str, str], start: int, said: list[Said]) -> None:
        match = _REQUEST.fullmatch(first)
        if match is None or match[1] == "CONNECT":
            raise Unreadable(f"expected an HTTP/1 request; seen {safe(first.partition('?')[0], longest=40)!r}")
        if len(self._asked) >= _PIPELINED:
            raise Unreadable(f"expected replies to HTTP requests; seen {_PIPELINED} requests without one")
        path = _path(match[2])
        wants = "websocket" in fields.get("upgrade", "").lower()
        asked = _Asked(f"{match[1]} {path}", match[1], path, wants)
        self._asked.append(asked)
        facts: dict[str, Fact] = {"upgrade": "websocket"} if wants else {}
        if whose := bearer(match[2], fields.get("authorization", "")):
            facts["identity" if is_signalling(path) else "user"] = whose
        said.append(Said(self.way, "request", asked.name, start, self._at, facts=facts))
        self._path = path
        self._expect_body(fields, until_end=False)
        if wants and self._state == "head":
            self._state = "upgrade"

    def _begin_upgrade(self) -> None:
        """Tell by the next byte whether the upgrade was granted: the reply may be read behind it, or before."""
        if bytes(self._buffer[:1]) in _MAY_BEGIN_REQUEST:
            self._state = "head"
        else:
            self._speak_websocket(self._path)


class _Replies(_Way):
    way: Way = "to-dialer"

    def _check_beginning(self) -> None:
        if not self._buffer.startswith(b"HTTP/1."[: len(self._buffer)]):
            raise Unreadable(f"expected an HTTP/1 reply; seen {bytes(self._buffer[:8])!r}")

    def _head(self, first: str, fields: dict[str, str], start: int, said: list[Said]) -> None:
        match = _REPLY.fullmatch(first)
        if match is None:
            raise Unreadable(f"expected an HTTP/1 reply; seen {safe(first, longest=40)!r}")
        status = int(match[1])
        if status < 200 and status != 101:
            return  # an interim reply: the real one follows
        asked = self._asked.popleft() if self._asked else _Asked("", "GET", "", wants_websocket=False)
        said.append(Said(self.way, "reply", asked.name, start, self._at, facts={"status": status}))
        if status == 101:
            if not asked.wants_websocket:
                raise Unreadable(f"expected a WebSocket behind {asked.name!r}; seen another upgrade")
            self._speak_websocket(asked.path)
        elif asked.method == "HEAD" or status in (204, 304):
            self._state = "head"
        else:
            self._expect_body(fields, until_end=True)

    def _begin_upgrade(self) -> None:
        raise AssertionError("a reply says at once whether it upgrades")


def bearer(target: str, authorization: str) -> str:
    """Return whom a request's token (in its query or its Authorization) names; empty when that cannot be told.

    The claims of a JSON Web Token are no secret, its signature is; they are told without being checked.
    """
    found = _CLAIMS.search(authorization) or _CLAIMS.search(target)
    if found is None or len(found[1]) > _LINE_BYTES:
        return ""
    try:
        claims = msgspec.json.decode(base64.urlsafe_b64decode(found[1] + "=" * (-len(found[1]) % 4)))
    except (ValueError, msgspec.DecodeError, RecursionError):
        return ""
    names = [claims.get(key) for key in ("email", "sub")] if isinstance(claims, dict) else []
    return next((safe(name) for name in names if isinstance(name, str) and name), "")


def _path(target: str) -> str:
    """Return the path of a request's target: without its query, and without the host a proxy's has."""
    bare = re.split(r"[?#]", target, maxsplit=1)[0]
    if "://" in bare:
        bare = "/" + bare.split("://", 1)[1].partition("/")[2]
    return safe(bare)
