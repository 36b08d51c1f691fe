"""What is to be proven: the cases of ``proof/plan.toml``, whose rows may stand for many cases each."""

from __future__ import annotations

import itertools
import re
import runpy
import tomllib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.cli.naming import known_scenarios
from harness.errors import MachineError
from harness.settings import PROJECT_ROOT

PLAN = PROJECT_ROOT / "proof" / "plan.toml"
KEYS = (
    "scenario", "without", "caught", "system", "engine", "sets", "defects", "outcome", "broken", "diagnosis", "times",
    "under_load",
)  # fmt: skip
OF_CAUGHT = ("scenario", "defects", "outcome", "broken", "diagnosis")
"""What a row with ``caught`` does not say, since the table of the self-test says it."""
EVERY = "*"
"""As a row's scenario: every scenario there is, with every variant, but for those of its ``without``; as what is
``caught``: every row of the self-test's table."""
REFERENCE, CONTAINERS = "reference", "containers"
AIORTC = "aiortc"
"""The phone's engine when nothing is said."""


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
    engine: str = AIORTC
    """The media engine of the phones."""

    @property
    def slug(self) -> str:
        """The case's name as a file: scenario, defects without their part, system, engine, changes, load."""
        words = [self.scenario, *(word.partition(":")[2] for word in self.defects)]
        words += [] if self.system == REFERENCE else [self.system]
        words += [] if self.engine == AIORTC else [f"{self.engine}-engine"]
        words += [*self.sets, *(["under-load"] if self.under_load else [])]
        return "--".join(re.sub(r"[^A-Za-z0-9]+", "-", word).strip("-") for word in words)

    @property
    def makes_networks(self) -> bool:
        """Tell whether its parts are containers, so that a Docker network comes and goes with each run."""
        return self.system == CONTAINERS or any(".image=" in word for word in self.sets)

    @property
    def on(self) -> str:
        """What it runs on, in words: ``containers``, ``reference with bridge.process={gobridge}``."""
        engine = [] if self.engine == AIORTC else [f"the {self.engine} engine"]
        changes = [*self.sets, *engine]
        return " with ".join([self.system, *([", ".join(changes)] if changes else [])])

    def as_expected(self, outcome: str, broken: tuple[str, ...], diagnosis: str) -> bool:
        """Return whether this is what the plan says: the outcome, exactly these guarantees, this incident first."""
        return (outcome, tuple(sorted(broken)), diagnosis) == (self.outcome, self.broken, self.diagnosis)


def every_scenario() -> tuple[str, ...]:
    """Return the full ids of all scenarios and variants. Raises MachineError."""
    return tuple(full_id for info in known_scenarios().values() for full_id in info.ids())


Caught = Sequence[tuple[str, Sequence[str], Collection[str], str | None]]
"""Rows of the self-test's table: scenario, defects, what must be BROKEN, the incident named first."""


def every_caught() -> Caught:
    """Return the self-test's table, ``scenarios/caught.py``. Raises MachineError."""
    path = PROJECT_ROOT / "scenarios" / "caught.py"
    try:
        rows: Caught = runpy.run_path(str(path))["CAUGHT"]
    except (OSError, SyntaxError, NameError, KeyError) as wrong:
        raise MachineError(f"CAUGHT in {path}", f"{type(wrong).__name__}: {wrong}", "mend that file") from wrong
    return rows


def read_plan(
    path: Path = PLAN, every: Callable[[], Sequence[str]] = every_scenario, caught: Callable[[], Caught] = every_caught
) -> tuple[Case, ...]:
    """Read the plan; a case that several rows name is wanted as often as the greediest of them says.

    Raises:
        MachineError: it is missing, no TOML, a row says something unknown, or two rows contradict each other.
    """
    cases: dict[str, Case] = {}
    try:
        for written in tomllib.loads(path.read_text("utf-8"))["case"]:
            for row in _rows(written, caught):
                for case in _cases(row, every):
                    cases[case.slug] = _greedier(cases.get(case.slug, case), case)
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as wrong:
        raise MachineError(f"a plan in {path}", f"{type(wrong).__name__}: {wrong}", "mend the plan") from wrong
    return tuple(cases.values())


def _rows(row: dict[str, Any], caught: Callable[[], Caught]) -> Iterator[dict[str, Any]]:
    """Give a row as it is, or one for each row of the self-test's table that it stands for."""
    unknown = sorted(set(row) - set(KEYS))
    if unknown:
        raise ValueError(f"a case knows {', '.join(KEYS)}, not {', '.join(unknown)}")
    if "caught" not in row:
        yield row
        return
    said = sorted(set(row) & set(OF_CAUGHT))
    if row["caught"] != EVERY or said:
        raise ValueError(f'caught is "{EVERY}", and what is caught says {", ".join(OF_CAUGHT)} itself')
    rest = {key: value for key, value in row.items() if key != "caught"}
    for scenario, defects, broken, incident in caught():
        expected = {"broken": list(broken), "diagnosis": incident or ""} if broken else {}
        yield rest | expected | {
            "scenario": scenario, "defects": list(defects), "outcome": "BROKEN" if broken else "HOLDS"
        }  # fmt: skip


def _cases(row: dict[str, Any], every: Callable[[], Sequence[str]]) -> Iterator[Case]:
    scenarios = every() if row["scenario"] == EVERY else _several(row["scenario"])
    without = row.get("without", ())
    scenarios = [one for one in scenarios if not {one, one.partition("[")[0]} & set(without)]
    if row["outcome"] not in {"HOLDS", "BROKEN"} or (row["outcome"] == "BROKEN") != bool(row.get("broken")):
        raise ValueError(f"{', '.join(scenarios)}: outcome is HOLDS, or BROKEN with the guarantees that are")
    systems, engines = _several(row.get("system", REFERENCE)), _several(row.get("engine", AIORTC))
    for system, engine, scenario in itertools.product(systems, engines, scenarios):
        yield Case(
            scenario=scenario, outcome=row["outcome"], times=row["times"], defects=tuple(row.get("defects", ())),
            broken=tuple(sorted(row.get("broken", ()))), diagnosis=row.get("diagnosis", ""),
            under_load=row.get("under_load", False), system=system, sets=tuple(row.get("sets", ())), engine=engine,
        )  # fmt: skip


def _greedier(one: Case, other: Case) -> Case:
    if replace(one, times=other.times) != other:
        raise ValueError(f"two rows expect something else of {one.slug}")
    return max(one, other, key=lambda case: case.times)


def _several(words: str | Sequence[str]) -> Sequence[str]:
    return [words] if isinstance(words, str) else words
