"""Alive: no component ends by itself once it was ready or stays when asked to end; none logs an alarm line."""

from __future__ import annotations

import re

from harness import events as ev
from harness.checkers.timeline import at, of_log
from harness.checkers.verdict import Evidence, Outcome, Params, Verdict
from harness.history import History

NAME = "alive"


def check_alive(history: History, _params: Params) -> Verdict:
    """Judge Alive over the components of the system under test (those the rig started).

    An exit by a fault, by the teardown or by the machine is not the system's; one before readiness is a part that
    did not start, which is the set-up's affair.
    """
    if not history.all(ev.ComponentReady):
        return Verdict(NAME, Outcome.UNKNOWN, "no component was seen to get ready")
    exits = [
        at(history, e.t_ns, e.component, f"{e.component} {e.exit_text}, and nothing of ours ended it")
        for e in history.all(ev.ComponentExited)
        if not e.by_us and not e.machine and was_ready(history, e)
    ]
    exits += [
        at(
            history,
            e.t_ns,
            e.component,
            f"{e.component} was asked to end (SIGTERM) and was still there {e.within_s:g} s later",
        )
        for e in history.all(ev.ComponentIgnoredTerm)
    ]
    alarms = _alarms(history)
    if exits or alarms:
        first = (exits or alarms)[0]
        text = first.text if exits else f"{first.where} logged an alarm: {first.text}"
        return Verdict(NAME, Outcome.BROKEN, text, (*exits, *alarms[:5]), stands=bool(exits))
    ready = {e.component for e in history.all(ev.ComponentReady)}
    unready = _never_ready(history)
    names = ", ".join(sorted(ready - unready.keys()))
    text = "; ".join([*([f"{names}: no exit and no alarm line"] if names else []), *unready.values()])
    return Verdict(NAME, Outcome.UNKNOWN if unready else Outcome.HOLDS, text)


def _never_ready(history: History) -> dict[str, str]:
    """Return the components whose last start ended by itself before it was ready, each with how it ended."""
    ended = {e.component: e for e in history.all(ev.ComponentExited) if not e.by_us and not e.machine}
    return {
        name: f"{name} {e.exit_text} before it was ready"
        for name, e in sorted(ended.items())
        if not was_ready(history, e)
        and not any(r.component == name and r.t_ns > e.t_ns for r in history.all(ev.ComponentReady))
    }


def was_ready(history: History, exited: ev.ComponentExited) -> bool:
    """Tell whether this very start of the component had got ready before it ended."""
    starts = [
        s.t_ns for s in history.all(ev.ComponentStarted)
        if s.component == exited.component and s.identity == exited.identity and s.t_ns <= exited.t_ns
    ]  # fmt: skip
    since_ns = max(starts, default=history.start_ns)
    return any(
        r.component == exited.component and since_ns <= r.t_ns <= exited.t_ns for r in history.all(ev.ComponentReady)
    )


def _alarms(history: History) -> list[Evidence]:
    run = history.run_started
    alarm = [re.compile(p) for p in run.alarm]
    expected = [re.compile(p) for p in run.expected]
    parts = {e.component for e in history.all(ev.ComponentStarted)}
    parts |= {e.component for e in history.all(ev.ComponentReady)}
    return [
        of_log(history, line)
        for line in history.all(ev.LogLine)
        if line.component in parts
        and any(p.search(line.text) for p in alarm)
        and not any(p.search(line.text) for p in expected)
    ]
