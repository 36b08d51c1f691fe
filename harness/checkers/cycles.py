"""How a run is told that repeats itself (hurt, heal, captions again): the last cycle in full, the others in a line."""

from __future__ import annotations

from harness import events as ev
from harness.checkers.resumption import first_caption_after
from harness.checkers.timeline import FaultWindow, Span
from harness.clock import SECOND_NS
from harness.history import History


def of_last_cycle(history: History, windows: tuple[FaultWindow, ...]) -> tuple[FaultWindow, ...]:
    """Return the faults of the last cycle that has any; all of them in a run without cycles."""
    for done in reversed(history.all(ev.CycleDone)):
        own = tuple(w for w in windows if w.start_ns >= done.t_ns)
        if own:
            return own
    return windows


def of_last_recovery(
    history: History, windows: tuple[FaultWindow, ...], anchor: ev.Anchor | None
) -> tuple[FaultWindow, ...]:
    """Return the faults that this anchor's recovery is from: not those that its person had recovered from before.

    Nor those that came when captions flowed again. A fault that was healed only after an earlier recovery counts.
    """
    if anchor is None:
        return windows
    again = [e.t_ns for e in history.all(ev.SteadyAgain) if e.person == anchor.person]
    since_ns = max((t_ns for t_ns in again if t_ns < anchor.t_ns), default=history.start_ns)
    until_ns = min((t_ns for t_ns in again if t_ns >= anchor.t_ns), default=history.end_ns)
    own = (w for w in windows if max(w.start_ns, w.end_ns or 0) >= since_ns and w.start_ns <= until_ns)
    return tuple(own) or windows


def before_last_cycle(history: History) -> Span | None:
    """Return the stretch from the first fault to the last cycle's begin, or None when there is no cycle before it."""
    begun, done = history.first(ev.Injecting), history.all(ev.CycleDone)
    last = max((e.t_ns for e in history.all(ev.Injecting)), default=0)
    ended = [e for e in done if e.t_ns <= last]
    if begun is None or not ended:
        return None
    return Span(begun.t_ns, ended[-1].t_ns, f"… cycles 1 to {ended[-1].number}: captions of each flowed again")


def cycles_text(history: History) -> str:
    """Return ``20 cycles, 20 with captions; slowest recovery 1.41 s (cycle 5, ForceQuit)``; empty without cycles."""
    done = history.all(ev.CycleDone)
    if not done:
        return ""
    ids = {person: speaker for speaker, person in history.speakers().items()}
    slowest_s, which, begun_ns = 0.0, "", history.start_ns
    for cycle in done:
        for anchor in (a for a in history.all(ev.Anchor) if begun_ns <= a.t_ns <= cycle.t_ns and a.person in ids):
            found = first_caption_after(history, ids[anchor.person], anchor.moment_ns)
            took_s = (found.t_ns - anchor.moment_ns) / SECOND_NS if found and cycle.heard else 0.0
            if took_s > slowest_s:
                slowest_s, which = took_s, f"; slowest recovery {took_s:.2f} s (cycle {cycle.number}, {cycle.fault})"
        begun_ns = cycle.t_ns
    count = f"{len(done)} cycles" if len(done) == done[-1].of else f"{len(done)} of {done[-1].of} cycles"
    return f"{count}, {sum(c.heard for c in done)} with captions{which}"
