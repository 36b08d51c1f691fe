"""What is to be proven: the cases of ``proof/plan.toml``."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import MachineError
from harness.settings import PROJECT_ROOT

PLAN = PROJECT_ROOT / "proof" / "plan.toml"
KEYS = ("scenario", "defects", "outcome", "broken", "diagnosis", "times", "under_load")


@dataclass(frozen=True)
class Case:
    """One row of the plan."""

    scenario: str
    outcome: str
    times: int
    defects: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    """The exact set of guarantees that must be BROKEN, sorted."""
    diagnosis: str = ""
    """The incident that must be named first; empty when none may be."""
    under_load: bool = False

    @property
    def slug(self) -> str:
        """The case's name as a file: scenario, defects without their part, load."""
        words = [self.scenario, *(word.partition(":")[2] for word in self.defects)]
        words += ["under-load"] if self.under_load else []
        return "--".join(re.sub(r"[^A-Za-z0-9]+", "-", word).strip("-") for word in words)

    def as_expected(self, outcome: str, broken: tuple[str, ...], diagnosis: str) -> bool:
        """Return whether this is what the plan says: the outcome, exactly these guarantees, this incident first."""
        return (outcome, tuple(sorted(broken)), diagnosis) == (self.outcome, self.broken, self.diagnosis)


def read_plan(path: Path = PLAN) -> tuple[Case, ...]:
    """Read the plan.

    Raises:
        MachineError: it is missing, no TOML, or a case says something unknown.
    """
    try:
        cases = tuple(_case(raw) for raw in tomllib.loads(path.read_text("utf-8"))["case"])
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as wrong:
        raise MachineError(f"a plan in {path}", f"{type(wrong).__name__}: {wrong}", "mend the plan") from wrong
    slugs = [case.slug for case in cases]
    twice = {slug for slug in slugs if slugs.count(slug) > 1}
    if twice:
        raise MachineError("each case once", f"{', '.join(sorted(twice))} twice in {path}", "remove one")
    return cases


def _case(raw: dict[str, Any]) -> Case:
    unknown = sorted(set(raw) - set(KEYS))
    if unknown:
        raise ValueError(f"a case knows {', '.join(KEYS)}, not {', '.join(unknown)}")
    case = Case(
        scenario=raw["scenario"], outcome=raw["outcome"], times=raw["times"], defects=tuple(raw.get("defects", ())),
        broken=tuple(sorted(raw.get("broken", ()))), diagnosis=raw.get("diagnosis", ""),
        under_load=raw.get("under_load", False),
    )  # fmt: skip
    if case.outcome not in {"HOLDS", "BROKEN"} or (case.outcome == "BROKEN") != bool(case.broken):
        raise ValueError(f"{case.slug}: outcome is HOLDS, or BROKEN with the guarantees that are")
    return case
