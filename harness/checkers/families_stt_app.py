"""What a cloud does wrong with its STT and its apps: streams and apps that nobody starts again."""

from __future__ import annotations

from harness import events as ev
from harness.checkers.scene import CAPTIONS, Scene
from harness.checkers.timeline import at
from harness.checkers.verdict import Diagnosis


def stt_not_recreated(s: Scene) -> Diagnosis | None:
    """An STT stream closed and was never opened again."""
    if not (s.heard("cloud-in") and s.silent("stt-in")) or not s.broken(*CAPTIONS):
        return None
    closed = [e for e in s.history.all(ev.SttClosed) if e.by != "cloud"]
    proof = [at(s.history, e.t_ns, "stt-in", f"connection {e.conn} closed by {e.by}, {e.code}") for e in closed[-2:]]
    if not closed:
        return None
    why = "audio reaches the cloud, but its closed STT stream was never opened again"
    return Diagnosis("stt-close-not-recreated", why, (*proof, s.hop_proof()))


def app_deaf(s: Scene) -> Diagnosis | None:
    """Words leave the STT and never reach the app."""
    if not (s.heard("stt-out") and s.silent("app-in")) or not s.broken(*CAPTIONS):
        return None
    closed = s.history.all(ev.AppSocketClosed)
    proof = [at(s.history, e.t_ns, "app-in", f"app socket closed {e.code} {e.reason}".rstrip()) for e in closed[-1:]]
    called = [w for w in s.history.all(ev.AppWebhook) if closed and w.t_ns > closed[-1].t_ns]
    why = "words leave the STT and never reach the captions app" + ("" if called else ", which was not called again")
    return Diagnosis("app-runs-but-deaf", why, (*proof, s.hop_proof()))


def apps_not_restarted(s: Scene) -> Diagnosis | None:
    """The app lost its socket and was not called again."""
    if s.silent_from not in {"stt-in", "app-in"} or s.heard("cloud-in") or not s.broken(*CAPTIONS):
        return None
    down = [e for e in s.history.all(ev.EarDeaf) if e.hop == "app-in"]
    if not down or any(w.t_ns > down[-1].t_ns for w in s.history.all(ev.AppWebhook)):
        return None
    if any(e.hop == "app-in" and e.t_ns > down[-1].t_ns for e in s.history.all(ev.EarHearing)):
        return None
    why = "the captions app lost its socket and the cloud never called its webhook again"
    return Diagnosis("apps-not-restarted-on-reconnect", why, (s.hop_proof(),))


def keepalive_health(s: Scene) -> Diagnosis | None:
    """Keepalives without audio, and health said fine."""
    alive = [k for k in s.history.all(ev.SttKeepalive) if k.t_ns >= s.from_ns]
    fine = [h for h in s.history.all(ev.HealthRead) if h.t_ns >= s.from_ns and h.answered and h.says_fine]
    if not s.broken("honest") or not alive or not fine or not s.silent("stt-in"):
        return None
    proof = (
        at(s.history, alive[0].t_ns, "stt-in", f"{len(alive)} keepalives, no audio"),
        at(s.history, fine[0].t_ns, fine[0].component, f"health says fine: {fine[0].answer[:120]}"),
    )
    return Diagnosis("stt-keepalive-false-health", "the STT got keepalives and no audio while health said fine", proof)
