"""What a run says about itself: its name, seed, parts, steps, and where its time went."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness import events as ev
from harness.checkers.cycles import before_last_cycle
from harness.checkers.resumption import first_caption_after
from harness.checkers.timeline import anchors, at
from harness.checkers.verdict import Evidence, Story
from harness.checkers.zombies import gate_text
from harness.history import History

MANY: Final = (ev.LogLine, ev.Caption, ev.HealthRead)
"""What a run has most of, and no step of a story."""


def story_of(history: History) -> Story:
    """Return the run's own account.

    Raises:
        CorruptRun: the history has no run-started event.
    """
    run = history.run_started
    timings = timings_of(history)
    return Story(
        scenario=run.scenario,
        seed=run.seed,
        profile=run.profile,
        system=run.system,
        run=run.run,
        rerun=run.rerun,
        baseline=run.baseline,
        took_s=timings["wall_s"] or 0.0,
        tested={
            t.component: {"runtime": t.runtime, **dict(sorted(t.facts.items()))}
            for t in sorted(history.all(ev.Tested), key=lambda t: t.component)
        },
        timings=timings,
        steps=tuple(_steps(history)),
        notes=history.notes,
        known=run.known,
    )


def timings_of(history: History) -> dict[str, float | None]:
    """Return where the wall time went, in seconds; None where it never happened.

    ``overhead_s`` is what the harness itself cost: the wall time less the stack's start, the steady windows, the waits
    the story declares, the time that injecting and healing took (``fault_s``: a component's own end and start) and the
    time to recover; None in a run that never recovered.
    """
    ready, ended = history.first(ev.StackReady), history.last(ev.RunEnded)
    wall_s = ended.took_s if ended else history.seconds(history.end_ns)
    first = next(iter(history.captions("app-in", final=True)), None)
    start_s = ready.took_s if ready else None
    steady_s = sum(e.for_s for e in history.all(ev.SteadyReached))
    wait_s = sum(e.seconds for e in history.all(ev.DeclaredWait))
    recovered_s = _recovered_s(history)
    owed = bool(anchors(history)) and recovered_s is None  # waiting in vain is the system's time, not ours
    fault_s = _fault_s(history)
    own_s = wall_s - (start_s or 0.0) - steady_s - wait_s - fault_s - (recovered_s or 0.0)
    return {
        "stack_start_s": _rounded(start_s),
        "first_final_caption_s": _rounded(history.seconds(first.t_ns) if first else None),
        "steady_s": _rounded(steady_s),
        "declared_wait_s": _rounded(wait_s),
        "fault_s": _rounded(fault_s),
        "anchor_to_recovered_s": _rounded(recovered_s),
        "waited_s": _rounded(history.run_started.waited_s),
        "wall_s": _rounded(wall_s),
        "overhead_s": None if owed else _rounded(own_s),
    }


def _fault_s(history: History) -> float:
    """Return how long injecting and healing took, the waits declared meanwhile left out; overlaps count once."""
    begun: dict[int, int] = {}
    spans: list[tuple[int, int]] = []
    for e in history.iter(ev.Injecting, ev.Injected, ev.Healing, ev.Healed, ev.FaultFailed):
        number: int = e.number  # type: ignore[union-attr]  # all five have one
        if isinstance(e, ev.Injecting | ev.Healing):
            begun[number] = e.t_ns
        elif number in begun:
            spans.append((begun.pop(number), e.t_ns))
    busy_ns, until_ns = 0, 0
    for start_ns, end_ns in sorted(spans):
        busy_ns += max(0, end_ns - max(start_ns, until_ns))
        until_ns = max(until_ns, end_ns)
    for wait in history.all(ev.DeclaredWait):
        wait_end_ns = wait.t_ns + int(wait.seconds * 1e9)
        busy_ns -= sum(max(0, min(end_ns, wait_end_ns) - max(start_ns, wait.t_ns)) for start_ns, end_ns in spans)
    return max(0, busy_ns) / 1e9


def _recovered_s(history: History) -> float | None:
    """Return the longest time from a person's anchor to their first caption; None when one of them has none."""
    known, took = anchors(history), []
    for speaker, person in history.speakers().items():
        if person not in known:
            continue
        moment_ns = known[person].moment_ns
        found = first_caption_after(history, speaker, moment_ns)
        if found is None:
            return None
        took.append((found.t_ns - moment_ns) / 1e9)
    return max(took, default=None)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _steps(history: History) -> Iterator[Evidence]:
    alike = before_last_cycle(history)  # of cycles, the last one is told
    for e in history.events:
        text = "" if isinstance(e, MANY) else _step_text(e)
        if alike and alike.start_ns <= e.t_ns <= alike.end_ns:
            text = alike.what if isinstance(e, ev.CycleDone) and e.t_ns == alike.end_ns else ""
        if text:
            yield at(history, e.t_ns, e.proc or "rig", text)


def _step_text(event: ev.AnyEvent) -> str:  # noqa: C901, PLR0911  one line per kind of event
    match event:
        case ev.Step(text=text):
            return text
        case ev.SteadyReached(for_s=for_s):
            return f"steady for {for_s:.1f} s"
        case ev.Injected(fault=fault, proof=proof):
            return f"injected {fault}: {proof}"
        case ev.Healed(fault=fault, proof=proof):
            return f"healed {fault}: {proof}"
        case ev.Gate():
            return f"gate  {gate_text(event)}"
        case ev.Anchor(person=person, name=name):
            return f"anchor of {person}: {name}"
        case ev.SteadyAgain(person=person):
            return f"captions of {person} flow again"
        case ev.RecoveryMissed(reason=reason):
            return f"no recovery: {reason}"
        case ev.RoomReconnecting(person=person):
            return f"the phone of {person} lost its room; its media library resumes"
        case ev.RoomReconnected(person=person):
            return f"the phone of {person} has its room back"
        case ev.StoppedTalking():
            return "everybody stopped talking"
        case _:
            return ""
