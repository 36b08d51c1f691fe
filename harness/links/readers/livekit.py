"""LiveKit's signalling as it passes: the name of each signal and why somebody left, never a token.

SignalRequest goes to the server, SignalResponse comes from it; binary frames are protobuf, text frames its JSON.
Names of fields: livekit-protocol (livekit_rtc.proto).
"""

from __future__ import annotations

from typing import Any

from google.protobuf.json_format import Parse, ParseError
from google.protobuf.message import DecodeError
from livekit.protocol import models, rtc

from harness.events.wire import Fact
from harness.links.readers.websocket import Named, safe
from harness.links.reading import Unreadable, Way

_FREQUENT = frozenset({
    "ping", "ping_req", "pong", "pong_resp", "connection_quality", "speakers_changed", "trickle",
})  # fmt: skip
"""They come over and over: they are counted, not written down."""
_PATHS = ("/rtc", "/rtc/v1")


def is_signalling(path: str) -> bool:
    """Tell whether a WebSocket at ``path`` is LiveKit's signalling (v0 or v1), whatever stands before it."""
    return path.rstrip("/").endswith(_PATHS)


def name_signal(way: Way, payload: bytes, is_text: bool) -> Named:
    """Name one signal; a frame that holds none that is known is ``unknown``.

    Raises:
        Unreadable: it is no protobuf of this protocol, or no JSON of it.
    """
    wanted = rtc.SignalRequest if way == "to-target" else rtc.SignalResponse
    try:
        if is_text:
            signal = Parse(payload, wanted(), ignore_unknown_fields=True, max_recursion_depth=50)
        else:
            signal = wanted.FromString(payload)
    except (DecodeError, ParseError, ValueError, RecursionError) as error:
        sort = "JSON" if is_text else "protobuf"
        raise Unreadable(
            f"expected a LiveKit {wanted.DESCRIPTOR.name} {way}; seen {len(payload)} bytes of broken {sort}"
        ) from error
    name = signal.WhichOneof("message")
    if name is None:
        return Named("unknown", {"bytes": len(payload)}, quiet=True)
    return Named(name, _facts(name, getattr(signal, name)), quiet=name in _FREQUENT)


def _facts(name: str, body: Any) -> dict[str, Fact]:
    if name == "leave":
        facts: dict[str, Fact] = {
            "reason": _word(models.DisconnectReason, body.reason),
            "action": _word(rtc.LeaveRequest.Action, body.action),
        }
        return facts | ({"can_reconnect": True} if body.can_reconnect else {})
    if name == "join":
        return {
            "identity": safe(body.participant.identity), "sid": safe(body.participant.sid),
            "room": safe(body.room.name), "server_version": safe(body.server_version),
            "others": len(body.other_participants),
        }  # fmt: skip
    if name == "update":
        who = [f"{one.identity} {_word(models.ParticipantInfo.State, one.state)}" for one in body.participants[:10]]
        return {"participants": len(body.participants), "who": safe(", ".join(who))}
    if name == "request_response":
        return {"reason": _word(rtc.RequestResponse.Reason, body.reason)}
    if name == "trickle":
        return {"target": _word(rtc.SignalTarget, body.target), **({"final": True} if body.final else {})}
    return {}


def _word(enum: Any, number: int) -> str:
    """Return an enum's word; the number of one that is newer than we are."""
    try:
        return str(enum.Name(number))
    except ValueError:
        return str(number)
