"""``aftershock run``: checks every name, starts one pytest child per run, shows it live, and says what it came to."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.child import Interruption, command, run_child
from harness.cli.doctor import what_is_lacking
from harness.cli.keeping import KeptRun
from harness.cli.known import checked_known
from harness.cli.naming import chosen, known_scenarios
from harness.cli.outcome import MACHINE, Finished, summary, summary_text, worst
from harness.cli.view import view_for
from harness.cli.words import Defects, Engine, LivekitServer, NoLogs, ProfileName, Runs, Sets, SystemName, rig_options
from harness.errors import UsageError
from harness.rig.options import RigOptions
from harness.rig.run_dir import check_writable
from harness.story import ScenarioInfo

Scenarios = Annotated[
    list[str], typer.Argument(metavar="SCENARIO[variant]...", help="Scenarios; a bare name means its first variant.")
]
Repeat = Annotated[int, typer.Option("--repeat", min=1, metavar="N", help="Run each N times; the worst decides.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of the first run; each repeat takes the next one.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON line per run and a summary line; progress to stderr.")]
KnownFile = Annotated[
    Path | None,
    typer.Option("--known", metavar="FILE.toml", help="Incidents the system is known to fail: they do not fail a run."),
]
Keep = Annotated[
    bool, typer.Option("--keep", help="Leave the stack of the one run standing after its verdict, until Ctrl-C.")
]


def run(
    scenarios: Scenarios,
    system: SystemName = "reference",
    sets: Sets = None,
    defects: Defects = None,
    profile: ProfileName = "short",
    repeat: Repeat = 1,
    seed: Seed = 0,
    runs: Runs = Path("runs"),
    engine: Engine = "aiortc",
    no_logs: NoLogs = False,
    livekit_server: LivekitServer = None,
    as_json: AsJson = False,
    keep: Keep = False,
    known: KnownFile = None,
) -> None:
    """Run scenarios and say whether captions came back."""
    stories = chosen(scenarios, known_scenarios())
    if keep and len(stories) * repeat > 1:
        raise UsageError(
            "one run to keep", f"{len(stories) * repeat} of them", "leave out --keep, or name one scenario"
        )
    options = rig_options(
        system, sets, defects, profile, runs, livekit_server, seed=seed, keep=keep, engine=engine, no_logs=no_logs
    )
    options = replace(options, known=checked_known(known, known_scenarios()))
    check_writable(options.runs)
    raise typer.Exit(asyncio.run(_run_all(stories, options, repeat, as_json=as_json)))


async def _run_all(
    stories: Sequence[tuple[str, ScenarioInfo]], options: RigOptions, repeat: int, *, as_json: bool
) -> int:
    interruption = Interruption()
    interruption.listen()
    finished: list[Finished] = []
    planned = [(scenario, info, options.seed + number) for scenario, info in stories for number in range(repeat)]
    for scenario, info, seed in planned:
        one = await _run_one(scenario, info, replace(options, seed=seed), interruption, as_json=as_json)
        finished.append(one)
        if not one.kept:
            _show(one, as_json=as_json)
        if interruption.by:
            break
    was_interrupted = interruption.by is not None and not finished[-1].kept
    exit_code = interruption.exit_code if was_interrupted else worst([one.exit_code for one in finished])
    if was_interrupted and interruption.by:
        sys.stderr.write(f"interrupted by {interruption.by.name}\n")
    if as_json:
        print(json.dumps(summary(finished, exit_code)), flush=True)
    elif len(planned) > 1:
        print(summary_text(finished, exit_code))
    if exit_code == MACHINE:
        sys.stderr.write(f"{await what_is_lacking(options.runs)}\n")
    return exit_code


async def _run_one(
    scenario: str, info: ScenarioInfo, options: RigOptions, interruption: Interruption, *, as_json: bool
) -> Finished:
    # A file without a name, which the child reaches through /proc: nothing of it is left when we are killed.
    with tempfile.TemporaryFile() as file, ExitStack() as viewing:
        view = viewing.enter_context(view_for(scenario, as_json=as_json))
        verdicts = Path(f"/proc/{os.getpid()}/fd/{file.fileno()}")
        kept = KeptRun(scenario, options, viewing.close, partial(_show, as_json=as_json), as_json=as_json)
        ended = await run_child(command(scenario, info.path, options, verdicts), verdicts, view, interruption, kept)
    return kept.concluded(ended)


def _show(one: Finished, *, as_json: bool) -> None:
    print(json.dumps(one.facts) if as_json else one.text.rstrip(), flush=True)
    if as_json and one.exit_code:
        sys.stderr.write(one.text.rstrip() + "\n")
