"""Who is there and does not answer: phones nobody gives up, an ACK that waits for a webhook, audio that queues up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness import events as ev
from harness.checkers.people import is_user
from harness.checkers.scene import CAPTIONS, Scene
from harness.checkers.timeline import FaultWindow, at, fault_windows
from harness.checkers.verdict import Diagnosis
from harness.clock import SECOND_NS
from harness.frames import Hop

PHONE_LINK, APP_LINK = "phone->cloud", "cloud->app"
SHUT = ("Blackhole", "Stall")
"""The faults by which nothing passes a link and nothing ends."""
SILENT_NS = 4 * SECOND_NS
"""A phone of which nothing came for so long was silent for longer than the shortest pong timeout we know (3 s)."""
WEBHOOK = "POST /webhook"
NEAR_NS = 5 * SECOND_NS
"""The app's own word of a request follows it within this, also where the app is slow to take it."""
ACK_LATE_NS = 3 * SECOND_NS
"""The proposed budget of an ACK."""
SETTLED_NS = 3 * SECOND_NS
"""So long after a fault what had waited may still be on its way all at once."""
LAG_NS = 5 * SECOND_NS
"""The real system's budget from speech to caption."""


def phone_half_open(s: Scene) -> Diagnosis | None:
    """Nothing came from the phone for long, and its socket was never given up."""
    if not s.broken("resumes", "clean"):
        return None
    for window in fault_windows(s.history):
        shut = window.fault.startswith(SHUT) and PHONE_LINK in window.fault
        if not shut or window.end_ns is None or window.end_ns - window.landed_ns < SILENT_NS:
            continue
        if not any(not _ended_since(s, window, person) for person in _there(s, window)):
            continue
        silent_s = (window.end_ns - window.landed_ns) / SECOND_NS
        why = f"nothing passed between phone and cloud for {silent_s:.1f} s, and nobody gave its socket up"
        proof = at(s.history, window.landed_ns, PHONE_LINK, f"{window.fault}: {window.proof}")
        return Diagnosis("phone-half-open", why, (proof, s.hop_proof()))
    return None


def _there(s: Scene, window: FaultWindow) -> list[str]:
    """Return the people whose phones had a socket open when the hole came."""
    opened = {e.person: e.t_ns for e in s.history.all(ev.PhoneSocketOpen) if e.t_ns <= window.landed_ns}
    closed = {e.person: e.t_ns for e in s.history.all(ev.PhoneSocketClosed) if e.t_ns <= window.landed_ns}
    return [person for person, t_ns in opened.items() if closed.get(person, 0) < t_ns]


def _ended_since(s: Scene, window: FaultWindow, person: str) -> bool:
    """Tell whether anybody closed a socket of this phone since the hole: by frame, by its end, or by a new dial."""
    said = [e for e in s.history.all(ev.WireSaid) if e.link == PHONE_LINK and e.t_ns <= s.until_ns]
    users = {e.conn: str(e.facts["user"]) for e in said if e.what == "request" and "user" in e.facts}
    closed = [e for e in said if e.what == "close" and e.t_ns >= window.landed_ns]
    wire = any(is_user(s.history, person, users.get(e.conn, "")) for e in closed)
    seen = [(e.person, e.t_ns) for e in s.history.all(ev.PhoneSocketClosed)]
    seen += [(e.person, e.t_ns) for e in s.history.all(ev.PhoneDialing)]
    seen += [(e.person, e.t_ns) for e in s.history.all(ev.PhoneSocketOpen)]
    return wire or any(one == person and window.landed_ns <= t_ns <= s.until_ns for one, t_ns in seen)


def ack_late_slow_webhook(s: Scene) -> Diagnosis | None:
    """The ACK did not come before the app's webhook was answered, or for longer than an ACK may take."""
    if not s.broken(*CAPTIONS):
        return None
    acks = [m.t_ns for m in s.history.all(ev.PhoneMessage) if m.type == "connection_ack"]
    for opened in reversed(s.history.all(ev.PhoneSocketOpen)):
        came_ns = min((t_ns for t_ns in acks if t_ns >= opened.t_ns), default=s.until_ns)
        called = [
            w
            for w in s.history.all(ev.AppWebhook)
            if opened.t_ns - SECOND_NS < w.t_ns <= came_ns and "stop" not in w.type
        ]
        if came_ns - opened.t_ns < ACK_LATE_NS or not called or came_ns - called[0].t_ns < ACK_LATE_NS:
            continue
        if _webhook_waited_ns(s, called[0].t_ns, came_ns) < ACK_LATE_NS:
            continue
        waited_s = (came_ns - opened.t_ns) / SECOND_NS
        why = f"the phone had no ACK for {waited_s:.1f} s, while the cloud waited for a webhook that was not answered"
        socket = at(s.history, opened.t_ns, opened.proc or "phone", "socket open")
        webhook = at(s.history, called[0].t_ns, "app", f"webhook {called[0].type} called, and left unanswered")
        return Diagnosis("ack-late-slow-webhook", why, (socket, webhook, s.hop_proof()))
    return None


def _webhook_waited_ns(s: Scene, called_ns: int, came_ns: int) -> int:
    """Return how long the request of this call had no answer until ``came_ns``; 0 where the wire does not show it."""
    said = [e for e in s.history.all(ev.WireSaid) if e.link == APP_LINK and e.name == WEBHOOK]
    asked = [e for e in said if e.what == "request" and 0 <= called_ns - e.t_ns < NEAR_NS]
    if not asked:
        return 0
    request = asked[-1]
    answered = [e.t_ns for e in said if e.what == "reply" and e.conn == request.conn and e.t_ns >= request.t_ns]
    return min([*answered, came_ns]) - request.t_ns


def captions_lag_after_burst(s: Scene) -> Diagnosis | None:
    """Audio came to the cloud in time, and goes to the STT much later, at the speed of speech."""
    if not s.broken("timely", "resumes"):
        return None
    healed_ns = max((w.end_ns or w.landed_ns for w in fault_windows(s.history)), default=s.from_ns)
    lag_ns, t_ns = _worst_wait(s, healed_ns + SETTLED_NS)
    if lag_ns < LAG_NS:
        return None
    why = f"audio waited up to {lag_ns / SECOND_NS:.1f} s in the cloud before it went to the STT, long after the fault"
    proof = at(s.history, t_ns, "stt-in", f"heard {lag_ns / SECOND_NS:.1f} s after cloud-in had it")
    return Diagnosis("captions-lag-after-burst", why, (proof, s.hop_proof()))


def _worst_wait(s: Scene, since_ns: int) -> tuple[int, int]:
    """Return how long the frame that the STT heard latest, after cloud-in, had waited, and when it was heard."""
    cloud, stt = s.history.at_hop(Hop.CLOUD_IN), s.history.at_hop(Hop.STT_IN)
    stt = stt[stt["t_ns"].astype(np.int64) > since_ns]
    came, first = np.unique(_keys(cloud), return_index=True)
    wanted = _keys(stt)
    known = np.isin(wanted, came)
    if not known.any():
        return 0, since_ns
    heard_ns = stt["t_ns"].astype(np.int64)[known]
    waited_ns = heard_ns - cloud["t_ns"].astype(np.int64)[first[np.searchsorted(came, wanted[known])]]
    worst = int(waited_ns.argmax())
    return int(waited_ns[worst]), int(heard_ns[worst])


def _keys(frames: NDArray[np.void]) -> NDArray[np.int64]:
    return (frames["speaker"].astype(np.int64) << 32) | frames["index"].astype(np.int64)
