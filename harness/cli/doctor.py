"""``aftershock doctor``: what this machine has, lacks, and is ready for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.outcome import HOLDS, MACHINE
from harness.doctor import as_json, as_text, examine, lacks_text
from harness.doctor.values import PROCESS_RUNS

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object.")]
RunsOption = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Where run directories are kept.")]


def doctor(json: JsonOption = False, runs: RunsOption = Path("runs")) -> None:
    """Say what this machine has and lacks for runs, and how to mend it; change nothing."""
    found = asyncio.run(examine(runs.absolute()))
    print(as_json(found) if json else as_text(found))
    raise typer.Exit(HOLDS if found.ready[PROCESS_RUNS] else MACHINE)


async def what_is_lacking(runs: Path) -> str:
    """Return what to show below a verdict that is the machine's fault."""
    return lacks_text(await examine(runs))
