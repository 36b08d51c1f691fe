"""The confusion matrix: what each set of defects was diagnosed as, counted from the verdicts of one tree.

A cell is on the diagonal when the incident is one that a defect of its row brings back (the registry of defects says
which). Every other cell wants a reason, and so does a 0 on the diagonal; it stands in ``proof/plan.toml`` as a
``[[confusion]]`` row. A reason excuses only what the plan expects of a case.
"""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.errors import MachineError
from harness.prove.lines import lines_of
from harness.prove.plan import PLAN, Case
from harness.reference.defects import DEFECTS

NONE = "none"
"""Nothing was broken, or no incident was named."""
NOT_EXPLAINED = "**not explained**"
Place = tuple[tuple[str, ...], str]
"""Where a cell is: the defects of its row, and the incident of its column."""
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
    """Why it is off the diagonal; of no runs at all, why it is never named first."""
    astray: int = 0
    """So many of the runs were to be diagnosed as something else, by the plan: no reason excuses them."""

    @property
    def explained(self) -> bool:
        """Tell whether it is as it should be, or the plan says why not."""
        return (self.on_diagonal and self.runs > 0) or bool(self.reason and not self.astray)


@dataclass(frozen=True)
class Matrix:
    """What the verdicts of one tree come to."""

    tree: str
    cells: tuple[Cell, ...]
    cases: int
    """How many cases with defects the plan has."""
    lacking: int
    """How many of them lack verdicts of this tree."""

    @property
    def explained(self) -> bool:
        """Tell whether every cell is."""
        return all(cell.explained for cell in self.cells)


def confusion(proof: Path, cases: Sequence[Case], tree: str, reasons: dict[Place, str]) -> Matrix:
    """Return every cell that is not empty, in the order of the plan; then each 0 of the diagonal.

    A row of which a case still lacks verdicts has no such 0: the incident may come yet.
    """
    counts: Counter[Place] = Counter()
    astray: Counter[Place] = Counter()
    where: dict[Place, dict[str, None]] = {}
    defective = [case for case in cases if case.defects]
    lacking: list[tuple[str, ...]] = []
    for case in defective:
        defects, lines = tuple(sorted(case.defects)), lines_of(proof, case, tree)
        lacking += [defects] if len(lines) < case.times else []
        for line in lines:
            key = (defects, _diagnosed(line["outcome"], line["diagnosis"]))
            counts[key] += 1
            astray[key] += key[1] != (case.diagnosis or NONE)
            where.setdefault(key, {})[case.scenario] = None
    seen = [
        Cell(*key, runs, tuple(where[key]), key[1] in own_incidents(key[0]), reasons.get(key, ""), astray[key])
        for key, runs in counts.items()
    ]
    whole = dict.fromkeys(cell.defects for cell in seen if cell.defects not in lacking)
    return Matrix(tree, (*seen, *_never_named(whole, seen, reasons)), len(defective), len(lacking))


def _never_named(rows: Iterable[tuple[str, ...]], seen: Sequence[Cell], reasons: dict[Place, str]) -> Iterator[Cell]:
    for defects in rows:
        row = [cell for cell in seen if cell.defects == defects]
        # Where no run is on the diagonal, why they are off it is why nothing is on it.
        off = "" if any(cell.on_diagonal for cell in row) else "; ".join(cell.reason for cell in row if cell.reason)
        for name in sorted(own_incidents(defects) - {cell.diagnosed for cell in row}):
            where = tuple(dict.fromkeys(scenario for cell in row for scenario in cell.scenarios))
            yield Cell(defects, name, 0, where, on_diagonal=True, reason=reasons.get((defects, name), off))


def own_incidents(defects: Sequence[str]) -> set[str]:
    """Return the incidents that these defects bring back, as the registry has them."""
    return {DEFECTS[word].incident for word in defects if word in DEFECTS}


def read_reasons(path: Path = PLAN) -> dict[Place, str]:
    """Return why cells are off the diagonal, or 0 on it, from the plan's ``[[confusion]]`` rows.

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


def confusion_table(matrix: Matrix) -> str:
    """Return the matrix as Markdown: columns are numbered, and explained below; then the cells off the diagonal."""
    cells = matrix.cells
    columns = sorted(
        {c.diagnosed for c in cells} | {i for c in cells for i in own_incidents(c.defects)}, key=_none_last
    )
    rows = list(dict.fromkeys(cell.defects for cell in cells))
    lines = [
        "# What each defect was diagnosed as",
        "",
        f"Counted from `proof/`, tree `{matrix.tree}`: every verdict of the plan's cases with defects, over every",
        "system, engine and load. A cell counts the runs whose first named incident it is. **Bold** is the diagonal:",
        "an incident that a defect of the row brings back. `none`: nothing broken. `UNKNOWN`: nothing could be judged.",
        "",
        *([f"{lacks(matrix)}", ""] if matrix.lacking else []),
        f"| defects | {' | '.join(str(number) for number in range(1, len(columns) + 1))} |",
        "|---" * (1 + len(columns)) + "|",
        *(_row(defects, columns, cells) for defects in rows),
        "",
        *(f"{number}. `{name}`" for number, name in enumerate(columns, 1)),
    ]
    return "\n".join([*lines, *_off_diagonal(cells)]) + "\n"


def lacks(matrix: Matrix) -> str:
    """Say how much is not counted yet."""
    return f"{matrix.lacking} of {matrix.cases} cases with defects lack verdicts of this tree."


def write_confusion(proof: Path, matrix: Matrix) -> None:
    """Write ``confusion.md`` and ``confusion.json``."""
    (proof / "confusion.md").write_text(confusion_table(matrix), "utf-8")
    whole = {
        "tree": matrix.tree, "cases": matrix.cases, "lacking": matrix.lacking,
        "cells": [asdict(cell) for cell in matrix.cells],
    }  # fmt: skip
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
    off = [cell for cell in cells if not cell.on_diagonal or not cell.runs]
    if not off:
        return ["", "Every run is on the diagonal."]
    lines = ["", "## Off the diagonal, or 0 on it", ""]
    lines += ["| defects | diagnosed as | runs | in | because |", "|---|---|---|---|---|"]
    return lines + [
        f"| {', '.join(f'`{w}`' for w in c.defects)} | `{c.diagnosed}` | {c.runs} | {', '.join(c.scenarios)} "
        f"| {c.reason if c.explained else _not_explained(c)} |"
        for c in off
    ]


def _not_explained(cell: Cell) -> str:
    return f"{NOT_EXPLAINED}: the plan expects something else of {cell.astray}" if cell.astray else NOT_EXPLAINED
