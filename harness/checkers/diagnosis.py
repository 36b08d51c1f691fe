"""Names the likely incident from the evidence: one small function per family, the most telling first in the table.

A family says what it needs to see and returns None otherwise. To add one: a function, and its line in FAMILIES.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness import events as ev
from harness.checkers.scene import Scene
from harness.checkers.timeline import at
from harness.checkers.verdict import Diagnosis, Outcome, Verdict
from harness.history import History

Family = Callable[[Scene], Diagnosis | None]
CAPTIONS = ("resumes", "honest", "bounded_loss")
JOIN_FAILED = r"JoinRoom returned failure|JoinRoom RPC failed|Failed to start bridge subscriber|Bridge rejoin failed"


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
    return tuple(d for family in (_getstatus_missing, _refusal_survived) if (d := family(scene)) is not None)


def _zombie_first_connect(s: Scene) -> Diagnosis | None:
    if not s.broken(*CAPTIONS):
        return None
    refused = [line for line in s.refused if line.t_ns >= s.struck_ns and s.fresh_when(line)]
    if refused:
        zombie = "; the gate had seen the session" if s.zombies else ""
        why = f"a fresh cloud's first JoinRoom was refused: a session without an owner was in the bridge{zombie}"
        return Diagnosis("zombie-first-connect", why, (*s.zombies, *s.proof(*refused), s.hop_proof()))
    failed = s.log("cloud", JOIN_FAILED, s.struck_ns)
    if s.zombies and s.silent_from in {"bridge-out", "cloud-in", "stt-in"} and not (s.refused or s.replaced):
        why = "the gate saw a session without an owner, and no audio came out of the bridge after that"
        return Diagnosis("zombie-first-connect", why, (*s.zombies, *s.proof(*failed), s.hop_proof()))
    return None


def _join_refused(s: Scene) -> Diagnosis | None:
    refused = [line for line in s.refused if line.t_ns >= s.struck_ns and not s.fresh_when(line)]
    if not refused or not s.broken(*CAPTIONS):
        return None
    why = "a living cloud joined again and the bridge refused: the session was still there"
    return Diagnosis("join-refused-existing-session", why, (*s.proof(*refused), s.hop_proof()))


def _sfu_down_at_join(s: Scene) -> Diagnosis | None:
    failed = s.log("cloud", r"JoinRoom returned failure.*failed to connect to room", s.struck_ns)
    failed = failed or s.log("bridge", r"failed to connect to room", s.struck_ns)
    if not failed or not s.broken(*CAPTIONS):
        return None
    why = "the bridge could not reach LiveKit when it was asked to join, and nobody asked again"
    return Diagnosis("sfu-down-at-join", why, (*s.proof(*failed), s.hop_proof()))


def _bridge_panic(s: Scene) -> Diagnosis | None:
    lines = s.log("bridge", r"send on closed channel")
    if not lines or not s.broken("alive", *CAPTIONS):
        return None
    why = "the bridge panicked on a packet that came after its session was closed"
    return Diagnosis("bridge-panic-closed-channel", why, s.proof(*lines))


def _pcm_byte_order(s: Scene) -> Diagnosis | None:
    verdict = s.verdicts.get("intact")
    if verdict is None or not s.broken("intact") or not any(w in verdict.because for w in ("swapped", "slipped")):
        return None
    return Diagnosis("pcm-byte-order", "samples arrive with exchanged or shifted bytes", verdict.evidence)


def _bridge_restart_slower(s: Scene) -> Diagnosis | None:
    lines = s.log("cloud", r"Reconnection failed", s.struck_ns)
    if not lines or not s.broken(*CAPTIONS):
        return None
    joined = s.log("cloud", r"Joined LiveKit room|Bridge rejoined LiveKit room", lines[0].t_ns)
    if joined:
        return None
    why = "the cloud tried its bridge once, too early, and never again"
    return Diagnosis("bridge-restart-slower-than-retry", why, (*s.proof(*lines), s.hop_proof()))


def _kicked_agent(s: Scene) -> Diagnosis | None:
    lines = s.log("bridge", r"Disconnected from LiveKit room", s.struck_ns)
    if not lines or s.silent_from not in {"bridge-out", "cloud-in", "stt-in"} or not s.broken(*CAPTIONS):
        return None
    bridges = {c.component for c in s.history.all(ev.ComponentStarted) if c.component.startswith("bridge")}
    incident = "agent-kicked-by-other-environment" if len(bridges) > 1 else "kicked-agent-unnoticed"
    why = "the agent lost its place in the room, and nobody brought it back"
    return Diagnosis(incident, why, (*s.proof(*lines), s.hop_proof()))


def _phone_fails_rejoin(s: Scene) -> Diagnosis | None:
    if s.silent_from not in {"phone-out", "sfu"} or not s.broken(*CAPTIONS):
        return None
    if s.silent_from == "phone-out" and s.hops["phone-out"].note != "no room":
        return None
    failed = [e for e in s.history.all(ev.RoomDialFailed) if e.t_ns >= s.struck_ns]
    lost = [e for e in s.history.all(ev.RoomLost) if e.t_ns >= s.struck_ns]
    proof = [at(s.history, e.t_ns, e.proc or "phone", f"dial {e.attempt} to the room: {e.reason}") for e in failed[:2]]
    proof += [at(s.history, e.t_ns, e.proc or "phone", f"room lost: {e.reason}") for e in lost[:2]]
    why = "the phone's socket works, but its audio never got into a room"
    return Diagnosis("phone-fails-room-rejoin", why, (*proof, s.hop_proof()))


def _mic_state_lost(s: Scene) -> Diagnosis | None:
    if s.silent_from != "phone-out" or s.hops["phone-out"].note != "microphone off" or not s.broken(*CAPTIONS):
        return None
    why = "the phone's microphone stayed off: the cloud never switched it on again"
    return Diagnosis("mic-state-lost-while-away", why, (s.hop_proof(),))


def _stt_not_recreated(s: Scene) -> Diagnosis | None:
    if not (s.heard("cloud-in") and s.silent("stt-in")) or not s.broken(*CAPTIONS):
        return None
    closed = [e for e in s.history.all(ev.SttClosed) if e.by != "cloud"]
    proof = [at(s.history, e.t_ns, "stt-in", f"connection {e.conn} closed by {e.by}, {e.code}") for e in closed[-2:]]
    if not closed:
        return None
    why = "audio reaches the cloud, but its closed STT stream was never opened again"
    return Diagnosis("stt-close-not-recreated", why, (*proof, s.hop_proof()))


def _app_deaf(s: Scene) -> Diagnosis | None:
    if not (s.heard("stt-out") and s.silent("app-in")) or not s.broken(*CAPTIONS):
        return None
    closed = s.history.all(ev.AppSocketClosed)
    proof = [at(s.history, e.t_ns, "app-in", f"app socket closed {e.code} {e.reason}".rstrip()) for e in closed[-1:]]
    called = [w for w in s.history.all(ev.AppWebhook) if closed and w.t_ns > closed[-1].t_ns]
    why = "words leave the STT and never reach the captions app" + ("" if called else ", which was not called again")
    return Diagnosis("app-runs-but-deaf", why, (*proof, s.hop_proof()))


def _apps_not_restarted(s: Scene) -> Diagnosis | None:
    if s.silent_from not in {"stt-in", "app-in"} or s.heard("cloud-in") or not s.broken(*CAPTIONS):
        return None
    down = [e for e in s.history.all(ev.EarDeaf) if e.hop == "app-in"]
    if not down or any(w.t_ns > down[-1].t_ns for w in s.history.all(ev.AppWebhook)):
        return None
    if any(e.hop == "app-in" and e.t_ns > down[-1].t_ns for e in s.history.all(ev.EarHearing)):
        return None
    why = "the captions app lost its socket and the cloud never called its webhook again"
    return Diagnosis("apps-not-restarted-on-reconnect", why, (s.hop_proof(),))


def _silent_gap(s: Scene) -> Diagnosis | None:
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


def _getstatus_missing(s: Scene) -> Diagnosis | None:
    lines = s.log("cloud", r"GetStatus threw")
    if not lines:
        return None
    why = f"the cloud cannot ask the bridge for its status (GetStatus threw, {len(lines)} times): it reconnects blindly"
    return Diagnosis("getstatus-missing", why, s.proof(*lines))


def _refusal_survived(s: Scene) -> Diagnosis | None:
    resumed = s.verdicts.get("resumes")
    if not s.refused or resumed is None or resumed.outcome is not Outcome.HOLDS:
        return None
    why = "the bridge refused a JoinRoom because a session was there; captions came back all the same"
    return Diagnosis("join-refused-existing-session", why, s.proof(*s.refused))


def _ack_hides_failure(s: Scene) -> Diagnosis | None:
    failed = s.log("cloud", JOIN_FAILED, s.struck_ns)
    if not s.broken("honest") or not s.acks or not (failed or s.refused):
        return None
    ack = s.acks[0]
    said = at(s.history, ack.t_ns, ack.proc or "phone", "ACK with livekit: connected")
    why = "the phone was told it is connected, with LiveKit, though the bridge had not joined; no message followed"
    return Diagnosis("ack-hides-audio-failure", why, (said, *s.proof(*(failed or s.refused))))


def _keepalive_health(s: Scene) -> Diagnosis | None:
    alive = [k for k in s.history.all(ev.SttKeepalive) if k.t_ns >= s.from_ns]
    fine = [h for h in s.history.all(ev.HealthRead) if h.t_ns >= s.from_ns and h.answered and h.says_fine]
    if not s.broken("honest") or not alive or not fine or not s.silent("stt-in"):
        return None
    proof = (
        at(s.history, alive[0].t_ns, "stt-in", f"{len(alive)} keepalives, no audio"),
        at(s.history, fine[0].t_ns, fine[0].component, f"health says fine: {fine[0].answer[:120]}"),
    )
    return Diagnosis("stt-keepalive-false-health", "the STT got keepalives and no audio while health said fine", proof)


def _unnamed(s: Scene) -> list[Diagnosis]:
    """Say where it fell silent when no known incident fits."""
    if not s.broken(*CAPTIONS) or s.silent_from is None:
        return []
    return [Diagnosis("unnamed", f"no known incident fits; silent from {s.silent_from}", (s.hop_proof(),))]


FAMILIES: tuple[Family, ...] = (
    _zombie_first_connect, _join_refused, _bridge_panic, _sfu_down_at_join, _pcm_byte_order, _bridge_restart_slower,
    _kicked_agent, _phone_fails_rejoin, _mic_state_lost, _stt_not_recreated, _app_deaf, _apps_not_restarted,
    _silent_gap, _ack_hides_failure, _keepalive_health, _getstatus_missing,
)  # fmt: skip
"""Every family, the most telling evidence first."""

SECONDARY = frozenset({"ack-hides-audio-failure", "stt-keepalive-false-health", "getstatus-missing"})
"""What makes another incident worse rather than being the cause."""
