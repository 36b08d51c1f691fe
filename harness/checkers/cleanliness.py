"""Clean: at the end, with phones still connected, one bridge session and one agent per connected person, no more."""

from __future__ import annotations

from collections import Counter

from harness import events as ev
from harness.checkers.timeline import at
from harness.checkers.verdict import Evidence, Outcome, Params, Verdict
from harness.history import History

NAME = "clean"
AGENT = "cloud-agent:"
END = "end"


def check_clean(history: History, _params: Params) -> Verdict:
    """Judge Clean from what was read at the end, and from what the teardown found left over."""
    wrong = [at(history, e.t_ns, e.proc or "rig", f"left over: {e.what}") for e in history.all(ev.Leftover)]
    connected = history.last(ev.Connected)
    missing: list[str] = []
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
    last = {r.room: r for r in history.all(ev.RoomRead) if r.why == END}
    if not last:
        missing.append("no room was read at the end")
        return []
    agents = Counter(p for r in last.values() for p in r.participants if p.startswith(AGENT))
    t_ns = max(r.t_ns for r in last.values())
    wrong = [
        at(history, t_ns, "livekit", f"{agents[AGENT + user]} agents of {user} in the rooms, expected 1")
        for user in users if agents[AGENT + user] != 1
    ]  # fmt: skip
    strangers = sorted(set(agents) - {AGENT + u for u in users})
    return wrong + [at(history, t_ns, "livekit", f"{who} is still in a room, its person is not") for who in strangers]
