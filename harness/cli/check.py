"""``aftershock check``: judges a run directory again; nothing is run, and no record is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness import report
from harness.cli.outcome import judged
from harness.errors import UsageError

RunDirectory = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory, or .../latest.")]
AsJson = Annotated[bool, typer.Option("--json", help="The verdict as one JSON line.")]
Write = Annotated[bool, typer.Option("--write", help="Write verdict.json and report.md anew.")]


def check(run: RunDirectory, as_json: AsJson = False, write: Write = False) -> None:
    """Judge a run directory again, without running anything."""
    judgement = judged(_existing(run), write=write)
    print(report.summary_json(judgement) if as_json else report.text(judgement).rstrip())
    raise typer.Exit(report.exit_code(judgement))


def _existing(run: Path) -> Path:
    if not run.is_dir():
        raise UsageError("a run directory", f"nothing at {run}", "see `ls runs/*`; the newest of each is `latest`")
    if not (run / "events").is_dir() and (run / "latest").is_dir():
        raise UsageError("one run directory", f"{run}, which holds several", f"write for example {run / 'latest'}")
    return run.resolve()
