"""The JSON side of the wire: time stamps, and reading an object out of a text frame."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TypeAlias

Message: TypeAlias = dict[str, object]
"""One JSON object of the wire, as sent and received."""


def iso_now() -> str:
    """Give the wall clock's time as JavaScript writes it: UTC, milliseconds, a Z."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_message(text: str) -> Message | None:
    """Read one JSON object; None when the text is anything else."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def text_of(message: Message, key: str) -> str:
    """Give a field's text; empty when it is absent or no text."""
    value = message.get(key)
    return value if isinstance(value, str) else ""
