"""The verdict as JSON, whole for the run directory and in one line for the command line; and the exit code."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Final

from harness.checkers import SENTENCES, TITLES, Diagnosis, Evidence, Judgement, Outcome, Recovery, Slope
from harness.report.known import known_breakage, known_seen

SCHEMA: Final = 1
"""Of verdict.json; raised when a key changes its meaning, never when one is added."""
Json = dict[str, object]

HOLDS, BROKEN, INCONCLUSIVE, MACHINE = 0, 1, 2, 3


def exit_code(judgement: Judgement) -> int:
    """Return 0 when all holds, 1 when something is broken, 2 when inconclusive, 3 when the machine is at fault.

    What is broken and known (``--known``) is 0 too: the outcome keeps the truth.
    """
    if judgement.outcome is Outcome.BROKEN:
        return HOLDS if known_breakage(judgement) else BROKEN
    if judgement.machine_fault:
        return MACHINE
    return INCONCLUSIVE if judgement.outcome is Outcome.UNKNOWN else HOLDS


def verdict_json(judgement: Judgement) -> str:
    """Return the content of verdict.json: the summary's keys, and everything else that was found."""
    story = judgement.story
    whole: Json = {
        "schema": SCHEMA,
        **_summary(judgement, sentences=True),
        "preconditions": list(judgement.preconditions),
        "findings": _diagnoses(judgement.findings),
        "checklist": [{"item": a.item, "answer": a.answer, "evidence": a.evidence} for a in judgement.checklist],
        "declared": [{"name": s.name, **s.params} for s in judgement.declared],
        "profile": story.profile,
        "baseline": story.baseline,
        "rerun": story.rerun,
        "exit_code": exit_code(judgement),
        "took_s": story.took_s,
        "timings": dict(story.timings),
        "notes": list(story.notes),
        "slopes": [_slope(s) for s in judgement.slopes],
        "accounts": [{**asdict(a), "unexplained": a.unexplained, "exact": a.exact} for a in judgement.accounts],
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def _slope(slope: Slope) -> Json:
    """Return a slope without its points, which are in ``events/``; what is not finite is null, as JSON has it."""
    ends = {"per_cycle": slope.per_cycle, "low": slope.low, "high": slope.high}
    return {
        "part": slope.part,
        "quantity": slope.quantity,
        "unit": slope.unit,
        "ours": slope.ours,
        **{name: value if math.isfinite(value) else None for name, value in ends.items()},
        "tolerance": slope.tolerance,
        "outcome": slope.outcome.value if slope.outcome else None,
    }


def summary_json(judgement: Judgement) -> str:
    """Return the judgement as one line of JSON, with exactly the published keys."""
    return json.dumps(_summary(judgement, sentences=False), ensure_ascii=False)


def preconditions_row(why: str) -> Json:
    """Return the row among the guarantees that says why nothing can be concluded."""
    return {"name": "preconditions", "outcome": Outcome.UNKNOWN.value, "because": why, "evidence": []}


def _summary(judgement: Judgement, *, sentences: bool) -> Json:
    story = judgement.story
    guarantees: list[Json] = [preconditions_row("; ".join(judgement.preconditions))] if judgement.preconditions else []
    for v in judgement.verdicts:
        sentence: Json = {"sentence": SENTENCES.get(v.guarantee, "")} if sentences else {}
        name = TITLES.get(v.guarantee, v.guarantee)
        guarantees.append(
            {"name": name, **sentence, "outcome": v.outcome.value, "because": v.because, "evidence": _seen(v.evidence)}
        )
    return {
        "scenario": story.scenario,
        "outcome": judgement.outcome.value,
        "guarantees": guarantees,
        "diagnosis": _diagnoses(judgement.diagnosis),
        "recovery": _recovery(judgement.recovery),
        "tested": {component: dict(facts) for component, facts in story.tested.items()},
        "seed": story.seed,
        "system": story.system,
        "run": story.run,
        **_known(judgement),
    }


def _known(judgement: Judgement) -> Json:
    """Return what the list of known breakage says of the run; no key without a list."""
    if not judgement.story.known:
        return {}
    return {"known": [{"incident": k.incident, "says": k.says, "reason": k.reason} for k in known_seen(judgement)]}


def _recovery(recovery: Recovery) -> Json:
    """Return the times by name (keys end in ``_s``), the steps of the waterfall, and the one that took longest."""
    steps = [
        {
            "name": s.name, "state": s.state, "t_s": s.t_s, "took_s": s.took_s, "measured_s": s.measured_s,
            "budget_s": s.budget_s, "since": s.since, "source": s.source, "over": s.over, "how": s.how,
        }
        for s in recovery.steps
    ]  # fmt: skip
    return {**recovery.times, "steps": steps, "longest": recovery.longest}


def _diagnoses(found: Iterable[Diagnosis]) -> list[Json]:
    return [{"incident": d.incident, "because": d.because, "evidence": _seen(d.evidence)} for d in found]


def _seen(evidence: Iterable[Evidence]) -> list[Json]:
    return [{"t_s": e.t_s, "where": e.where, "text": e.text} for e in evidence]
