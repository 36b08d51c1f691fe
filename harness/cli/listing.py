"""``aftershock list``: the scenarios, their variants, and what each promises."""

from __future__ import annotations

import json
import os
from typing import Annotated

import typer

from harness.cli.naming import known_scenarios
from harness.settings import PROJECT_ROOT
from harness.story import ScenarioInfo

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object per scenario.")]


def list_scenarios(as_json: JsonOption = False) -> None:
    """Show the scenarios, their variants, and what each promises."""
    for info in known_scenarios().values():
        print(json.dumps(_facts(info)) if as_json else _lines(info))


def _facts(info: ScenarioInfo) -> dict[str, object]:
    return {
        "scenario": info.name,
        "ids": list(info.ids()),
        "variants": list(info.variants),
        "promise": info.doc,
        "file": os.path.relpath(info.path, PROJECT_ROOT),
    }


def _lines(info: ScenarioInfo) -> str:
    variants = f"[{'|'.join(info.variants)}]" if info.variants else ""
    return f"{info.name}{variants}\n    {info.doc}"
