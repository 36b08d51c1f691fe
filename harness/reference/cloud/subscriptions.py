"""What apps may subscribe to, as the cloud understands it."""

from __future__ import annotations

import re
from collections.abc import Iterable

TRANSCRIPTION = re.compile(r"^transcription:[a-z]{2,3}-[A-Z]{2}(\?.*)?$")
DEFAULT_TRANSCRIPTION = "transcription:en-US"
AUDIO = "audio_chunk"


def read_subscriptions(found: object) -> frozenset[str]:
    """Keep the usable entries of an update; bare `transcription` means en-US."""
    entries = found if isinstance(found, list) else []
    texts = (DEFAULT_TRANSCRIPTION if entry == "transcription" else entry for entry in entries)
    return frozenset(text for text in texts if isinstance(text, str) and text)


def transcriptions(subscriptions: Iterable[str]) -> frozenset[str]:
    """Keep the transcription subscriptions."""
    return frozenset(text for text in subscriptions if TRANSCRIPTION.match(text))


def required_data(subscriptions: frozenset[str]) -> tuple[str, ...]:
    """Tell the phone's microphone what is needed; nothing means off."""
    needs_words = bool(transcriptions(subscriptions))
    needs_pcm = AUDIO in subscriptions or needs_words
    return (("pcm",) if needs_pcm else ()) + (("transcription",) if needs_words else ())
