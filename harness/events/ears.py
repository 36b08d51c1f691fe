"""What our ears hear at the text hops, and what happens to their connections."""

from __future__ import annotations

from harness.events.base import Event


class Caption(Event, frozen=True, tag="caption"):
    """A caption at a text hop (``stt-out``, ``app-in``, ``phone-display``) and the words it names."""

    hop: str
    speaker: int
    """0 when the text names no word of ours."""
    words: tuple[int, ...]
    """Global word numbers in the order they stand in the text."""
    final: bool
    text: str
    person: str = ""
    """Whose phone showed it; empty at the other hops."""


class SttOpened(Event, frozen=True, tag="stt-opened"):
    """A connection to the STT stand-in was accepted and configured."""

    conn: int


class SttKeepalive(Event, frozen=True, tag="stt-keepalive"):
    """The cloud sent a keepalive on an STT connection."""

    conn: int


class SttClosed(Event, frozen=True, tag="stt-closed"):
    """An STT connection ended; ``by`` is cloud, stt or network."""

    conn: int
    code: int
    by: str
    reason: str


class AppWebhook(Event, frozen=True, tag="app-webhook"):
    """The captions app's webhook was called."""

    type: str
    session: str


class AppSocketOpen(Event, frozen=True, tag="app-socket-open"):
    """The captions app's socket is acknowledged by the cloud."""

    session: str


class AppSocketClosed(Event, frozen=True, tag="app-socket-closed"):
    """The captions app's socket ended."""

    session: str
    code: int
    reason: str


class AppSubscribed(Event, frozen=True, tag="app-subscribed"):
    """The captions app sent its subscriptions."""

    session: str
    subscriptions: tuple[str, ...]


class Misheard(Event, frozen=True, tag="misheard"):
    """Somebody was heard where another one belongs: a room, an app's session or a recogniser's stream of ``owner``."""

    hop: str
    owner: str
    speaker: int
    """Who was heard there."""
    first_index: int
    """The first frame heard (at a text hop: the first frame of the first word)."""
    count: int
    """Frames (at a text hop: words) since this was last told."""
