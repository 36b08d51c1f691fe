"""Who is in the room, and who is not any more: agents put out of it, tokens that ran out, sessions nobody came back to.

The wire tells first (LiveKit's ``join`` and ``leave`` on the bridge's and the phone's own connections); log lines do
where nobody read the wire.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from harness import events as ev
from harness.checkers.people import AGENT, is_user, same_user, user_in
from harness.checkers.scene import CAPTIONS, Scene
from harness.checkers.timeline import at, of_log
from harness.checkers.verdict import Diagnosis, Evidence
from harness.clock import SECOND_NS

BRIDGE_LEG, PHONE_LEG = "bridge->livekit", "phone->livekit"
PUT_OUT = frozenset({"DUPLICATE_IDENTITY", "PARTICIPANT_REMOVED", "ROOM_DELETED", "ROOM_CLOSED"})
"""LiveKit's reasons for a participant that somebody wanted out of the room."""
KICKED_LOG = r"Disconnected from LiveKit room"
NO_KICK = re.compile(r"(?i)SERVER_SHUTDOWN|CLIENT_INITIATED|STATE_MISMATCH")
"""Reasons of a disconnection that nobody meant, or that the bridge wanted itself."""
JOINED_LOG = r"Successfully joined room"
ASKED_LOG = r"Calling JoinRoom RPC"
GIVEN_UP_LOG = r"JoinRoom RPC failed.*DEADLINE_EXCEEDED"
GIVEN_UP = frozenset({"CANCELLED", "DEADLINE_EXCEEDED"})
"""How a call ends that its caller no longer waits for."""
EXPIRED = re.compile(r"(?i)token.*expired|expired.*token|exp.*claim")
"""How LiveKit turns away who shows a token that ran out; 401 alone may be a wrong key."""
TURNED_AWAY = "HTTP 401"
RAN_OUT = re.compile(r"^TokenRunsOut\(person='([^']+)', ttl_s=(\d+)\)")
"""The fault after which the run knows when a phone's token is over."""
SESSIONS_LEFT = re.compile(r"holds (\d+) sessions for (\d+) connected")
GRACE_S = 60.0
"""The real cloud's, where a run does not tell its own."""


@dataclass(frozen=True)
class _Kick:
    t_ns: int
    user: str
    """Whose agent; empty where nobody told."""
    proof: Evidence


def kicked_agent(s: Scene) -> Diagnosis | None:
    """The agent was put out of its room, and nobody brought it back."""
    if not s.nothing_from_bridge or not s.broken(*CAPTIONS):
        return None
    kick = next((k for k in reversed(_kicks(s)) if not _joined_after(s, k)), None)
    if kick is None:
        return None  # nobody was put out, or all came back
    bridges = {c.component for c in s.history.all(ev.ComponentStarted) if c.component.startswith("bridge")}
    away = _phone_was_away(s, kick)
    proof = (kick.proof, s.hop_proof())
    if len(bridges) > 1 or away is not None:
        why = "while its phone was elsewhere another agent took its place in the room, and nobody joined again for it"
        seen = () if away is None else (at(s.history, away.t_ns, away.proc or "phone", "the phone's socket closed"),)
        return Diagnosis("agent-kicked-by-other-environment", why, (*seen, *proof))
    why = "the agent lost its place in the room, and nobody brought it back"
    return Diagnosis("kicked-agent-unnoticed", why, proof)


def refused_after_kick(s: Scene) -> Diagnosis | None:
    """A session whose agent had been put out of the room stood in the way of a new one."""
    if not s.broken(*CAPTIONS):
        return None
    for line in s.refused:
        whose = user_in(line.text)
        kick = next((k for k in reversed(_kicks(s)) if k.t_ns <= line.t_ns and same_user(k.user, whose)), None)
        if kick is not None and not _joined_after(s, kick):
            why = "the agent was put out of its room, and its session stayed: every join after that was refused"
            return Diagnosis("refusal-kicked-stream-open", why, (kick.proof, *s.proof(line), s.hop_proof()))
    return None


def slow_join_given_up(s: Scene) -> Diagnosis | None:
    """The bridge took too long to get into the room, and the cloud, which gave that join up, never asked again."""
    if s.silent_from not in {"bridge-out", "cloud-in", "stt-in"} or not s.broken(*CAPTIONS):
        return None
    given_up = [(line.t_ns, of_log(s.history, line)) for line in s.log("cloud", GIVEN_UP_LOG, s.struck_ns)]
    for said in s.history.all(ev.WireSaid):
        ended = said.what == "status" and said.name == "JoinRoom" and s.struck_ns <= said.t_ns <= s.until_ns
        if ended and said.way == "to-target" and said.facts.get("code") in GIVEN_UP and not said.facts.get("replies"):
            text = f"JoinRoom given up by the cloud after {said.facts.get('took_ms', '?')} ms without an answer"
            given_up.append((said.t_ns, at(s.history, said.t_ns, said.link, text)))
    last_ns = max((t_ns for t_ns, _ in given_up), default=0)
    if not given_up or s.log("cloud", ASKED_LOG, last_ns + 1) or _cloud_ended(s, last_ns):
        return None
    why = "the bridge did not get into the room in time when it was asked to join, and nobody asked again"
    return Diagnosis("sfu-down-at-join", why, (*(proof for _, proof in given_up[:2]), s.hop_proof()))


def _cloud_ended(s: Scene, t_ns: int) -> bool:
    ends = [e.t_ns for e in s.history.all(ev.ComponentExited) if e.component.startswith("cloud")]
    return any(t_ns <= end_ns <= s.until_ns for end_ns in ends)


def token_expired(s: Scene) -> Diagnosis | None:
    """The phone dials its room with a token that ran out."""
    if s.silent_from not in {"phone-out", "sfu"} or not s.broken(*CAPTIONS):
        return None
    failed = [e for e in s.history.all(ev.RoomDialFailed) if s.struck_ns <= e.t_ns <= s.until_ns and _expired(s, e)]
    back = [(e.person, e.t_ns) for e in s.history.all(ev.RoomConnected)]
    failed = [e for e in failed if not any(person == e.person and t_ns > e.t_ns for person, t_ns in back)]
    if not failed:
        return None
    proof = [at(s.history, e.t_ns, e.proc or "phone", f"dial {e.attempt} to the room: {e.reason}") for e in failed[:2]]
    why = "the phone's token for its room had run out, and it went on with that token"
    return Diagnosis("token-expired-after-sleep", why, (*proof, s.hop_proof()))


def _expired(s: Scene, failed: ev.RoomDialFailed) -> bool:
    """Tell whether LiveKit turned a phone away for its token's age: by its words, or as the token's end is known."""
    if EXPIRED.search(failed.reason):
        return True
    over = [
        e.t_ns + int(known[2]) * SECOND_NS
        for e in s.history.all(ev.Injected) if (known := RAN_OUT.match(e.fault)) and known[1] == failed.person
    ]  # fmt: skip
    return TURNED_AWAY in failed.reason and any(t_ns <= failed.t_ns for t_ns in over)


def session_never_disposed(s: Scene) -> Diagnosis | None:
    """The bridge still has the session of somebody who went away and whose grace was over."""
    verdict = s.verdicts.get("clean")
    if verdict is None or not s.broken("clean"):
        return None
    held = [e for e in verdict.evidence if (n := SESSIONS_LEFT.search(e.text)) and int(n[1]) > int(n[2])]
    gone = list(_long_gone(s))
    if not held or not gone:
        return None
    why = f"{gone[0].person} went away and did not come back, and nobody ended that session when its grace was over"
    proof = at(s.history, gone[0].t_ns, gone[0].proc or "phone", f"socket of {gone[0].person} closed for good")
    return Diagnosis("token-expired-after-sleep", why, (proof, *held))


def _kicks(s: Scene) -> list[_Kick]:
    """Return every time an agent was put out of its room since the first fault, in order."""
    found = []
    joins = [e for e in s.history.all(ev.WireSaid) if e.name == "join" and _user_of(e)]
    for said in _signals(s, BRIDGE_LEG, "leave"):
        agents = {(e.link, e.conn): _user_of(e) for e in joins if e.t_ns < said.t_ns}
        reason = str(said.facts.get("reason", ""))
        if said.way == "to-dialer" and reason in PUT_OUT:
            proof = at(s.history, said.t_ns, BRIDGE_LEG, f"LiveKit put the bridge's agent out of the room: {reason}")
            found.append(_Kick(said.t_ns, agents.get((said.link, said.conn), ""), proof))
    if not found:
        lines = s.log("bridge", KICKED_LOG, s.struck_ns)
        found = [_Kick(e.t_ns, user_in(e.text), of_log(s.history, e)) for e in lines if not NO_KICK.search(e.text)]
    return sorted(found, key=lambda kick: kick.t_ns)


def _user_of(said: ev.WireSaid) -> str:
    """Return whose agent got into its room, as LiveKit tells the bridge; empty for anybody else."""
    identity = str(said.facts.get("identity", ""))
    return identity.removeprefix(AGENT) if identity.startswith(AGENT) else ""


def _joined_after(s: Scene, kick: _Kick) -> bool:
    """Tell whether a bridge got into this user's room after the kick."""
    said = [_user_of(e) for e in _signals(s, BRIDGE_LEG, "join") if e.t_ns > kick.t_ns]
    told = [user_in(line.text) for line in s.log("bridge", JOINED_LOG, kick.t_ns)]
    if kick.user:
        return any(same_user(kick.user, user) for user in (*said, *told))
    people = s.history.speakers().values()
    return all(any(is_user(s.history, person, user) for user in (*said, *told)) for person in people)


def _signals(s: Scene, leg: str, name: str) -> Iterator[ev.WireSaid]:
    for said in s.history.all(ev.WireSaid):
        if said.link == leg and said.what == "message" and said.name == name and s.struck_ns <= said.t_ns <= s.until_ns:
            yield said


def _phone_was_away(s: Scene, kick: _Kick) -> ev.PhoneSocketClosed | None:
    """Return how a phone had closed its socket by a moment, when it opened another only after that."""
    closed = [e for e in s.history.all(ev.PhoneSocketClosed) if s.struck_ns <= e.t_ns <= kick.t_ns + SECOND_NS]
    for e in reversed([e for e in closed if is_user(s.history, e.person, kick.user)]):
        opened = [o.t_ns for o in s.history.all(ev.PhoneSocketOpen) if o.person == e.person and o.t_ns > e.t_ns]
        if e.by == "phone" and opened and opened[0] > kick.t_ns:
            return e
    return None


def _long_gone(s: Scene) -> Iterator[ev.PhoneSocketClosed]:
    grace_ns = int(s.history.run_started.timers.get("grace_s", GRACE_S) * SECOND_NS)
    for e in s.history.all(ev.PhoneSocketClosed):
        again = any(o.person == e.person and o.t_ns > e.t_ns for o in s.history.all(ev.PhoneSocketOpen))
        if not again and e.t_ns + grace_ns < s.until_ns:
            yield e
