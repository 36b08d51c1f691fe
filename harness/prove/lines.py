"""The raw verdicts of ``proof/<slug>.jsonl``: one line per run, appended, never changed; and the table over them."""

from __future__ import annotations

import fcntl
import json
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.prove.plan import Case


def append(proof: Path, case: Case, line: dict[str, Any]) -> None:
    """Append a verdict to the case's file; several provers may do so at once."""
    proof.mkdir(parents=True, exist_ok=True)
    with (proof / f"{case.slug}.jsonl").open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        whole_bytes = file.read().rfind(b"\n") + 1
        file.truncate(whole_bytes)  # a last line that was torn by a kill is no verdict
        file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def lines_of(proof: Path, case: Case, tree: str) -> list[dict[str, Any]]:
    """Return every verdict of a case for one tree; a torn last line is left out."""
    path = proof / f"{case.slug}.jsonl"
    if not path.exists():
        return []
    whole = path.read_bytes().rpartition(b"\n")[0]
    lines = [json.loads(line) for line in whole.splitlines() if line]
    return [line for line in lines if line["tree"] == tree]


def table(proof: Path, cases: Sequence[Case], tree: str) -> str:
    """Return the plan's cases with n/n over all lines of the tree, as Markdown."""
    rows = [
        f"Tree `{tree}`. n/n counts every verdict of this tree; UNKNOWN is not as expected; no run was made again.",
        "",
        "| case | defects | expected | as expected | otherwise | recovery s, median (max) | wall s, median (max) |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join(rows + [_row(case, lines_of(proof, case, tree)) for case in cases]) + "\n"


def _row(case: Case, lines: Sequence[dict[str, Any]]) -> str:
    good = [line for line in lines if line["as_expected"]]
    other = [line["outcome"] for line in lines if not line["as_expected"]]
    expected = case.outcome + (f": {', '.join(case.broken)}; {case.diagnosis or 'no incident'}" if case.broken else "")
    otherwise = ", ".join(f"{other.count(word)} {word}" for word in sorted(set(other))) or "-"
    wanted = f" (of {case.times})" if len(lines) < case.times else ""
    cells = [
        case.scenario + (" under load" if case.under_load else ""),
        ", ".join(case.defects) or "-",
        expected,
        f"**{len(good)}/{len(lines)}**{wanted}",
        otherwise,
        _spread([line["recovery_s"] for line in lines if line.get("recovery_s") is not None]),
        _spread([line["wall_s"] for line in lines]),
    ]
    return f"| {' | '.join(cells)} |"


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({max(values):.2f})" if values else "-"
