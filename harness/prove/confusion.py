"""The confusion matrix: what each set of defects was diagnosed as, counted from the verdicts of one tree.

A cell is on the diagonal when the incident is one that a defect of its row brings back (the registry of defects says
which). Every other cell wants a reason, which stands in ``proof/plan.toml`` as a ``[[confusion]]`` row.
"""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.errors import MachineError
from harness.prove.lines import lines_of
from harness.prove.plan import PLAN, Case
from harness.reference.defects import DEFECTS

NONE = "none"
"""Nothing was broken, or no incident was named."""
NOT_EXPLAINED = "**not explained**"
REASON_KEYS = {"defects", "diagnosed", "reason"}


@dataclass(frozen=True)
class Cell:
    """So many runs with these defects were diagnosed as this."""

    defects: tuple[str, ...]
    diagnosed: str
    """The incident named first, ``none``, or ``UNKNOWN`` where nothing could be judged."""
    runs: int
    scenarios: tuple[str, ...]
    on_diagonal: bool
    reason: str = ""
    """Why it is off the diagonal."""


def confusion(
    proof: Path, cases: Sequence[Case], tree: str, reasons: dict[tuple[tuple[str, ...], str], str]
) -> list[Cell]:
    """Return every cell that is not empty, in the order of the plan."""
    counts: Counter[tuple[tuple[str, ...], str]] = Counter()
    where: dict[tuple[tuple[str, ...], str], dict[str, None]] = {}
    for case in cases:
        if not case.defects:
            continue
        for line in lines_of(proof, case, tree):
            key = (tuple(sorted(case.defects)), _diagnosed(line["outcome"], line["diagnosis"]))
            counts[key] += 1
            where.setdefault(key, {})[case.scenario] = None
    return [
        Cell(
            key[0], key[1], runs, tuple(where[key]), key[1] in own_incidents(key[0]), reasons.get(key, "")
        )
        for key, runs in counts.items()
    ]  # fmt: skip


def own_incidents(defects: Sequence[str]) -> set[str]:
    """Return the incidents that these defects bring back, as the registry has them."""
    return {DEFECTS[word].incident for word in defects if word in DEFECTS}


def read_reasons(path: Path = PLAN) -> dict[tuple[tuple[str, ...], str], str]:
    """Return why cells are off the diagonal, from the plan's ``[[confusion]]`` rows.

    Raises:
        MachineError: the plan is missing or no TOML, or a row lacks a key or has another.
    """
    try:
        rows = tomllib.loads(path.read_text("utf-8")).get("confusion", [])
    except (OSError, tomllib.TOMLDecodeError) as wrong:
        raise MachineError(f"a plan in {path}", f"{type(wrong).__name__}: {wrong}", "mend the plan") from wrong
    for row in rows:
        if set(row) != REASON_KEYS:
            raise MachineError(f"{', '.join(sorted(REASON_KEYS))} in each confusion row of {path}", str(row), "mend it")
    return {(tuple(sorted(row["defects"])), row["diagnosed"]): row["reason"] for row in rows}


def confusion_table(cells: Sequence[Cell], tree: str) -> str:
    """Return the matrix as Markdown: columns are numbered, and explained below; then the cells off the diagonal."""
    columns = sorted(
        {c.diagnosed for c in cells} | {i for c in cells for i in own_incidents(c.defects)}, key=_none_last
    )
    rows = list(dict.fromkeys(cell.defects for cell in cells))
    lines = [
        "# What each defect was diagnosed as",
        "",
        f"Counted from `proof/`, tree `{tree}`: every verdict of the plan's cases with defects, over every system,",
        "engine and load. A cell counts the runs whose first named incident it is. **Bold** is the diagonal: an",
        "incident that a defect of the row brings back. `none`: nothing broken. `UNKNOWN`: nothing could be judged.",
        "",
        f"| defects | {' | '.join(str(number) for number in range(1, len(columns) + 1))} |",
        "|---" * (1 + len(columns)) + "|",
        *(_row(defects, columns, cells) for defects in rows),
        "",
        *(f"{number}. `{name}`" for number, name in enumerate(columns, 1)),
    ]
    return "\n".join([*lines, *_off_diagonal(cells)]) + "\n"


def write_confusion(proof: Path, cells: Sequence[Cell], tree: str) -> None:
    """Write ``confusion.md`` and ``confusion.json``."""
    (proof / "confusion.md").write_text(confusion_table(cells, tree), "utf-8")
    whole = {"tree": tree, "cells": [asdict(cell) for cell in cells]}
    (proof / "confusion.json").write_text(json.dumps(whole, indent=1) + "\n", "utf-8")


def _diagnosed(outcome: str, diagnosis: str) -> str:
    return "UNKNOWN" if outcome == "UNKNOWN" else diagnosis or NONE


def _none_last(name: str) -> tuple[bool, bool, str]:
    return name == "UNKNOWN", name == NONE, name


def _row(defects: tuple[str, ...], columns: Sequence[str], cells: Sequence[Cell]) -> str:
    found = {cell.diagnosed: cell for cell in cells if cell.defects == defects}
    counts = [_count(found.get(name), expected=name in own_incidents(defects)) for name in columns]
    return f"| {', '.join(f'`{word}`' for word in defects)} | {' | '.join(counts)} |"


def _count(cell: Cell | None, *, expected: bool) -> str:
    if cell is None:
        return "**0**" if expected else ""
    return f"**{cell.runs}**" if cell.on_diagonal else str(cell.runs)


def _off_diagonal(cells: Sequence[Cell]) -> list[str]:
    if not cells:
        return ["", "There is no verdict of this tree yet."]
    off = [cell for cell in cells if not cell.on_diagonal]
    if not off:
        return ["", "Every run is on the diagonal."]
    lines = ["", "## Off the diagonal", "", "| defects | diagnosed as | runs | in | because |", "|---|---|---|---|---|"]
    return lines + [
        f"| {', '.join(f'`{w}`' for w in c.defects)} | `{c.diagnosed}` | {c.runs} | {', '.join(c.scenarios)} "
        f"| {c.reason or NOT_EXPLAINED} |"
        for c in off
    ]
