"""Clean: at the end, with phones still connected, one bridge session and one agent per connected person, no more."""

from __future__ import annotations

import re
from collections import Counter

from harness import events as ev
from harness.checkers.timeline import at
from harness.checkers.verdict import Evidence, Outcome, Params, Verdict
from harness.history import History

NAME = "clean"
AGENT = "cloud-agent:"
END = "end"
COMPONENTS = frozenset({"livekit", "bridge", "cloud"})
LEFT_OF = re.compile(r"process \d+ of ([^\s:]+):")
"""The part that a leftover process belongs to, as the rig tells it."""


def check_clean(history: History, _params: Params) -> Verdict:
    """Judge Clean from what was read at the end, and from what the teardown found left over."""
    missing: list[str] = []
    wrong = _leftovers(history, missing)
    connected = history.last(ev.Connected)
    if connected is None:
        missing.append("who was connected at the end was not recorded")
    else:
        wrong += _bridge(history, connected.users, missing)
        wrong += _rooms(history, connected.users, missing)
    if wrong:
        return Verdict(NAME, Outcome.BROKEN, wrong[0].text, tuple(wrong))
    if missing:
        return Verdict(NAME, Outcome.UNKNOWN, "; ".join(missing))
    users = len(connected.users) if connected else 0
    return Verdict(NAME, Outcome.HOLDS, f"one bridge session and one agent for each of {users} connected, none left")


def _leftovers(history: History, missing: list[str]) -> list[Evidence]:
    """Return what the system's components left running; a process of ours that stayed is our own fault."""
    components = {e.component for e in history.all(ev.ComponentStarted)} | COMPONENTS
    wrong = []
    for e in history.all(ev.Leftover):
        found = LEFT_OF.match(e.what)
        if found is None or found[1] in components:
            wrong.append(at(history, e.t_ns, e.proc or "rig", f"left over: {e.what}"))
        else:
            missing.append(f"the harness left something of its own: {e.what}")
    return wrong


def _bridge(history: History, users: tuple[str, ...], missing: list[str]) -> list[Evidence]:
    read = next((r for r in reversed(history.all(ev.BridgeRead)) if r.why == END), None)
    if read is None or not read.answered:
        missing.append("the bridge was not read at the end" if read is None else "the bridge gave no answer at the end")
        return []
    wrong = []
    if read.active_sessions >= 0 and read.active_sessions != len(users):
        text = f"the bridge holds {read.active_sessions} sessions for {len(users)} connected"
        wrong.append(at(history, read.t_ns, "bridge", text))
    elif read.active_sessions < 0:
        missing.append("the bridge does not say how many sessions it holds")
    for user in users:
        if user not in read.connected:
            missing.append(f"GetStatus of {user} was not read")
        elif not read.connected[user]:
            wrong.append(at(history, read.t_ns, "bridge", f"GetStatus says that {user} is not connected"))
    return wrong


def _rooms(history: History, users: tuple[str, ...], missing: list[str]) -> list[Evidence]:
    reads = [r for r in history.all(ev.RoomRead) if r.why == END]
    if not reads:
        missing.append("no room was read at the end")
        return []
    last = {r.room: r for r in reads}
    agents = Counter(p for r in last.values() for p in r.participants if p.startswith(AGENT))
    t_ns = max(r.t_ns for r in last.values())
    wrong = []
    for user in users:
        if len(reads) < len(users) and not any(_is_room_of(user, r) for r in reads):
            missing.append(f"the room of {user} was not read at the end")
        elif agents[AGENT + user] != 1:
            text = f"{agents[AGENT + user]} agents of {user} in the rooms, expected 1"
            wrong.append(at(history, t_ns, "livekit", text))
    strangers = sorted(set(agents) - {AGENT + u for u in users})
    return wrong + [at(history, t_ns, "livekit", f"{who} is still in a room, its person is not") for who in strangers]


def _is_room_of(user: str, read: ev.RoomRead) -> bool:
    """Tell whether this is the user's room, by its name or by who is in it; each read room is one user's."""
    return user in read.room or user in read.participants or AGENT + user in read.participants
