"""What is to be proven: the cases of ``proof/plan.toml``, whose rows may stand for many cases each."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.cli.naming import known_scenarios
from harness.errors import MachineError
from harness.settings import PROJECT_ROOT

PLAN = PROJECT_ROOT / "proof" / "plan.toml"
KEYS = ("scenario", "without", "system", "sets", "defects", "outcome", "broken", "diagnosis", "times", "under_load")
EVERY = "*"
"""As a row's scenario: every scenario there is, with every variant, but for those of its ``without``."""
REFERENCE, CONTAINERS = "reference", "containers"


@dataclass(frozen=True)
class Case:
    """One scenario on one system, and what must come out."""

    scenario: str
    outcome: str
    times: int
    defects: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    """The exact set of guarantees that must be BROKEN, sorted."""
    diagnosis: str = ""
    """The incident that must be named first; empty when none may be."""
    under_load: bool = False
    system: str = REFERENCE
    sets: tuple[str, ...] = ()
    """``component.key=value`` words; a value may name something that is built first: ``{gobridge}``."""

    @property
    def slug(self) -> str:
        """The case's name as a file: scenario, defects without their part, system, changes to it, load."""
        words = [self.scenario, *(word.partition(":")[2] for word in self.defects)]
        words += [] if self.system == REFERENCE else [self.system]
        words += [*self.sets, *(["under-load"] if self.under_load else [])]
        return "--".join(re.sub(r"[^A-Za-z0-9]+", "-", word).strip("-") for word in words)

    @property
    def makes_networks(self) -> bool:
        """Tell whether its parts are containers, so that a Docker network comes and goes with each run."""
        return self.system == CONTAINERS or any(".image=" in word for word in self.sets)

    @property
    def on(self) -> str:
        """What it runs on, in words: ``containers``, ``reference with bridge.process={gobridge}``."""
        return " with ".join([self.system, *([", ".join(self.sets)] if self.sets else [])])

    def as_expected(self, outcome: str, broken: tuple[str, ...], diagnosis: str) -> bool:
        """Return whether this is what the plan says: the outcome, exactly these guarantees, this incident first."""
        return (outcome, tuple(sorted(broken)), diagnosis) == (self.outcome, self.broken, self.diagnosis)


def every_scenario() -> tuple[str, ...]:
    """Return the full ids of all scenarios and variants. Raises MachineError."""
    return tuple(full_id for info in known_scenarios().values() for full_id in info.ids())


def read_plan(path: Path = PLAN, every: Callable[[], Sequence[str]] = every_scenario) -> tuple[Case, ...]:
    """Read the plan; a case that several rows name is wanted as often as the greediest of them says.

    Raises:
        MachineError: it is missing, no TOML, a row says something unknown, or two rows contradict each other.
    """
    cases: dict[str, Case] = {}
    try:
        for row in tomllib.loads(path.read_text("utf-8"))["case"]:
            for case in _cases(row, every):
                cases[case.slug] = _greedier(cases.get(case.slug, case), case)
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as wrong:
        raise MachineError(f"a plan in {path}", f"{type(wrong).__name__}: {wrong}", "mend the plan") from wrong
    return tuple(cases.values())


def _cases(row: dict[str, Any], every: Callable[[], Sequence[str]]) -> Iterator[Case]:
    unknown = sorted(set(row) - set(KEYS))
    if unknown:
        raise ValueError(f"a case knows {', '.join(KEYS)}, not {', '.join(unknown)}")
    scenarios = every() if row["scenario"] == EVERY else _several(row["scenario"])
    without = row.get("without", ())
    scenarios = [one for one in scenarios if one.partition("[")[0] not in without]
    if row["outcome"] not in {"HOLDS", "BROKEN"} or (row["outcome"] == "BROKEN") != bool(row.get("broken")):
        raise ValueError(f"{', '.join(scenarios)}: outcome is HOLDS, or BROKEN with the guarantees that are")
    for system in _several(row.get("system", REFERENCE)):
        for scenario in scenarios:
            yield Case(
                scenario=scenario, outcome=row["outcome"], times=row["times"], defects=tuple(row.get("defects", ())),
                broken=tuple(sorted(row.get("broken", ()))), diagnosis=row.get("diagnosis", ""),
                under_load=row.get("under_load", False), system=system, sets=tuple(row.get("sets", ())),
            )  # fmt: skip


def _greedier(one: Case, other: Case) -> Case:
    if replace(one, times=other.times) != other:
        raise ValueError(f"two rows expect something else of {one.slug}")
    return max(one, other, key=lambda case: case.times)


def _several(words: str | Sequence[str]) -> Sequence[str]:
    return [words] if isinstance(words, str) else words
