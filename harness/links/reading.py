"""Reading along: what passes a link is understood, never changed. A reader is sans-I/O and is fed both ways.

Which reader a connection gets is told by its first bytes, not by configuration, so that it fits whoever speaks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from harness.errors import HarnessError
from harness.events.wire import Fact
from harness.moments import Kind

Way = Literal["to-target", "to-dialer"]
"""The direction of bytes: from who dialed the link, or to it."""


Awaits = Callable[[Kind, str], bool]
"""Whether anybody waits for what is said of this kind, by this name."""


def anything(_kind: Kind, _name: str) -> bool:
    """Await whatever is said."""
    return True


class Unreadable(HarnessError):
    """What passes is nothing this reader knows; the text says what was expected and what was seen."""

    said: list[Said] = []  # noqa: RUF012  set by whoever raises it
    """What was understood, of the same bytes, before that."""


@dataclass(frozen=True, slots=True)
class Said:
    """One thing that was said, and where it stands in the bytes of its direction of the connection."""

    way: Way
    kind: Kind
    name: str
    start: int
    """Offset of its first byte since the connection began."""
    end: int
    """Offset behind its last byte."""
    stream: int = 0
    """HTTP/2 stream; 0 elsewhere."""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    quiet: bool = False
    """Too frequent to be an event (audio): it is counted, triggers see it, nothing is written down."""
    pcm: bytes = b""
    """Audio it carried (PCM16LE), for the hop ``bridge-out``."""


class Reader(Protocol):
    """Understands one connection of one protocol."""

    def feed(self, way: Way, data: bytes) -> list[Said]:
        """Take the next bytes of one direction, cut anywhere; return what is complete now, in order.

        Raises:
            Unreadable: it is not this protocol, or not any more; it is not fed again.
        """
        ...

    def settled(self, way: Way, awaits: Awaits = anything, gone: int = 0, /) -> int:
        """Return the offset up to which the bytes of a direction belong to things that are complete.

        What lies behind it may be the beginning of something a trigger ``awaits``. Where several things are said at
        once, one may be left out that nobody awaits, or whose beginning went on already (before offset ``gone``).
        """
        ...


ReaderOf = Callable[[], Reader]
SNIFFED_BYTES = 24
"""So many first bytes of the dialer tell every protocol (the HTTP/2 preface has 24)."""
UNASKED_BYTES = 65_536
"""A target may say so much before the dialer's first word (HTTP/2 settings); more is not kept."""


class Conversation:
    """A connection as it is read: finds the reader by the dialer's first bytes, and outlives its reader."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._reader: Reader | None = None
        self._first: dict[Way, bytes] = {"to-target": b"", "to-dialer": b""}
        self._fed: dict[Way, int] = {"to-target": 0, "to-dialer": 0}
        self.unreadable = ""
        """Why nothing is read any more; empty while it is."""

    def feed(self, way: Way, data: bytes) -> list[Said]:
        """Take the next bytes; return what was said. Never raises: what cannot be read is told by ``unreadable``."""
        self._fed[way] += len(data)
        if self.unreadable:
            return []
        try:
            if self._reader is not None:
                return self._reader.feed(way, data)
            return self._sniff(way, data)
        except Unreadable as error:
            self.unreadable = str(error)
            return error.said
        except Exception as error:  # noqa: BLE001  hostile bytes may break a reader; they never stop the link
            self.unreadable = f"the reader broke: {type(error).__name__}: {error}"
        return []

    def settled(self, way: Way, awaits: Awaits = anything, gone: int = 0, /) -> int:
        """Return up to where bytes need not be kept back for a trigger."""
        if self._reader is None or self.unreadable:
            return self._fed[way] if self.unreadable or way == "to-dialer" else 0
        return self._reader.settled(way, awaits, gone)

    def _sniff(self, way: Way, data: bytes) -> list[Said]:
        self._first[way] += data
        first = self._first["to-target"]
        if len(self._first["to-dialer"]) > UNASKED_BYTES:
            raise Unreadable(f"expected the dialer to speak; seen {UNASKED_BYTES} bytes from the target before it did")
        if not first:
            return []
        made = reader_for(first)
        if made is None:
            if not may_be_known(first):
                raise Unreadable(f"expected HTTP/1 or HTTP/2 from the dialer; seen {first[:SNIFFED_BYTES]!r}")
            return []
        self._reader = made
        early, self._first = self._first, {"to-target": b"", "to-dialer": b""}
        said = made.feed("to-target", early["to-target"])
        try:
            return said + (made.feed("to-dialer", early["to-dialer"]) if early["to-dialer"] else [])
        except Unreadable as error:
            error.said = said + error.said
            raise


def may_be_known(first: bytes) -> bool:
    """Tell whether a dialer that began like this may still turn out to speak something that is read."""
    from harness.links.readers import READERS  # noqa: PLC0415  as below

    return len(first) < SNIFFED_BYTES and any(
        first[: len(word)] == word[: len(first)] for begins, _make in READERS for word in begins
    )


def reader_for(first: bytes) -> Reader | None:
    """Return a reader for a dialer that began like this; None while it cannot be told, or when nobody reads it."""
    # Imported here: the protocols' libraries are only needed by the links process.
    from harness.links.readers import READERS  # noqa: PLC0415

    for begins, make in READERS:
        if any(first[: len(word)] == word[: len(first)] for word in begins):
            return make() if any(first.startswith(word) for word in begins) else None
    return None
