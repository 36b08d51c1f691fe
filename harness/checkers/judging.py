"""Judges a whole run: preconditions, one verdict per declared guarantee, and what explains them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness import events as ev
from harness.checkers.accounting import accounts
from harness.checkers.checklist import checklist_of
from harness.checkers.cleanliness import check_clean
from harness.checkers.containment import check_contained
from harness.checkers.diagnosis import diagnose, findings
from harness.checkers.honesty import check_honest
from harness.checkers.integrity import check_intact
from harness.checkers.liveness import check_alive
from harness.checkers.loss import check_bounded_loss
from harness.checkers.order import check_ordered, check_unique
from harness.checkers.preconditions import failed_preconditions, lost_addresses
from harness.checkers.recovery import recovery_of
from harness.checkers.resumption import check_resumes, never_steady
from harness.checkers.slopes import slopes_of
from harness.checkers.specs import alive
from harness.checkers.story import story_of
from harness.checkers.timeliness import check_timely
from harness.checkers.verdict import Judgement, Outcome, Params, Recovery, Verdict
from harness.events import CheckSpec
from harness.history import History

Checker = Callable[[History, Params], Verdict]

CHECKERS: Mapping[str, Checker] = {
    "resumes": check_resumes, "honest": check_honest, "bounded_loss": check_bounded_loss, "ordered": check_ordered,
    "unique": check_unique, "intact": check_intact, "alive": check_alive, "clean": check_clean,
    "timely": check_timely, "contained": check_contained,
}  # fmt: skip

WANT_AUDIO = {"resumes", "honest", "bounded_loss"}
"""Guarantees that missing audio breaks, whoever took it."""


def judge(history: History) -> Judgement:
    """Say what the declared guarantees came to. Pure: the same history gives the same judgement.

    Preconditions decide first: with one failed, only violations that no lag of ours can cause (``Verdict.stands``)
    still count, else the outcome is UNKNOWN. Alive is judged in every run, declared or not.

    Raises:
        CorruptRun: the history has no run-started event.
    """
    story = story_of(history)
    declared = history.last(ev.Declared)
    specs = declared.checks if declared else ()
    verdicts = [run_checker(history, spec) for spec in specs]
    if not any(s.name == alive.name for s in specs):
        verdicts.append(run_checker(history, alive))
    never = never_steady(history)
    if never is not None and not any(v.guarantee == "resumes" for v in verdicts):
        verdicts.insert(0, never)
    preconditions = failed_preconditions(history)
    if any(v.outcome is Outcome.BROKEN and v.guarantee in WANT_AUDIO for v in verdicts):
        preconditions += tuple(lost_addresses(history))
    by_name = {v.guarantee: v for v in verdicts}
    return Judgement(
        outcome=_outcome(verdicts, preconditions),
        verdicts=tuple(verdicts),
        preconditions=preconditions,
        diagnosis=diagnose(history, by_name),
        recovery=recovery_of(history) if history.speakers() else Recovery({}, ()),
        checklist=checklist_of(history, by_name) if declared and declared.checklist else (),
        findings=findings(history, by_name),
        machine_fault=any(e.machine for e in history.all(ev.StoryRaised))
        or any(e.machine for e in history.all(ev.ComponentExited)),
        story=story,
        declared=tuple(specs),
        slopes=slopes_of(history),
        accounts=accounts(history),
    )


def run_checker(history: History, spec: CheckSpec) -> Verdict:
    """Run one checker; one that raises, or that is not known, gives UNKNOWN with what it raised."""
    checker = CHECKERS.get(spec.name)
    if checker is None:
        known = ", ".join(sorted(CHECKERS))
        return Verdict(spec.name, Outcome.UNKNOWN, f"no checker of this name; known are {known}")
    try:
        return checker(history, spec.params)
    except Exception as error:  # noqa: BLE001  whatever a checker raises, nothing is concluded from it
        return Verdict(spec.name, Outcome.UNKNOWN, f"the checker itself failed: {type(error).__name__}: {error}")


def _outcome(verdicts: list[Verdict], preconditions: tuple[str, ...]) -> Outcome:
    if preconditions:
        stands = any(v.outcome is Outcome.BROKEN and v.stands for v in verdicts)
        return Outcome.BROKEN if stands else Outcome.UNKNOWN
    for outcome in (Outcome.BROKEN, Outcome.UNKNOWN):
        if any(v.outcome is outcome for v in verdicts):
            return outcome
    return Outcome.HOLDS
