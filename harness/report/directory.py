"""Judges a run directory and leaves the verdict in it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from harness import events as ev
from harness.checkers import Judgement, judge
from harness.history import History
from harness.report.charts import ZOMBIES, chart
from harness.report.machine import verdict_json
from harness.report.text import markdown

VERDICT, REPORT = "verdict.json", "report.md"


def write(run_dir: Path) -> Judgement:
    """Read the records of ``run_dir``, judge them, and write verdict.json, report.md and charts beside them.

    Judging the same records again writes the same bytes.

    Raises:
        CorruptRun: the records cannot be read; nothing is written then.
    """
    history = History.load(run_dir)
    judgement = judge(history)
    story = dataclasses.replace(judgement.story, run=shown_path(run_dir))
    judgement = dataclasses.replace(judgement, story=story)
    _replace(run_dir / VERDICT, verdict_json(judgement))
    _replace(run_dir / REPORT, markdown(judgement))
    if judgement.slopes:
        (run_dir / ZOMBIES).parent.mkdir(exist_ok=True)
        _replace(run_dir / ZOMBIES, chart(judgement.slopes, history.all(ev.CycleDone), story.scenario))
    return judgement


def shown_path(run_dir: Path) -> str:
    """Return the run directory as reports name it: from ``runs`` on, so that it does not depend on the machine."""
    parts = run_dir.resolve().parts
    start = len(parts) - 1 - parts[::-1].index("runs") if "runs" in parts else max(len(parts) - 2, 1)
    return "/".join(parts[start:])


def _replace(path: Path, content: str) -> None:
    """Write whole or not at all, so that a reader never meets half a verdict."""
    draft = path.with_name(path.name + ".part")
    draft.write_text(content, encoding="utf-8")
    draft.replace(path)
