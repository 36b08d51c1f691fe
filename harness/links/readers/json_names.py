"""What JSON that passes as a message is called, and the few facts of it that are worth an event and are no secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from harness.events.wire import Fact
from harness.links.readers.websocket import BINARY, Named, safe
from harness.links.reading import Way

_FACTS = ("status", "code", "reason", "isFinal", "streamType", "enabled", "error_code", "finished")
"""Fields that are told as they are, when they are short: states and codes, nothing anybody said, no token."""
_WHOSE = {"userId": "user", "sessionId": "session", "packageName": "app"}
"""Fields that tell whom it is about, and the fact they become."""
_SAYS_WHY = ("error", "status", "unavailable", "warning")
"""A type with one of these words has a ``message`` for people, which is told too."""
_FREQUENT = frozenset({"data_stream", "display_event", "VAD", "location_update", "head_position"})
"""Types that come over and over; they are events only when they are final."""


def name_message(_way: Way, payload: bytes, is_text: bool) -> Named:
    """Name a WebSocket message by its JSON ``type``; without one by what it holds, as a speech service's do."""
    if not is_text:
        return BINARY
    if not payload:
        return Named("empty")
    try:
        said = msgspec.json.decode(payload)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return Named("text", {"bytes": len(payload)})
    if not isinstance(said, dict):
        return Named("json", {"bytes": len(payload)})
    return named(said)


def type_of(payload: bytes) -> Named | None:
    """Return the name of a body that is a JSON object with a type; None for any other."""
    try:
        said = msgspec.json.decode(payload)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    return named(said) if isinstance(said, dict) and isinstance(said.get("type"), str) else None


def named(said: Mapping[str, Any]) -> Named:
    """Name a JSON object."""
    kind = said.get("type")
    if not isinstance(kind, str) or not kind:
        return _untyped(said)
    facts = _short(said, _FACTS)
    for key, fact in _WHOSE.items():
        if isinstance(said.get(key), str):
            facts[fact] = safe(said[key])
    if kind == "connection_ack":
        facts["livekit"] = bool(said.get("livekit"))
    if any(word in kind for word in _SAYS_WHY) and isinstance(said.get("message"), str):
        facts["message"] = safe(said["message"])
    if kind == "data_stream" and isinstance(said.get("data"), Mapping):
        facts |= _short(said["data"], ("isFinal",))
    if isinstance(said.get("subscriptions"), list):
        facts["subscriptions"] = len(said["subscriptions"])
    if isinstance(said.get("requiredData"), list):
        facts["required"] = len(said["requiredData"])
    return Named(safe(kind, longest=60), facts, quiet=kind in _FREQUENT and facts.get("isFinal") is not True)


def _untyped(said: Mapping[str, Any]) -> Named:
    """Name what a speech service of the Soniox kind says; anything else is ``json``."""
    if said.get("error_code") is not None or said.get("error_message") is not None:
        facts = _short(said, ("error_code",))
        if isinstance(said.get("error_message"), str):
            facts["message"] = safe(said["error_message"])
        return Named("error", facts)
    if "api_key" in said:
        return Named("config")
    if said.get("finished") is True:
        return Named("finished")
    if isinstance(said.get("tokens"), list):
        return Named("tokens", quiet=True)
    return Named("json", {"keys": len(said)})


def _short(said: Mapping[str, Any], wanted: tuple[str, ...]) -> dict[str, Fact]:
    found: dict[str, Fact] = {}
    for key in wanted:
        value = said.get(key)
        if isinstance(value, str):
            found[key] = safe(value)
        elif isinstance(value, bool | int | float):
            found[key] = value
    return found
