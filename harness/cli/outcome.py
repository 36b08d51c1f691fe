"""What a run came to, for the reader, for the JSON and for the exit code; and the worst of several."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness import report
from harness.checkers import Judgement, Outcome, judge
from harness.cli.child import ChildEnded
from harness.errors import CorruptRun
from harness.history import History
from harness.rig.options import RigOptions

HOLDS, BROKEN, UNKNOWN, MACHINE, USAGE = 0, 1, 2, 3, 64
WORST_FIRST = (USAGE, MACHINE, BROKEN, UNKNOWN, HOLDS)
WORD = {HOLDS: Outcome.HOLDS, BROKEN: Outcome.BROKEN}
"""Exit code -> outcome; whatever is not listed is UNKNOWN."""
TAIL_LINES = 40


@dataclass(frozen=True)
class Finished:
    """One run, over and judged."""

    scenario: str
    exit_code: int
    text: str
    """What a reader gets."""
    facts: dict[str, Any]
    """The run's JSON line."""
    skipped: bool = False
    kept: bool = False
    """Shown already, when its stack was left standing; then its end is no interruption."""

    def listed(self, says: str) -> set[str]:
        """Return the incidents of the list of known breakage of which the run says this."""
        return {known["incident"] for known in self.facts.get("known", ()) if known["says"] == says}


def judged(run_dir: Path, *, write: bool) -> Judgement:
    """Judge a run directory, and name it so that it can be opened from where the user stands.

    Raises:
        CorruptRun: its records cannot be read.
    """
    judgement = report.write(run_dir) if write else judge(History.load(run_dir))
    here = Path.cwd()
    shown = run_dir.relative_to(here) if here in run_dir.parents else run_dir
    return replace(judgement, story=replace(judgement.story, run=str(shown)))


def conclude(ended: ChildEnded, scenario: str, options: RigOptions) -> Finished:
    """Judge what a child left, whatever way it ended."""
    if ended.skipped:
        return _nothing_run(scenario, options, UNKNOWN, f"skipped: {ended.skipped}", skipped=True)
    if ended.run_dir is None:
        if ended.returncode < 0:
            return _nothing_run(scenario, options, UNKNOWN, f"{_outside(ended)} before it began")
        code = ended.returncode if ended.returncode == USAGE else MACHINE
        return _nothing_run(scenario, options, code, f"the run did not start\n{_tail(ended.output)}")
    try:
        judgement = judged(ended.run_dir, write=not ended.finished)
    except CorruptRun as wrong:
        return _nothing_run(scenario, options, wrong.exit_code, str(wrong), run_dir=ended.run_dir)
    except OSError as refused:
        why = (
            f"expected to write the verdict in {ended.run_dir}; saw {refused.strerror}; free space there, or use --runs"
        )
        return _nothing_run(scenario, options, MACHINE, why, run_dir=ended.run_dir)
    return _weighed(judgement, ended, scenario)


def _weighed(judgement: Judgement, ended: ChildEnded, scenario: str) -> Finished:
    code = report.exit_code(judgement)
    text, facts = report.text(judgement), json.loads(report.summary_json(judgement))
    doubts = []
    if not ended.finished:
        doubts.append(f"{_outside(ended)}; judged by what is on disk")
    elif code == HOLDS and ended.returncode != 0:
        doubts.append(f"the story's own test failed (pytest exit {ended.returncode})\n{_tail(ended.output)}")
    if doubts and code == HOLDS:
        code, facts["outcome"] = UNKNOWN, Outcome.UNKNOWN.value
    for doubt in doubts:
        text = f"{text.rstrip()}\nUNKNOWN  {doubt}"
    return Finished(scenario, code, text, facts)


def _outside(ended: ChildEnded) -> str:
    if ended.returncode < 0:
        return f"the run was ended from outside by {signal.Signals(-ended.returncode).name}"
    return f"the run ended without a verdict (pytest exit {ended.returncode})"


def _nothing_run(
    scenario: str, options: RigOptions, code: int, why: str, *, run_dir: Path | None = None, skipped: bool = False
) -> Finished:
    """Return the result of a run of which there is nothing to judge; the JSON has the same keys as any other."""
    facts: dict[str, Any] = {
        "scenario": scenario, "outcome": Outcome.UNKNOWN.value,
        "guarantees": [report.preconditions_row(why)], "diagnosis": [],
        "recovery": {}, "tested": {}, "seed": options.seed, "system": options.system,
        "run": str(run_dir) if run_dir else None,
    }  # fmt: skip
    where = f"\n  run  {run_dir}" if run_dir else ""
    return Finished(scenario, code, f"{Outcome.UNKNOWN.value}  {scenario}: {why}{where}", facts, skipped)


def _tail(output: str) -> str:
    lines = output.rstrip().splitlines()[-TAIL_LINES:]
    return "\n".join(f"  | {line}" for line in lines) or "  | (it wrote nothing)"


def worst(codes: Sequence[int]) -> int:
    """Return the exit code that decides: the machine's fault, then broken, unknown, holds."""
    return min(codes, key=WORST_FIRST.index, default=HOLDS)


def summary(finished: Sequence[Finished], exit_code: int) -> dict[str, Any]:
    """Return the summary line of several runs; what is broken and known counts as ``known`` and does not fail them."""
    known = [one for one in finished if one.listed(report.FAILS)]
    codes = [one.exit_code for one in finished if not one.skipped and one not in known]
    failing = {incident for one in known for incident in one.listed(report.FAILS)}
    holding = {incident for one in finished for incident in one.listed(report.NO_LONGER)}
    outcome = WORD.get(exit_code, Outcome.UNKNOWN)
    return {
        "summary": True,
        "outcome": (Outcome.BROKEN if known and exit_code == HOLDS else outcome).value,
        "runs": len(finished),
        "holds": codes.count(HOLDS),
        "broken": codes.count(BROKEN),
        "unknown": codes.count(UNKNOWN),
        "skipped": sum(one.skipped for one in finished),
        "machine": codes.count(MACHINE),
        **({"known": len(known), "no_longer_failing": sorted(holding - failing)} if known or holding else {}),
        "exit": exit_code,
    }


def summary_text(finished: Sequence[Finished], exit_code: int) -> str:
    """Return the same for people."""
    facts = summary(finished, exit_code)
    words = ("holds", "broken", "unknown", "skipped", "machine", *(["known"] if "known" in facts else []))
    counts = ", ".join(f"{facts[word]} {word}" for word in words)
    gone = [
        f"known: {incident} no longer fails; strike it off the list" for incident in facts.get("no_longer_failing", ())
    ]
    return "\n".join([f"{facts['outcome']}  {facts['runs']} runs: {counts}", *gone])
