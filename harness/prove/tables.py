"""The verdicts of one tree as Markdown: every case with its times, or one row per story with a column per system."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.prove.lines import lines_of
from harness.prove.plan import Case


def long_table(proof: Path, cases: Sequence[Case], tree: str) -> str:
    """Return the plan's cases with n/n over all lines of the tree, and how long recovery and run took."""
    rows = [
        f"Tree `{tree}`. n/n counts every verdict of this tree; UNKNOWN is not as expected; no run was made again.",
        "",
        "| case | on | defects | expected | as expected | otherwise | recovery s, median (max) | wall s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join(rows + [_row(case, lines_of(proof, case, tree)) for case in cases]) + "\n"


def short_table(proof: Path, cases: Sequence[Case], tree: str) -> str:
    """Return one row per story and expectation, and a column per system, with n/n of it; for the README."""
    systems = list(dict.fromkeys(case.on for case in cases))
    stories: dict[tuple[str, ...], dict[str, str]] = {}
    for case in cases:
        story = (f"`{case.scenario}`{_load(case)}", _defects(case), _expected(case))
        stories.setdefault(story, {})[case.on] = _seen(case, lines_of(proof, case, tree))
    rows = [
        f"Counted from `proof/`, tree `{tree}`; every verdict of that tree counts, UNKNOWN as not passed.",
        "After n/n: recovery in seconds, median (max).",
        "",
        f"| scenario | defects | expected | {' | '.join(systems)} |",
        "|---" * (3 + len(systems)) + "|",
    ]
    return (
        "\n".join(rows + [_cells([*story, *(on.get(s, "") for s in systems)]) for story, on in stories.items()]) + "\n"
    )


def _row(case: Case, lines: Sequence[dict[str, Any]]) -> str:
    good = [line for line in lines if line["as_expected"]]
    other = [line["outcome"] for line in lines if not line["as_expected"]]
    otherwise = ", ".join(f"{other.count(word)} {word}" for word in sorted(set(other))) or "-"
    return _cells(
        [
            case.scenario + _load(case), case.on, _defects(case), _expected(case),
            f"**{len(good)}/{len(lines)}**{_wanted(case, lines)}", otherwise, _recovery(lines),
            _spread([line["wall_s"] for line in lines]),
        ]
    )  # fmt: skip


def _seen(case: Case, lines: Sequence[dict[str, Any]]) -> str:
    counted = f"{sum(line['as_expected'] for line in lines)}/{len(lines)}{_wanted(case, lines)}"
    recovery = _recovery(lines) if case.outcome == "HOLDS" else "-"
    return counted if recovery == "-" else f"{counted}, {recovery}"


def _wanted(case: Case, lines: Sequence[dict[str, Any]]) -> str:
    return f" (of {case.times})" if len(lines) < case.times else ""


def _load(case: Case) -> str:
    return " under load" if case.under_load else ""


def _defects(case: Case) -> str:
    return ", ".join(f"`{word}`" for word in case.defects) or "-"


def _expected(case: Case) -> str:
    return case.outcome + (f": {', '.join(case.broken)}; {case.diagnosis or 'no incident'}" if case.broken else "")


def _recovery(lines: Sequence[dict[str, Any]]) -> str:
    return _spread([line["recovery_s"] for line in lines if line.get("recovery_s") is not None])


def _cells(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({max(values):.2f})" if values else "-"
