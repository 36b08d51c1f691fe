"""Every delay of the reference cloud as one value; the defaults are the production values of the real cloud."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields

from harness.reference.cloud.errors import BadSetting


@dataclass(frozen=True)
class Timers:
    """Delays in seconds."""

    grace_s: float = 60.0
    """How long a session outlives its phone's socket."""
    ping_s: float = 10.0
    """Between two protocol pings to a phone or an app."""
    pong_s: float = 30.0
    """After the last pong, the phone's socket is closed with 1001."""
    close_s: float = 10.0
    """How long a close handshake is awaited (the WebSocket library's usual value)."""
    rejoin_backoff_s: float = 2.0
    """No second rejoin within this window."""
    stream_reconnect_s: float = 2.0
    """From a stream's end or error, or a failed join, to the first attempt to mend it; each next pause doubles."""
    reconnect_cap_s: float = 4.0
    """No pause between two attempts is longer."""
    replaced_window_s: float = 60.0
    """Who loses the session to another cloud four times within this gives up, until the phone comes again."""
    join_deadline_s: float = 10.0
    """Limit of one JoinRoom."""
    leave_deadline_s: float = 3.0
    """Limit of one LeaveRoom."""
    status_deadline_s: float = 2.0
    """Limit of one GetStatus."""
    ack_wait_s: float = 4.0
    """So long the ACK waits for the bridge's check, and as long again for its join; both then go on without it."""
    audio_gap_s: float = 5.0
    """A connected stream that brings nothing for this long, with the microphone on, is joined anew."""
    audio_gap_check_s: float = 2.0
    """Between two looks for such a gap."""
    audio_gap_cooldown_s: float = 30.0
    """After such a rejoin, no other within this; it doubles as long as no audio comes."""
    stt_connect_s: float = 10.0
    """Limit of one connection attempt to STT."""
    stt_ready_s: float = 1.0
    """From the STT configuration to the first audio."""
    stt_keepalive_s: float = 15.0
    """Between two STT keepalives."""
    stt_retry_s: float = 5.0
    """Delay of the first STT retry; the n-th waits n times as long."""
    stt_recreate_s: float = 1.0
    """From an STT stream's end to the next one; doubled with each that gets nowhere, up to `stt_retry_s`."""
    stt_idle_s: float = 300.0
    """An STT stream without audio for this long is closed when speech ends."""
    app_grace_s: float = 5.0
    """From an app's close to its resurrection."""
    app_connect_s: float = 5.0
    """From the webhook's answer to the app's socket."""
    webhook_s: float = 10.0
    """Limit of one webhook call."""
    webhook_retry_s: float = 1.0
    """Between the two webhook attempts."""
    empty_update_grace_s: float = 8.0
    """An empty subscription update this soon after an app's connection is ignored."""
    subscription_debounce_s: float = 0.1
    """From a subscription update to its effect."""
    mic_debounce_s: float = 1.0
    """Changes of the microphone's state within this window are sent as one."""
    mic_keepalive_s: float = 10.0
    """Between two repetitions of "microphone on"."""
    mic_hold_s: float = 3.0
    """From the last subscription's end to "microphone off"."""
    unauthorized_audio_s: float = 5.0
    """Between two orders to be silent, while audio comes with the microphone off."""
    display_throttle_s: float = 0.3
    """Between two display events; the newest wins."""
    audio_unavailable_s: float = 3.0
    """Without audio for this long with the microphone on, the phone is told."""


def parse_timers(text: str) -> Timers:
    """Read a JSON object of timer names and seconds over the production values; empty text changes nothing.

    Raises BadSetting for text that is no object, a name that is no timer, or a value that is no positive number.
    """
    if not text.strip():
        return Timers()
    try:
        found = json.loads(text)
    except json.JSONDecodeError as problem:
        raise BadSetting(
            f"REFERENCE_TIMERS: expected a JSON object of seconds, seen text that is not JSON ({problem})"
        ) from None
    if not isinstance(found, dict):
        raise BadSetting(f'REFERENCE_TIMERS: expected a JSON object like {{"grace_s": 5}}, seen {text!r}')
    known = [field.name for field in fields(Timers)]
    values: dict[str, float] = {}
    for name, seconds in found.items():
        if name not in known:
            raise BadSetting(f"REFERENCE_TIMERS: unknown timer {name!r}; known: {', '.join(known)}")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0:
            raise BadSetting(f"REFERENCE_TIMERS: expected a positive number of seconds for {name}, seen {seconds!r}")
        values[name] = float(seconds)
    return Timers(**values)
