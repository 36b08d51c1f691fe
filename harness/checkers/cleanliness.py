"""Clean: at the end, with phones still connected, one bridge session and one agent per connected person, no more.

Descriptors and streams are back where they were in the steady state, and in a story of many cycles nothing grows.
"""

from __future__ import annotations

import math
import re
from collections import Counter

from harness import events as ev
from harness.checkers.slopes import anew_too_often, slopes_of
from harness.checkers.timeline import at
from harness.checkers.verdict import Evidence, Outcome, Params, Slope, Verdict
from harness.history import History

NAME = "clean"
AGENT = "cloud-agent:"
END = "end"
COMPONENTS = frozenset({"livekit", "bridge", "cloud"})
LEFT_OF = re.compile(r"process \d+ of ([^\s:]+):")
"""The part that a leftover process belongs to, as the rig tells it."""
STEADY_CYCLE, END_CYCLE = 0, -1
DESCRIPTORS_MORE = {"bridge": 10, "cloud": 3, "livekit": 3}
"""So many more at the end than in the steady state are no longer what one fault may leave behind for a while: half open
connections, and sockets of a room that was left a moment ago. Of some 200 runs that hold, the worst had 7 more in the
bridge, 0 in the cloud and 2 in LiveKit."""
SESSION_DESCRIPTORS = {"bridge": 20, "cloud": 5, "livekit": 4}
"""What one more person may take: measured 18 to 20 in the bridge (30 with one, 48 to 52 with two), 4 in the cloud
(22, 26), 3 to 4 in LiveKit (12 or 13, 15 to 17)."""
OTHER_PART = "bridge"
"""Whose numbers a part of another name gets: the widest."""


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
        wrong += _back_to_baseline(history, len(connected.users))
    wrong += _growth(history, missing)
    if wrong:
        return Verdict(NAME, Outcome.BROKEN, wrong[0].text, tuple(wrong))
    if missing:
        return Verdict(NAME, Outcome.UNKNOWN, "; ".join(missing))
    users = len(connected.users) if connected else 0
    text = f"one bridge session and one agent for each of {users} connected, none left"
    return Verdict(NAME, Outcome.HOLDS, text + _level(history))


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


def _back_to_baseline(history: History, users: int) -> list[Evidence]:
    """Compare the end with the steady state, for each part of the system that was not started again in between."""
    taken: dict[tuple[str, int], ev.Sample] = {}
    for e in history.all(ev.Sample):
        if not e.ours and ((e.part, e.cycle) not in taken or e.cycle == END_CYCLE):
            taken[e.part, e.cycle] = e  # the first steady state stands: a second would hide what came in between
    phones, before_phones = (_phones(taken.get(("people", cycle)), users) for cycle in (END_CYCLE, STEADY_CYCLE))
    more_users = max(0, users - before_phones)
    wrong = []
    for (part, cycle), end in taken.items():
        before = taken.get((part, STEADY_CYCLE))
        if cycle != END_CYCLE or before is None:
            continue
        streams = end.values.get("streams", 0)
        if streams > max(users, before.values.get("streams", 0)):
            wrong.append(at(history, end.t_ns, part, f"{part} holds {streams:.0f} streams for {users} connected"))
        inside = end.values.get("participants", 0)
        if inside > max(users + max(users, phones), before.values.get("participants", 0)):
            text = f"{part} holds {inside:.0f} participants for {users} connected"
            wrong.append(at(history, end.t_ns, part, text))
        if end.identity != before.identity or "descriptors" not in before.values:
            continue
        had, has = before.values["descriptors"], end.values.get("descriptors", 0)
        kind = part if part in DESCRIPTORS_MORE else OTHER_PART
        if has > had + DESCRIPTORS_MORE[kind] + more_users * SESSION_DESCRIPTORS[kind]:
            text = f"{part} holds {has:.0f} file descriptors at the end; it held {had:.0f} in the steady state"
            wrong.append(at(history, end.t_ns, part, text))
    return wrong


def _phones(people: ev.Sample | None, unless: int) -> int:
    return int(people.values.get("users", unless)) if people else unless


def _growth(history: History, missing: list[str]) -> list[Evidence]:
    """Return what grows from cycle to cycle; what cannot be told, and growth of our own, makes it unknown."""
    done = history.last(ev.CycleDone)
    if done is None:
        return []
    if done.number < done.of:
        missing.append(f"{done.number} of {done.of} cycles were played")
    wrong = []
    for slope in slopes_of(history):
        grows = f"{slope.part} keeps {growth_text(slope)}"
        if slope.ours:
            if slope.outcome is Outcome.BROKEN:
                missing.append(f"the harness itself leaks: {grows}")
        elif slope.outcome is Outcome.BROKEN:
            first, last = slope.points[0], slope.points[-1]
            span = f"{first[1]:g} after cycle {first[0]}, {last[1]:g} after cycle {last[0]}"
            wrong.append(at(history, done.t_ns, slope.part, f"{grows}: {span}"))
        elif slope.outcome is Outcome.UNKNOWN:
            missing.append(f"it cannot be told whether {grows}")
    return wrong


def growth_text(slope: Slope) -> str:
    """Say a slope with its interval and its tolerance."""
    memory = "of memory " if slope.unit == "MB" else ""
    if not math.isfinite(slope.low) or not math.isfinite(slope.high):
        return f"{slope.unit} {memory}from cycle to cycle (too few samples)"
    interval = f"99 % interval {slope.low:.2f} to {slope.high:.2f}, tolerance {slope.tolerance:.2f}"
    return f"{slope.per_cycle:.2f} {slope.unit} {memory}per cycle ({interval})"


def _level(history: History) -> str:
    every = slopes_of(history)
    untold = "".join(
        f"; {part} was started anew too often to tell whether its {' and '.join(names)} grow"
        for part, names in anew_too_often(every).items()
    )
    slopes = [slope for slope in every if not slope.ours and slope.outcome is not None]
    if not slopes:
        return untold
    done = history.last(ev.CycleDone)
    judged = "" if any(slope.unit == "MB" for slope in slopes) else "; memory is judged from 30 cycles on"
    return f"; {_counted(len(slopes))} level over {done.number if done else 0} cycles{judged}{untold}"


def _counted(number: int) -> str:
    return "1 quantity stays" if number == 1 else f"{number} quantities stay"
