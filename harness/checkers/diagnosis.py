"""Names the likely incident from the evidence: one small function per family, the most telling first in the table.

A family says what it needs to see and returns None otherwise. To add one: a function in ``families_<part>.py``, and its
line in FAMILIES.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.checkers import (
    families_bridge,
    families_cloud,
    families_half_open,
    families_joins,
    families_packets,
    families_phone,
    families_room,
    families_streams,
    families_stt_app,
)
from harness.checkers.scene import CAPTIONS, Scene
from harness.checkers.verdict import Diagnosis, Outcome, Verdict
from harness.history import History

Family = Callable[[Scene], Diagnosis | None]


def diagnose(history: History, verdicts: Mapping[str, Verdict]) -> tuple[Diagnosis, ...]:
    """Return the incidents that fit, the primary one first; nothing when no guarantee is broken."""
    if all(v.outcome is not Outcome.BROKEN for v in verdicts.values()):
        return ()
    scene = Scene(history, verdicts)
    found = [d for family in FAMILIES if (d := family(scene)) is not None]
    if not any(d.incident not in SECONDARY for d in found):
        found = [*_unnamed(scene), *found]
    return tuple(found)


def findings(history: History, verdicts: Mapping[str, Verdict]) -> tuple[Diagnosis, ...]:
    """Return the incidents seen in a run whose guarantees all hold: worth knowing, nothing broken by them here."""
    if any(v.outcome is Outcome.BROKEN for v in verdicts.values()):
        return ()
    scene = Scene(history, verdicts)
    return tuple(d for family in WORTH_KNOWING if (d := family(scene)) is not None)


def _unnamed(s: Scene) -> list[Diagnosis]:
    """Say where it fell silent when no known incident fits."""
    if not s.broken(*CAPTIONS) or s.silent_from is None:
        return []
    return [Diagnosis("unnamed", f"no known incident fits; silent from {s.silent_from}", (s.hop_proof(),))]


FAMILIES: tuple[Family, ...] = (
    families_room.token_expired,
    families_room.refused_after_kick,
    families_joins.client_beside_session,
    families_bridge.zombie_first_connect,
    families_bridge.join_refused,
    families_bridge.bridge_panic,
    families_streams.two_streams_split_audio,
    families_streams.old_stream_error,
    families_bridge.bridge_sigterm_hangs,
    families_cloud.old_close_disposes,
    families_joins.duplicate_init,
    families_joins.concurrent_join,
    families_joins.join_not_atomic,
    families_half_open.ack_late_slow_webhook,
    families_joins.join_hang,
    families_cloud.orphan_ping_pong,
    families_cloud.sfu_down_at_join,
    families_room.slow_join_given_up,
    families_packets.packet_loss_doubled,
    families_cloud.pcm_byte_order,
    families_cloud.stream_end_not_retried,
    families_cloud.bridge_restart_slower,
    families_room.kicked_agent,
    families_phone.self_kick,
    families_phone.phone_fails_rejoin,
    families_phone.mic_state_lost,
    families_half_open.phone_half_open,
    families_half_open.captions_lag_after_burst,
    families_stt_app.stt_closes_during_init,
    families_stt_app.stt_not_recreated,
    families_stt_app.stt_down_at_subscribe,
    families_stt_app.away_beyond_grace,
    families_stt_app.apps_not_restarted,
    families_stt_app.app_deaf,
    families_cloud.silent_gap,
    families_bridge.bridge_session_leak,
    families_room.session_never_disposed,
    families_cloud.ack_hides_failure,
    families_stt_app.keepalive_health,
    families_cloud.getstatus_missing,
)
"""Every family, the most telling evidence first."""

WORTH_KNOWING: tuple[Family, ...] = (families_cloud.getstatus_missing, families_bridge.refusal_survived)
"""What is told of a run whose guarantees all hold."""

INCIDENTS = frozenset(
    {
        "ack-hides-audio-failure", "ack-late-slow-webhook", "captions-lag-after-burst", "phone-half-open",
        "stt-closes-during-init", "agent-kicked-by-other-environment", "app-runs-but-deaf",
        "apps-not-restarted-on-reconnect", "away-beyond-grace", "bridge-panic-closed-channel",
        "bridge-restart-slower-than-retry", "bridge-session-leak", "bridge-sigterm-hangs",
        "concurrent-join-self-kick", "duplicate-connection-init", "getstatus-missing",
        "join-hang-no-ack", "join-not-atomic", "refusal-new-client-beside-session",
        "join-refused-existing-session", "kicked-agent-unnoticed",
        "mic-state-lost-while-away", "old-close-disposes-live-session",
        "old-stream-error-deletes-new-session", "orphan-client-ping-pong",
        "packet-loss-doubled", "pcm-byte-order",
        "phone-fails-room-rejoin", "refusal-kicked-stream-open", "sfu-down-at-join", "silent-audio-gap",
        "stream-end-not-retried", "stt-close-not-recreated", "stt-down-at-subscribe", "stt-keepalive-false-health",
        "token-expired-after-sleep", "two-streams-split-audio", "zombie-first-connect",
    }
)  # fmt: skip
"""Every incident that a family can name."""

SECONDARY = frozenset({"ack-hides-audio-failure", "stt-keepalive-false-health", "getstatus-missing"})
"""What makes another incident worse rather than being the cause."""
