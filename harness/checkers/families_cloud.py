"""What a cloud does wrong with its bridge: joins and streams it does not try again, silence that it does not see."""

from __future__ import annotations

from harness import events as ev
from harness.checkers.scene import CAPTIONS, JOIN_FAILED, Scene
from harness.checkers.timeline import at
from harness.checkers.verdict import Diagnosis


def sfu_down_at_join(s: Scene) -> Diagnosis | None:
    """LiveKit was away when the bridge was asked to join."""
    failed = s.log("cloud", r"JoinRoom returned failure.*failed to connect to room", s.struck_ns)
    failed = failed or s.log("bridge", r"failed to connect to room", s.struck_ns)
    if not failed or not s.broken(*CAPTIONS):
        return None
    why = "the bridge could not reach LiveKit when it was asked to join, and nobody asked again"
    return Diagnosis("sfu-down-at-join", why, (*s.proof(*failed), s.hop_proof()))


def bridge_restart_slower(s: Scene) -> Diagnosis | None:
    """The bridge came back later than the one time the cloud tried."""
    lines = s.log("cloud", r"Reconnection failed", s.struck_ns)
    if not lines or not s.broken(*CAPTIONS):
        return None
    joined = s.log("cloud", r"Joined LiveKit room|Bridge rejoined LiveKit room", lines[0].t_ns)
    if joined:
        return None
    why = "the cloud tried its bridge once, too early, and never again"
    return Diagnosis("bridge-restart-slower-than-retry", why, (*s.proof(*lines), s.hop_proof()))


def silent_gap(s: Scene) -> Diagnosis | None:
    """Nothing comes out of the bridge, and nobody says why."""
    if s.silent_from not in {"bridge-out", "cloud-in"} or not s.broken(*CAPTIONS):
        return None
    if s.refused or s.log("cloud", JOIN_FAILED + "|Reconnection failed", s.struck_ns):
        return None
    if s.zombies and not s.replaced:
        return None  # the session without an owner explains the silence
    read = [r for r in s.history.all(ev.BridgeRead) if any(r.connected.values()) and r.t_ns >= s.struck_ns]
    proof = [at(s.history, r.t_ns, "bridge", "GetStatus says connected") for r in read[-1:]]
    status = ", though the bridge says connected" if read else ""
    why = f"the room hears the phone and nothing comes out of the bridge{status}; nobody watches for silence"
    return Diagnosis("silent-audio-gap", why, (s.hop_proof(), *proof))


def getstatus_missing(s: Scene) -> Diagnosis | None:
    """The cloud's gRPC client has no GetStatus."""
    lines = s.log("cloud", r"GetStatus threw")
    if not lines:
        return None
    why = f"the cloud cannot ask the bridge for its status (GetStatus threw, {len(lines)} times): it reconnects blindly"
    return Diagnosis("getstatus-missing", why, s.proof(*lines))


def ack_hides_failure(s: Scene) -> Diagnosis | None:
    """An ACK with LiveKit, though the join had failed."""
    failed = s.log("cloud", JOIN_FAILED, s.struck_ns)
    if not s.broken("honest") or not s.acks or not (failed or s.refused):
        return None
    ack = s.acks[0]
    said = at(s.history, ack.t_ns, ack.proc or "phone", "ACK with livekit: connected")
    why = "the phone was told it is connected, with LiveKit, though the bridge had not joined; no message followed"
    return Diagnosis("ack-hides-audio-failure", why, (said, *s.proof(*(failed or s.refused))))


def pcm_byte_order(s: Scene) -> Diagnosis | None:
    """Samples arrive with exchanged or shifted bytes."""
    verdict = s.verdicts.get("intact")
    if verdict is None or not s.broken("intact") or not any(w in verdict.because for w in ("swapped", "slipped")):
        return None
    return Diagnosis("pcm-byte-order", "samples arrive with exchanged or shifted bytes", verdict.evidence)
