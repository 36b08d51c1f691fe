"""The recovery waterfall as times and lines: its steps with their budgets, the anchor, the outage."""

from __future__ import annotations

from harness import events as ev
from harness.checkers.cycles import cycles_text, of_last_cycle, of_last_recovery
from harness.checkers.hearing import Hearing, HopState, hop_states
from harness.checkers.resumption import first_caption_after
from harness.checkers.timeline import FaultWindow, anchors, fault_windows
from harness.checkers.verdict import Recovery, RecoveryStep
from harness.checkers.waterfall import DONE, HEALED, KEPT, LANDED, NOTICED, PROPOSED, longest, steps_of
from harness.checkers.zombies import gate_text
from harness.clock import SECOND_NS
from harness.frames import HOPS
from harness.history import History

LABEL_WIDTH = 14
NAMES = {"ack": "ACK"}
"""Step -> its name for people, where it differs."""


def recovery_of(history: History) -> Recovery:
    """Return the waterfall of the person who took longest to get captions back (or never did), in the last cycle."""
    told = of_last_cycle(history, fault_windows(history))
    anchor, speaker = _slowest(history)
    windows = of_last_recovery(history, told, anchor)
    first = first_caption_after(history, speaker, anchor.moment_ns) if anchor and speaker else None
    landed_ns = windows[0].landed_ns if windows else None
    last_ns, next_ns = _outage(history, speaker, windows, anchor)
    times: dict[str, float | None] = {
        "injected_s": _moment(history, landed_ns),
        "healed_s": _moment(history, max((w.end_ns for w in windows if w.end_ns), default=None)),
        "anchor_s": _moment(history, anchor.moment_ns if anchor else None),
        "last_good_s": _moment(history, last_ns),
        "next_good_s": _moment(history, next_ns),
        "outage_s": _span(last_ns, next_ns),
        "anchor_to_recovered_s": _span(anchor.moment_ns if anchor else None, first.t_ns if first else None),
        "injected_to_recovered_s": _span(landed_ns, first.t_ns if first else None),
    }
    states = hop_states(history, anchor.moment_ns, speaker=speaker) if anchor else ()
    for state in states:
        seen_ns = state.first_ns if state.hop != "app-in" else (first.t_ns if first else None)
        times[f"first_{state.hop.replace('-', '_')}_s"] = _moment(history, seen_ns)
    person = anchor.person if anchor else min(history.speakers().values(), default="")
    steps = steps_of(history, person, windows, states, first)
    slowest = longest(steps)
    lines = _lines(history, times, told, anchor, states, {step.name: step for step in steps})
    if slowest is not None:
        name = _name(slowest.name)
        text = f"{name}, since the step before"
        lines.append(_line("longest", slowest.took_s, text, none=f"{name}: it never came"))
    return Recovery(times, tuple(lines), steps, slowest.name if slowest else "")


def _slowest(history: History) -> tuple[ev.Anchor | None, int | None]:
    ids = {person: speaker for speaker, person in history.speakers().items()}
    worst: tuple[int, ev.Anchor | None, int | None] = (-1, None, None)
    for person, anchor in sorted(anchors(history).items()):
        speaker = ids.get(person)
        found = first_caption_after(history, speaker, anchor.moment_ns) if speaker else None
        took_ns = found.t_ns - anchor.moment_ns if found else history.end_ns
        if took_ns > worst[0]:
            worst = (took_ns, anchor, speaker)
    return worst[1], worst[2]


def _outage(
    history: History, speaker: int | None, windows: tuple[FaultWindow, ...], anchor: ev.Anchor | None
) -> tuple[int | None, int | None]:
    """Return when the last caption before the fault came and when the first good one after it."""
    if not windows:
        return None, None
    struck_ns = windows[0].start_ns
    if windows[0].end_ns and anchor and _flowed_again(history, anchor, struck_ns):
        struck_ns = windows[0].end_ns  # captions flowed in spite of the fault: this recovery is from its heal
    before = [c.t_ns for c in history.captions("app-in", final=True, speaker=speaker) if c.t_ns <= struck_ns]
    if speaker is None:
        return max(before, default=None), None
    after = first_caption_after(history, speaker, anchor.moment_ns if anchor else struck_ns)
    return max(before, default=None), after.t_ns if after else None


def _flowed_again(history: History, anchor: ev.Anchor, since_ns: int) -> bool:
    again = (e.t_ns for e in history.all(ev.SteadyAgain) if e.person == anchor.person)
    return any(since_ns < t_ns < anchor.t_ns for t_ns in again)


def _moment(history: History, t_ns: int | None) -> float | None:
    return None if t_ns is None else round(history.seconds(t_ns), 3)


def _span(start_ns: int | None, end_ns: int | None) -> float | None:
    return None if start_ns is None or end_ns is None else round((end_ns - start_ns) / SECOND_NS, 3)


def _lines(
    history: History, times: dict[str, float | None], windows: tuple[FaultWindow, ...], anchor: ev.Anchor | None,
    states: tuple[HopState, ...], steps: dict[str, RecoveryStep],
) -> list[str]:  # fmt: skip
    told = cycles_text(history)
    since_ns = windows[0].start_ns if told and windows else history.start_ns
    lines = [_line("cycles", None, "", none=told)] if told else []
    lines += [_line("injected", _moment(history, w.landed_ns), f"{w.fault}  {w.proof}") for w in windows]
    if NOTICED in steps:
        lines.append(_step_line(steps[NOTICED]))
    numbers = {w.number for w in windows}
    healed = {e.number: e for e in history.all(ev.Healed) if e.number in numbers}
    lines += [_line("healed", _moment(history, e.t_ns), f"{e.fault}  {e.proof}") for _, e in sorted(healed.items())]
    gates = [g for g in history.all(ev.Gate) if g.t_ns >= since_ns]
    lines += [_line("gate", _moment(history, g.t_ns), gate_text(g)) for g in gates]
    if windows:
        lines.append(_line("last good", times["last_good_s"], "last final caption before the fault"))
    if anchor is not None:
        lines.append(_line("anchor", times["anchor_s"], f"{anchor.name} ({anchor.person})"))
    lines += [_step_line(s) for name, s in steps.items() if name not in {LANDED, NOTICED, HEALED, *HOPS}]
    for state in states:
        seen_s = times[f"first_{state.hop.replace('-', '_')}_s"]
        word = f"{state.state} {state.note}".rstrip() if state.state is not Hearing.HEARD else "none in time"
        after = f"{seen_s - (times['anchor_s'] or 0.0):.2f} s after the anchor" if seen_s is not None else ""
        step = steps.get(state.hop)
        took = f"+{step.took_s:.2f} s{_budget(step)}; " if step and step.took_s is not None else ""
        lines.append(_line(state.hop, seen_s, f"{took}{after}", none=word))
    if times["outage_s"] is not None:
        lines.append(_line("outage", times["outage_s"], "from the last good caption to the next"))
    elif windows:
        none = "no good caption after the fault" if times["next_good_s"] is None else "no caption before the fault"
        lines.append(_line("outage", None, "", none=none))
    return lines


def _step_line(step: RecoveryStep) -> str:
    none = step.how if step.state != DONE and step.how else "kept" if step.state == KEPT else "never"
    took = f"+{step.took_s:.2f} s" if step.took_s is not None else ""
    told = f"{took}{_budget(step)}  {step.how}".rstrip()
    return _line(_name(step.name), step.t_s, told, none=none)


def _budget(step: RecoveryStep) -> str:
    """Return ``, 0.05 of 3 s since ACK``; with (p) where the budget is only proposed, and OVER where it is broken."""
    if step.budget_s is None or step.measured_s is None:
        return ""
    proposed = " (p)" if step.source == PROPOSED else ""
    over = " OVER" if step.over else ""
    return f", {step.measured_s:.2f} of {step.budget_s:.0f} s since {_name(step.since)}{proposed}{over}"


def _name(step: str) -> str:
    return NAMES.get(step, step)


def _line(label: str, moment_s: float | None, text: str, *, none: str = "never") -> str:
    shown = f"{moment_s:8.3f} s  {text}" if moment_s is not None else f"         {none}"
    return f"{label:<{LABEL_WIDTH}} {shown}".rstrip()
