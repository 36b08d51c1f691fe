"""The raw verdicts of ``proof/<slug>.jsonl``: one line per run, appended, never changed."""

from __future__ import annotations

import fcntl
import json
import os
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
