"""The steps of a recovery: what happened when, how long it took, and what it may take.

Fault landed, noticed (by whom, how), healed, the phone's socket, the ACK, the room, the first PCM of new speech at each
hop, the first final caption. A step that was not needed (the socket never closed) is kept.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from harness import events as ev
from harness.checkers.hearing import Hearing, HopState
from harness.checkers.timeline import FaultWindow
from harness.checkers.verdict import RecoveryStep
from harness.clock import SECOND_NS
from harness.history import History

DONE, KEPT, MISSED, NOT_APPLICABLE = "done", "kept", "missed", "not applicable"
LANDED, NOTICED, HEALED, SOCKET, ACK, ROOM, FINAL = "landed", "noticed", "healed", "socket", "ack", "room", "app-in"
DIALED = "dialed"
"""Where a story without a fault begins."""
OURS: Final = frozenset({LANDED, HEALED})
"""Steps that are the story's, not the system's: they never count as the longest."""


@dataclass(frozen=True)
class StepBudget:
    """What a step may take, counted from an earlier step; ``source`` says who says so."""

    within_s: float
    since: str
    source: str


PROPOSED: Final = "proposed"
BUDGETS: Final = {
    NOTICED: StepBudget(10, LANDED, PROPOSED),
    SOCKET: StepBudget(5, HEALED, "the phone dials every 5 s"),
    ACK: StepBudget(2, SOCKET, PROPOSED),
    ROOM: StepBudget(3, ACK, PROPOSED),
    "sfu": StepBudget(3, ACK, "PCM within 3 s of the ACK"),
    "bridge-out": StepBudget(3, ACK, "PCM within 3 s of the ACK"),
    "cloud-in": StepBudget(3, ACK, "PCM within 3 s of the ACK"),
    "stt-in": StepBudget(2, "cloud-in", "STT stream re-created in 2 s"),
    "stt-out": StepBudget(5, "stt-in", "end-to-end lag below 5 s"),
    FINAL: StepBudget(5, SOCKET, "phone reconnect to captions 3 s, 5 s at most"),
}
"""Step -> its budget. Sources are the documented budgets of the real system; ``proposed`` where none is documented."""
AFTER_CLOUD: Final = StepBudget(10, HEALED, "cloud restart to captions 5 to 10 s")
AFTER_GAP: Final = StepBudget(10, HEALED, "audio-gap recovery below 10 s")

TELLS: Final = {
    "cloud": re.compile(
        "Audio stream error|Audio stream ended|Glasses connection closed|no pong for|Audio unavailable|"
        "Audio gap detected|STT stream ended|JoinRoom RPC failed|JoinRoom returned failure|GetStatus RPC failed|"
        "GetStatus threw|Reconnection failed|App disconnected"
    ),
    "bridge": re.compile(
        "StreamAudio error|StreamAudio context done|StreamAudio send timeout|due to stream error|"
        "Disconnected from LiveKit room|Dropping audio frames"
    ),
}
"""Component -> the log lines that tell of a loss (wire contract, log messages)."""


@dataclass(frozen=True)
class _Seen:
    name: str
    state: str
    t_ns: int | None = None
    how: str = ""


def steps_of(
    history: History, person: str, windows: tuple[FaultWindow, ...], states: tuple[HopState, ...],
    final: ev.Caption | None,
) -> tuple[RecoveryStep, ...]:  # fmt: skip
    """Return the steps of this person's recovery (without a fault: of the first connection), in order."""
    until_ns = final.t_ns if final else history.end_ns
    begun = [e.t_ns for e in history.all(ev.PhoneDialing) if e.person == person]
    since_ns = windows[0].start_ns if windows else min(begun, default=history.start_ns)
    seen = list(_fault(history, person, windows, since_ns, until_ns)) if windows else []
    seen += _signalling(history, person, since_ns, until_ns)
    for state in states:
        if state.hop in {"phone-out", "phone-display"}:
            continue
        if state.hop == FINAL:
            seen.append(_Seen(FINAL, DONE if final else MISSED, final.t_ns if final else None, "first final caption"))
        else:
            seen.append(_Seen(state.hop, DONE if state.first_ns else str(state.state), state.first_ns))
    return tuple(_weighed(history, seen, since_ns, windows))


def longest(steps: tuple[RecoveryStep, ...]) -> RecoveryStep | None:
    """Return the step of the system that took longest since the one before; None when none took any time.

    Without a final caption, the first step that never came is the longest.
    """
    final = next((s for s in steps if s.name == FINAL), None)
    if final is not None and final.t_s is None:
        never = (s for s in steps if s.state in {MISSED, Hearing.SILENT} and s.name != NOTICED)
        return next(never, None)
    own = [s for s in steps if s.name not in OURS and s.took_s]
    return max(own, key=lambda s: s.took_s or 0.0, default=None)


def _fault(
    history: History, person: str, windows: tuple[FaultWindow, ...], since_ns: int, until_ns: int
) -> Iterator[_Seen]:
    yield _Seen(LANDED, DONE, windows[0].landed_ns, windows[0].fault)
    opened = [e.t_ns for e in history.all(ev.PhoneSocketOpen) if e.person == person]
    if min(opened, default=until_ns) > since_ns:
        yield _Seen(NOTICED, NOT_APPLICABLE, how="nobody was connected yet")
    else:
        yield noticed(history, since_ns, until_ns)
    healed = [w.end_ns for w in windows if w.end_ns and w.end_ns <= until_ns]
    if healed:
        yield _Seen(HEALED, DONE, max(healed))


def noticed(history: History, since_ns: int, until_ns: int) -> _Seen:
    """Return who first knew of the loss, and how: a phone, a health endpoint, or a log line of cloud or bridge."""
    hit = {name for e in history.all(ev.Injecting) for name in e.blast if since_ns <= e.t_ns <= until_ns}
    told = [re.compile(p) for p in history.run_started.told]
    first, end = (bisect_left(history.events, t_ns, key=lambda e: e.t_ns) for t_ns in (since_ns, until_ns + 1))
    for e in history.events[first:end]:
        how = _tells(e, hit, told)
        if how:
            return _Seen(NOTICED, DONE, e.t_ns, how)
    return _Seen(NOTICED, MISSED, how="by nobody")


def _tells(e: ev.AnyEvent, hit: set[str], told: list[re.Pattern[str]]) -> str:  # noqa: C901, PLR0911  one line per kind
    match e:
        case ev.PhoneSocketClosed() if e.person not in hit and e.by != "phone":
            return f"{e.person}'s phone: socket closed {e.code}"
        case ev.RoomLost() if e.person not in hit:
            return f"{e.person}'s phone: room lost ({e.reason})"
        case ev.RoomReconnecting() if e.person not in hit:
            return f"{e.person}'s phone: room lost, its library resumes"
        case ev.PhoneMessage(type="connection_error" | "auth_error"):
            return f"{e.person}'s phone was told: {e.type}"
        case ev.PhoneMessage(type="audio_status") if '"unavailable"' in e.body:
            return f"{e.person}'s phone was told: audio unavailable"
        case ev.PhoneMessage() if any(p.search(e.body) for p in told):
            return f"{e.person}'s phone was told: {e.type}"
        case ev.HealthRead() if not (e.answered and e.says_fine):
            return f"health of {e.component}: " + ("says so" if e.answered else "no answer")
        case ev.LogLine():
            for component, lines in TELLS.items():
                found = lines.search(e.text) if e.component.startswith(component) else None
                if found:
                    return f"{e.component} logged “{found[0]}” (logs/{e.component}.log:{e.line})"
            return ""
        case _:
            return ""


def _signalling(history: History, person: str, since_ns: int, until_ns: int) -> Iterator[_Seen]:
    """Give the phone's socket, its ACK and its room, each as it last came before captions did."""

    def own(*kinds: type[ev.Event]) -> list[ev.AnyEvent]:
        return [
            e for e in history.iter(*kinds) if getattr(e, "person", "") == person and since_ns <= e.t_ns <= until_ns
        ]

    opened = own(ev.PhoneSocketOpen)
    gone = own(ev.PhoneSocketClosed, ev.PhoneDialing)
    yield _came(SOCKET, opened[-1].t_ns if opened else None, lost=bool(gone))
    from_ns = opened[-1].t_ns if opened else since_ns
    acks = [m for m in own(ev.PhoneMessage) if isinstance(m, ev.PhoneMessage) and m.type == "connection_ack"]
    after = [m.t_ns for m in acks if m.t_ns >= from_ns]
    yield _came(ACK, after[0] if after else None, lost=bool(gone))
    rooms = own(ev.RoomConnected, ev.RoomReconnected)
    without = own(ev.RoomLost, ev.RoomReconnecting, ev.RoomLeft, ev.RoomDialing)
    yield _came(ROOM, rooms[-1].t_ns if rooms else None, lost=bool(without))


def _came(name: str, t_ns: int | None, *, lost: bool) -> _Seen:
    return _Seen(name, DONE if t_ns is not None else MISSED if lost else KEPT, t_ns)


def _weighed(
    history: History, seen: list[_Seen], since_ns: int, windows: tuple[FaultWindow, ...]
) -> Iterator[RecoveryStep]:
    moments: dict[str, int] = {} if windows else {DIALED: since_ns}
    before_ns = since_ns
    kept = {s.name for s in seen if s.state == KEPT}
    numbers = {w.number for w in windows}
    cloud = any("cloud" in e.blast for e in history.all(ev.Injecting) if e.number in numbers)
    for one in seen:
        budget = BUDGETS.get(one.name)
        if one.name == FINAL and (cloud or SOCKET in kept):
            budget = AFTER_CLOUD if cloud else AFTER_GAP
        elif budget is not None and budget.since == ACK and ACK in kept:
            budget = AFTER_GAP
        since = _since(budget, moments)
        from_ns = moments.get(since, before_ns)
        yield RecoveryStep(
            name=one.name, state=one.state, how=one.how,
            t_s=None if one.t_ns is None else round(history.seconds(one.t_ns), 3),
            took_s=_between(before_ns, one.t_ns), measured_s=_between(from_ns, one.t_ns),
            budget_s=budget.within_s if budget else None,
            since=since, source=budget.source if budget else "",
        )  # fmt: skip
        if one.t_ns is not None:
            moments[one.name] = one.t_ns
            before_ns = max(before_ns, one.t_ns)


def _since(budget: StepBudget | None, moments: Mapping[str, int]) -> str:
    """Return from which step a budget counts here: what was not healed counts from the fault, else from the dial."""
    if budget is None or budget.since in moments:
        return budget.since if budget else ""
    if budget.since == HEALED:
        return LANDED if LANDED in moments else DIALED
    return "the step before"


def _between(start_ns: int, end_ns: int | None) -> float | None:
    return None if end_ns is None else round(max(0, end_ns - start_ns) / SECOND_NS, 3)
