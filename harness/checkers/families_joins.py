"""Joins that meet trouble, told by the wire: two at once, one without an answer, one beside a session nobody left."""

from __future__ import annotations

from itertools import pairwise

from harness import events as ev
from harness.checkers.people import is_user, same_user, user_in
from harness.checkers.scene import CAPTIONS, Scene
from harness.checkers.timeline import at
from harness.checkers.verdict import Diagnosis, Evidence
from harness.clock import SECOND_NS

UNANSWERED_NS = 5 * SECOND_NS
"""A cloud whose calls have a deadline acknowledges a phone within 4 s of its JoinRoom, answered or not."""
AT_ONCE_NS = 3 * SECOND_NS
"""Joins further apart do not race."""
AGENT = "cloud-agent:"
AFTER_INIT_NS = 3 * SECOND_NS
"""So soon after a connection_init a join is its doing."""


def concurrent_join(s: Scene) -> Diagnosis | None:
    """Two paths of one cloud join for one user: the second asks before the first has used its answer."""
    if not s.broken("clean", *CAPTIONS):
        return None
    joins = _calls(s, "JoinRoomRequest")
    for first, second in ((a, b) for a in joins for b in joins if a.t_ns < b.t_ns and _at(a) != _at(b)):
        if first.facts.get("user") != second.facts.get("user") or first.link != second.link:
            continue
        used = [e.t_ns for e in _of_calls(s, "request", "StreamAudio") if _at(e) == _at(first) and e.t_ns > first.t_ns]
        left = any(_at(e) == _at(first) and e.t_ns < second.t_ns for e in _calls(s, "LeaveRoomRequest", first.t_ns))
        asked = _opened_between(s, _user(first), first.t_ns - SECOND_NS, second.t_ns)
        if used and used[0] > second.t_ns and not left and asked <= 1:
            why = "two paths of the cloud joined for one user at once: a second JoinRoom before the first's stream"
            return Diagnosis("concurrent-join-self-kick", why, (*_proof(s, first, second), s.hop_proof()))
    return None


def duplicate_init(s: Scene) -> Diagnosis | None:
    """A connection_init of an acknowledged phone made a second bridge client join."""
    if not s.broken("clean", *CAPTIONS):
        return None
    asked = [e for e in s.history.all(ev.WireSaid) if e.what == "request" and e.link.startswith("phone")]
    users = {_at(e): _user(e) for e in asked if _user(e)}
    for init in _said(s, "message", "connection_init"):
        if not init.link.startswith("phone"):
            continue
        for join in _calls(s, "JoinRoomRequest", init.t_ns):
            if not same_user(users.get(_at(init), ""), _user(join)):
                continue
            earlier = [e for e in _calls(s, "JoinRoomRequest") if _at(e) == _at(join) and e.t_ns < join.t_ns]
            soon = join.t_ns - init.t_ns < AFTER_INIT_NS
            if soon and not earlier and not _opened_between(s, _user(join), init.t_ns, join.t_ns):
                why = "the phone said connection_init again, and the cloud joined once more by a client of its own"
                return Diagnosis("duplicate-connection-init", why, (*_proof(s, init, join), s.hop_proof()))
    return None


def join_hang(s: Scene) -> Diagnosis | None:
    """A phone waits for its ACK as long as the bridge does not answer JoinRoom."""
    if not s.broken("honest", "resumes"):
        return None
    acks = [(m.person, m.t_ns) for m in s.history.all(ev.PhoneMessage) if m.type == "connection_ack"]
    for opened in s.history.all(ev.PhoneSocketOpen):
        dialed_ns = _dialed_ns(s, opened)
        ack_ns = min((t for person, t in acks if person == opened.person and t > opened.t_ns), default=s.until_ns)
        joins = [
            e for e in _calls(s, "JoinRoomRequest", dialed_ns)
            if e.t_ns < ack_ns and is_user(s.history, opened.person, _user(e))
        ]  # fmt: skip
        left = _closed_between(s, opened.person, opened.t_ns, ack_ns)
        if joins and ack_ns - joins[0].t_ns > UNANSWERED_NS and not left:
            waited_s = (ack_ns - joins[0].t_ns) / SECOND_NS
            why = f"the cloud asked for the join, and did not acknowledge the phone for {waited_s:.1f} s: no deadline"
            return Diagnosis("join-hang-no-ack", why, (*_proof(s, joins[0]), s.hop_proof()))
    return None


def _dialed_ns(s: Scene, opened: ev.PhoneSocketOpen) -> int:
    """Return when this socket was dialed: the cloud may have begun its join before the phone notes that it is open."""
    dials = [e.t_ns for e in s.history.all(ev.PhoneDialing) if e.person == opened.person and e.t_ns <= opened.t_ns]
    return max(dials, default=opened.t_ns)


def join_not_atomic(s: Scene) -> Diagnosis | None:
    """Two joins of one user at once in the bridge: the later kicks the earlier out, and the kicked one was kept."""
    if not s.broken("clean", *CAPTIONS) or s.silent_from not in {"bridge-out", "cloud-in", "stt-in"}:
        return None
    agents = [
        e for e in s.history.all(ev.WireSaid)
        if e.what == "request" and e.link.endswith("->livekit") and str(e.facts.get("identity", "")).startswith(AGENT)
    ]  # fmt: skip
    for first, second in pairwise(agents):
        same = first.link == second.link and first.facts["identity"] == second.facts["identity"]
        if not same or second.t_ns - first.t_ns > AT_ONCE_NS or second is not agents[-1]:
            continue
        leaves = [e for e in _said(s, "message", "leave") if _at(e) == _at(first)]
        if leaves and leaves[0].t_ns > second.t_ns and leaves[0].facts.get("reason") == "DUPLICATE_IDENTITY":
            why = "two joins of one user at once: the second agent put the first out of the room, and nobody has it"
            return Diagnosis("join-not-atomic", why, (*_proof(s, first, second, leaves[0]), s.hop_proof()))
    return None


def client_beside_session(s: Scene) -> Diagnosis | None:
    """A LeaveRoom failed, so the session stayed, and the next client was refused."""
    if not s.broken(*CAPTIONS):
        return None
    for leave in _calls(s, "LeaveRoomRequest", s.struck_ns):
        answered = any(_at(e) == _at(leave) and e.stream == leave.stream for e in _of_calls(s, "reply", "LeaveRoom"))
        refused = [e for e in s.refused if e.t_ns > leave.t_ns and same_user(user_in(e.text), _user(leave))]
        if answered or not refused:
            continue
        exits = [e for e in s.history.all(ev.ComponentExited) if leave.t_ns < e.t_ns < refused[0].t_ns]
        if not exits:
            why = "a LeaveRoom was never answered, so the session stayed, and the next client's JoinRoom was refused"
            proof = (*_proof(s, leave), *s.proof(refused[0]), s.hop_proof())
            return Diagnosis("refusal-new-client-beside-session", why, proof)
    return None


def _said(s: Scene, what: str, name: str, since_ns: int = 0) -> list[ev.WireSaid]:
    """Return what was said to whoever was dialed, or by them, until the story was over."""
    return [
        e for e in s.history.all(ev.WireSaid)
        if e.what == what and e.name == name and since_ns <= e.t_ns <= s.until_ns
    ]  # fmt: skip


def _of_calls(s: Scene, what: str, name: str, since_ns: int = 0) -> list[ev.WireSaid]:
    return [e for e in _said(s, what, name, since_ns) if e.link.startswith("cloud") and "->bridge" in e.link]


def _calls(s: Scene, name: str, since_ns: int = 0) -> list[ev.WireSaid]:
    return _of_calls(s, "message", name, since_ns)


def _at(said: ev.WireSaid) -> tuple[str, int]:
    return said.link, said.conn


def _user(said: ev.WireSaid) -> str:
    return str(said.facts.get("user", ""))


def _opened_between(s: Scene, user: str, from_ns: int, until_ns: int) -> int:
    opened = [e for e in s.history.all(ev.PhoneSocketOpen) if from_ns <= e.t_ns <= until_ns]
    return sum(is_user(s.history, e.person, user) for e in opened)


def _closed_between(s: Scene, person: str, from_ns: int, until_ns: int) -> bool:
    closed = s.history.all(ev.PhoneSocketClosed)
    return any(from_ns <= e.t_ns <= until_ns and e.person == person for e in closed)


def _proof(s: Scene, *said: ev.WireSaid) -> tuple[Evidence, ...]:
    return tuple(at(s.history, e.t_ns, f"wire {e.link} #{e.conn}", f"{e.what} {e.name} ({e.way})") for e in said)
