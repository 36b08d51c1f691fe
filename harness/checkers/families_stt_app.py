"""What a cloud does wrong with its STT and its apps: streams and apps that nobody starts again."""

from __future__ import annotations

import numpy as np

from harness import events as ev
from harness.checkers.hearing import deaf_in
from harness.checkers.scene import CAPTIONS, Scene
from harness.checkers.timeline import Span, at, fault_windows
from harness.checkers.verdict import Diagnosis, Evidence
from harness.frames import Hop

STT_LINK = "cloud->stt"
GRACE_OVER = r"Cleanup grace period expired|Session disposed and removed"
"""What a cloud's log says of a session whose phone stayed away too long."""
STOP = "stop"
"""A webhook of this kind ends an app, it does not start one."""


def stt_not_recreated(s: Scene) -> Diagnosis | None:
    """An STT stream closed and was never opened again."""
    if not _starving_stt(s):
        return None
    closed = [e for e in s.history.all(ev.SttClosed) if e.by != "cloud" and e.t_ns <= s.until_ns]
    if not closed or any(e.t_ns > closed[-1].t_ns for e in s.history.all(ev.SttOpened)):
        return None
    if not _was_ready(s, closed[-1]):
        return None
    proof = [at(s.history, e.t_ns, "stt-in", f"connection {e.conn} closed by {e.by}, {e.code}") for e in closed[-2:]]
    why = "audio reaches the cloud, but its closed STT stream was never opened again"
    return Diagnosis("stt-close-not-recreated", why, (*proof, s.hop_proof()))


def stt_closes_during_init(s: Scene) -> Diagnosis | None:
    """The STT closed a stream before it was ready, and no other was ever opened."""
    if not _starving_stt(s):
        return None
    closed = [e for e in s.history.all(ev.SttClosed) if e.by != "cloud" and e.t_ns <= s.until_ns]
    if not closed or _was_ready(s, closed[-1]) or any(e.t_ns > closed[-1].t_ns for e in s.history.all(ev.SttOpened)):
        return None
    proof = [at(s.history, e.t_ns, "stt-in", f"connection {e.conn} closed before it took audio") for e in closed[-2:]]
    why = "the STT closed the new stream before it was ready, and the cloud never opened another"
    return Diagnosis("stt-closes-during-init", why, (*proof, s.hop_proof()))


def _was_ready(s: Scene, closed: ev.SttClosed) -> bool:
    """Tell whether this connection had come as far as to take audio."""
    return any(e.conn == closed.conn for e in s.history.all(ev.SttOpened))


def stt_down_at_subscribe(s: Scene) -> Diagnosis | None:
    """The STT was away when the app subscribed, and was never asked again."""
    if not _starving_stt(s):
        return None
    asked = [e for e in s.history.all(ev.AppSubscribed) if any("transcription" in w for w in e.subscriptions)]
    if not asked or any(s.history.iter(ev.SttOpened, ev.SttClosed)):
        return None
    refused = [e for e in s.history.all(ev.LinkRefused) if e.link == STT_LINK]
    cut = [e for e in s.history.all(ev.LinkClosed) if e.link == STT_LINK]
    proof = [at(s.history, asked[-1].t_ns, "app-in", f"subscribed to {', '.join(asked[-1].subscriptions)}")]
    proof += [at(s.history, e.t_ns, STT_LINK, f"refused: {e.reason}") for e in refused[-1:]]
    proof += [at(s.history, e.t_ns, STT_LINK, f"closed: {e.how}, by the {e.first}") for e in cut[-1:]]
    why = "the app is subscribed and audio reaches the cloud, but no STT stream was ever opened"
    return Diagnosis("stt-down-at-subscribe", why, (*proof, s.hop_proof()))


def _starving_stt(s: Scene) -> bool:
    """Tell whether the STT heard nothing though the way to the cloud was in order."""
    return s.broken(*CAPTIONS) and s.silent("stt-in") and s.heard("cloud-in")


def away_beyond_grace(s: Scene) -> Diagnosis | None:
    """The phone met a fresh session, and the apps that ran in the one before were not started in it."""
    uncalled = _uncalled(s)
    if uncalled is None:
        return None
    down, back = uncalled
    ended = _session_ended(s, back.t_ns)
    if ended is None:
        return None
    why = "the phone came back to a fresh session, and the cloud never called the webhook of the app that ran before"
    proof = (ended, _app_closed(s, down), at(s.history, back.t_ns, back.proc or "phone", "socket open"))
    return Diagnosis("away-beyond-grace", why, (*proof, s.hop_proof()))


def apps_not_restarted(s: Scene) -> Diagnosis | None:
    """The app went down, the phone came back to its session, and the app was not started again."""
    uncalled = _uncalled(s)
    if uncalled is None or _session_ended(s, uncalled[1].t_ns) is not None:
        return None
    down, back = uncalled
    why = "the captions app had lost its socket, the phone came back, and the cloud never called the app's webhook"
    proof = (_app_closed(s, down), at(s.history, back.t_ns, back.proc or "phone", "socket open"))
    return Diagnosis("apps-not-restarted-on-reconnect", why, (*proof, s.hop_proof()))


def _uncalled(s: Scene) -> tuple[ev.AppSocketClosed | ev.EarDeaf, ev.PhoneSocketOpen] | None:
    """Return how the app went down and when its phone came back, when nobody called the app after that."""
    down = app_down(s)
    if down is None or not s.broken(*CAPTIONS):
        return None
    back = [e for e in s.history.all(ev.PhoneSocketOpen) if e.t_ns > down.t_ns]
    if not back or any(w.t_ns > down.t_ns for w in _calls(s)):
        return None
    return down, back[-1]


def _session_ended(s: Scene, until_ns: int) -> Evidence | None:
    """Return what ended the session in which the app ran, before ``until_ns``: its grace, or the cloud's own end."""
    ran = [e.t_ns for e in s.history.all(ev.AppSocketOpen) if e.t_ns <= until_ns]
    from_ns = max(s.struck_ns, *ran[-1:]) if ran else s.struck_ns
    expired = [e for e in s.log("cloud", GRACE_OVER, from_ns) if e.t_ns <= until_ns]
    if expired:
        return s.proof(expired[-1])[0]
    started = [e for e in s.history.all(ev.ComponentStarted) if e.component.startswith("cloud")]
    anew = [e for e in started if from_ns <= e.t_ns <= until_ns]
    return at(s.history, anew[-1].t_ns, anew[-1].component, "started anew") if anew else None


def app_deaf(s: Scene) -> Diagnosis | None:
    """The app's socket closed and nobody noticed; or words leave the STT and never reach the app."""
    if not s.broken(*CAPTIONS) or _uncalled(s) is not None:
        return None
    down = app_down(s)
    if down is not None and not any(w.t_ns > down.t_ns for w in _calls(s)):
        why = "the captions app's socket closed, and the cloud never called its webhook again"
        return Diagnosis("app-runs-but-deaf", why, (_app_closed(s, down), s.hop_proof()))
    if s.heard("stt-out") and s.silent("app-in"):
        return Diagnosis("app-runs-but-deaf", "words leave the STT and never reach the captions app", (s.hop_proof(),))
    return None


def app_down(s: Scene) -> ev.AppSocketClosed | ev.EarDeaf | None:
    """Return how the app's socket ended for good; None while it is open, or when its phone hears captions again.

    What it dials after that and is refused is no socket that ended.
    """
    deaf = [e for e in s.history.all(ev.EarDeaf) if e.hop == "app-in"]
    closed: list[ev.AppSocketClosed | ev.EarDeaf] = [*s.history.all(ev.AppSocketClosed), *deaf]
    ended = [e for e in closed if e.t_ns <= s.until_ns]
    hearing = [e.t_ns for e in s.history.all(ev.EarHearing) if e.hop == "app-in"]
    opened = max([e.t_ns for e in s.history.all(ev.AppSocketOpen)] + hearing, default=0)
    since = [e for e in ended if e.t_ns > opened]
    return min(since, key=lambda e: e.t_ns) if since and not s.heard("app-in") else None


def _app_closed(s: Scene, down: ev.AppSocketClosed | ev.EarDeaf) -> Evidence:
    text = down.reason if isinstance(down, ev.EarDeaf) else f"app socket closed {down.code} {down.reason}".rstrip()
    return at(s.history, down.t_ns, "app-in", text)


def _calls(s: Scene) -> list[ev.AppWebhook]:
    return [w for w in s.history.all(ev.AppWebhook) if STOP not in w.type]


def keepalive_health(s: Scene) -> Diagnosis | None:
    """No audio for the STT, its stream kept alive, and health said fine."""
    if not s.broken("honest"):
        return None
    for from_ns, until_ns in _troubled(s):
        fine = [
            h for h in s.history.all(ev.HealthRead)
            if from_ns <= h.t_ns <= until_ns and h.component.startswith("cloud") and h.answered and h.says_fine
        ]  # fmt: skip
        kept = _stream_kept(s, from_ns, until_ns)
        if not fine or kept is None or not _stt_got_nothing(s, from_ns, until_ns):
            continue
        health = at(s.history, fine[-1].t_ns, fine[-1].component, f"health says fine: {fine[-1].answer[:120]}")
        why = "the STT got keepalives and no audio while health said fine"
        return Diagnosis("stt-keepalive-false-health", why, (kept, health))
    return None


def _troubled(s: Scene) -> list[tuple[int, int]]:
    """Return the stretches in which audio may have been missing: under each fault, and since the anchor."""
    windows = [(w.landed_ns, w.end_ns) for w in fault_windows(s.history) if w.end_ns is not None]
    return [*windows, (s.from_ns, s.until_ns)]


def _stt_got_nothing(s: Scene, from_ns: int, until_ns: int) -> bool:
    """Tell whether our STT, while it listened, was sent no audio for most of this stretch, though it may be later."""
    if deaf_in(s.history, "stt-in", Span(from_ns, until_ns)) is not None:
        return False
    heard_ns = s.history.at_hop(Hop.STT_IN)["t_ns"].astype(np.int64)
    edges = np.sort(np.append(heard_ns[(heard_ns > from_ns) & (heard_ns < until_ns)], [from_ns, until_ns]))
    return int(np.diff(edges).max()) * 2 > until_ns - from_ns


def _stream_kept(s: Scene, from_ns: int, until_ns: int) -> Evidence | None:
    """Return a keepalive of a connection in this stretch; None when there was none."""
    alive = [k for k in s.history.all(ev.SttKeepalive) if from_ns <= k.t_ns <= until_ns]
    return at(s.history, alive[0].t_ns, "stt-in", f"{len(alive)} keepalives, no audio") if alive else None
