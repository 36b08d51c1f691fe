"""What a bridge does wrong: sessions it refuses or forgets, panics, places in the room that it loses."""

from __future__ import annotations

import re

from harness import events as ev
from harness.checkers.scene import CAPTIONS, JOIN_FAILED, Scene
from harness.checkers.timeline import at
from harness.checkers.verdict import Diagnosis, Evidence, Outcome

UNWILLING = re.compile(r"(?i)\bSIGTERM\b|asked to end")
"""How Alive tells of a component that was asked to end and stayed."""
GROWING = re.compile(r"(?i)per cycle|a cycle|each cycle|\bslope\b|grew|grows")
"""How Clean tells of a quantity that rises from cycle to cycle."""
PANICKED = "exited 2"
"""How a Go program ends by a panic."""
PANICS_WITHIN_S = 1.5
"""From the call that ends a session to the next packet for it, and to the process's end being noticed."""
OTHER_PANIC = r"panic: |fatal error: "
"""A Go program says so why it ends; where it gives another reason, the reason is not ours to guess."""
MANY_JOINS = 4
"""A leak is a matter of many joins; fewer show a session that was left, not one that is kept each time."""


def zombie_first_connect(s: Scene) -> Diagnosis | None:
    """A fresh cloud meets a session without an owner."""
    if not s.broken(*CAPTIONS):
        return None
    refused = [line for line in s.refused if line.t_ns >= s.struck_ns and s.fresh_when(line)]
    if refused:
        zombie = "; the gate had seen the session" if s.zombies else ""
        why = f"a fresh cloud's first JoinRoom was refused: a session without an owner was in the bridge{zombie}"
        return Diagnosis("zombie-first-connect", why, (*s.zombies, *s.proof(*refused), s.hop_proof()))
    failed = s.log("cloud", JOIN_FAILED, s.struck_ns)
    if s.zombies and s.nothing_from_bridge and not (s.refused or s.replaced):
        why = "the gate saw a session without an owner, and no audio came out of the bridge after that"
        return Diagnosis("zombie-first-connect", why, (*s.zombies, *s.proof(*failed), s.hop_proof()))
    return None


def join_refused(s: Scene) -> Diagnosis | None:
    """A living cloud joins again and is refused."""
    refused = [line for line in s.refused if line.t_ns >= s.struck_ns and not s.fresh_when(line)]
    if not refused or not s.broken(*CAPTIONS):
        return None
    why = "a living cloud joined again and the bridge refused: the session was still there"
    return Diagnosis("join-refused-existing-session", why, (*s.proof(*refused), s.hop_proof()))


def bridge_panic(s: Scene) -> Diagnosis | None:
    """The bridge ends with a panic on a closed channel."""
    if not s.broken("alive", *CAPTIONS):
        return None
    proof = s.proof(*s.log("bridge", r"send on closed channel"))
    why = "the bridge panicked on a packet that came after its session was closed"
    if not proof and not s.log("bridge", OTHER_PANIC):
        proof = _panicked(s)
        why = "the bridge ended by itself, as a Go program does that panics, when a session of it was closed"
    return Diagnosis("bridge-panic-closed-channel", why, proof) if proof else None


def _panicked(s: Scene) -> tuple[Evidence, ...]:
    """Return what shows a panic without the bridge's words: its exit code, right after a call that ends a session."""
    calls = [
        at(s.history, e.t_ns, f"wire {e.link}", f"{e.name} on its way to the bridge")
        for e in s.history.all(ev.WireSaid)
        if (e.what, e.name) == ("request", "LeaveRoom") or (e.name == "JoinRoomRequest" and _replaces(s, e))
    ]
    calls += [at(s.history, e.t_ns, "fault", e.fault) for e in s.history.all(ev.Injecting) if "SessionEnded" in e.fault]
    for e in s.history.all(ev.ComponentExited):
        shut = _shut_off(s, e.t_ns)
        own = e.component.startswith("bridge") and e.exit_text == PANICKED and not (e.by_us or e.machine)
        since = s.history.seconds(e.t_ns) - PANICS_WITHIN_S
        near = [call for call in calls if since <= call.t_s <= s.history.seconds(e.t_ns)]
        if own and (near or shut):
            return (at(s.history, e.t_ns, e.component, e.exit_text), (near or shut)[-1])
    return ()


def _shut_off(s: Scene, t_ns: int) -> list[Evidence]:
    """Return the faults held at ``t_ns`` that let no audio out of the bridge, so that it gives its sessions up."""
    healed = {e.number: e.t_ns for e in s.history.all(ev.Healed)}
    return [
        at(s.history, e.t_ns, "fault", e.fault)
        for e in s.history.all(ev.Injecting)
        if e.fault.startswith(("Stall(", "Pause(")) and e.target.startswith("cloud")
        and e.t_ns <= t_ns <= healed.get(e.number, t_ns)
    ]  # fmt: skip


def _replaces(s: Scene, join: ev.WireSaid) -> bool:
    """Tell whether a join met a session of its user: made in this bridge's life, or seen by the gate."""
    user, bridge = join.facts.get("user"), join.link.partition("->")[2]
    starts = [e.t_ns for e in s.history.all(ev.ComponentStarted) if e.component == bridge and e.t_ns < join.t_ns]
    since_ns = max(starts, default=0)
    joined = [e.t_ns for e in s.history.all(ev.WireSaid) if e.name == "JoinRoomResponse" and e.facts.get("success")
              and e.link.endswith(f"->{bridge}") and e.facts.get("user") == user]  # fmt: skip
    joined += [g.t_ns for g in s.history.all(ev.Gate) if g.user == user and g.outcome == "zombie"]
    return any(since_ns < t_ns < join.t_ns for t_ns in joined)


def bridge_sigterm_hangs(s: Scene) -> Diagnosis | None:
    """Asked to end with a stream open, the bridge did not."""
    verdict = s.verdicts.get("alive")
    if verdict is None or not s.broken("alive"):
        return None
    waited = [e for e in verdict.evidence if e.where.startswith("bridge") and UNWILLING.search(e.text)]
    if not waited:
        return None
    why = "the bridge was asked to end while a stream was open, and waited for it instead of ending"
    return Diagnosis("bridge-sigterm-hangs", why, tuple(waited))


def bridge_session_leak(s: Scene) -> Diagnosis | None:
    """What a bridge holds grows with every join."""
    verdict = s.verdicts.get("clean")
    if verdict is None or not s.broken("clean"):
        return None
    grown = [e for e in verdict.evidence if e.where.startswith("bridge") and GROWING.search(e.text)]
    joins = s.log("bridge", r"Successfully joined room")
    if not grown or len(joins) < MANY_JOINS:
        return None
    why = f"what the bridge holds grew with every join ({len(joins)} of them) and was never given back"
    return Diagnosis("bridge-session-leak", why, (*grown, *s.proof(joins[-1])))


def refusal_survived(s: Scene) -> Diagnosis | None:
    """A join was refused, and captions came back all the same."""
    resumed = s.verdicts.get("resumes")
    if not s.refused or resumed is None or resumed.outcome is not Outcome.HOLDS:
        return None
    why = "the bridge refused a JoinRoom because a session was there; captions came back all the same"
    return Diagnosis("join-refused-existing-session", why, s.proof(*s.refused))
