"""``aftershock run``: checks every name, starts one pytest child per run, shows it live, and says what it came to."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.child import Interruption, command, run_child
from harness.cli.doctor import what_is_lacking
from harness.cli.naming import chosen, known_scenarios
from harness.cli.outcome import MACHINE, Finished, conclude, summary, summary_text, worst
from harness.cli.view import view_for
from harness.rig.options import RigOptions
from harness.story import ScenarioInfo
from harness.system import load_system

Scenarios = Annotated[
    list[str], typer.Argument(metavar="SCENARIO[variant]...", help="Scenarios; a bare name means its first variant.")
]
System = Annotated[str, typer.Option("--system", metavar="NAME|FILE.toml", help="The system under test.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="COMPONENT.KEY=VALUE", help="Change the system; repeatable.")
]
Defects = Annotated[
    list[str] | None, typer.Option("--defect", metavar="PART:NAME", help="Make a reference part wrong; repeatable.")
]
ProfileName = Annotated[str, typer.Option("--profile", metavar="short|real-timers", help="The system's timers.")]
Repeat = Annotated[int, typer.Option("--repeat", min=1, metavar="N", help="Run each N times; the worst decides.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of the first run; each repeat takes the next one.")]
Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Where run directories are kept.")]
LivekitServer = Annotated[
    str | None, typer.Option("--livekit-server", metavar="PATH", help="A LiveKit server to use instead of our own.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON line per run and a summary line; progress to stderr.")]


def run(
    scenarios: Scenarios,
    system: System = "reference",
    sets: Sets = None,
    defects: Defects = None,
    profile: ProfileName = "short",
    repeat: Repeat = 1,
    seed: Seed = 0,
    runs: Runs = Path("runs"),
    livekit_server: LivekitServer = None,
    as_json: AsJson = False,
) -> None:
    """Run scenarios and say whether captions came back."""
    stories = chosen(scenarios, known_scenarios())
    options = RigOptions(
        system=system, profile=profile, sets=tuple(sets or ()), defects=tuple(defects or ()), seed=seed,
        runs=runs.resolve(), livekit_server=str(Path(livekit_server).resolve()) if livekit_server else None,
    )  # fmt: skip
    # Only to see that every word can be used: the run reads the system again.
    load_system(options.system, profile=options.profile, sets=options.sets, defects=options.defects)
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
        print(json.dumps(one.facts) if as_json else one.text.rstrip(), flush=True)
        if as_json and one.exit_code:
            sys.stderr.write(one.text.rstrip() + "\n")
        if interruption.by:
            break
    exit_code = interruption.exit_code or worst([one.exit_code for one in finished])
    if interruption.by:
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
    with tempfile.TemporaryFile() as file, view_for(scenario, as_json=as_json) as view:
        verdicts = Path(f"/proc/{os.getpid()}/fd/{file.fileno()}")
        ended = await run_child(command(scenario, info.path, options, verdicts), verdicts, view, interruption)
    return conclude(ended, scenario, options)
