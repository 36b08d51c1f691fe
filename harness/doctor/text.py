"""An examination for people and for programs."""

from __future__ import annotations

import json

from harness.doctor.values import Check, Examination, Group, Status

SCHEMA = 1
"""Raised when a key changes its meaning, never when one is added."""


def as_json(found: Examination) -> str:
    """Return one JSON object in one line: ``schema``, ``checks``, ``ready``."""
    checks = [
        {
            "group": check.group.value, "name": check.name, "status": check.status.value, "seen": check.seen,
            "without": check.without, "mend": check.mend,
        }
        for check in found.checks
    ]  # fmt: skip
    return json.dumps({"schema": SCHEMA, "checks": checks, "ready": found.ready})


def as_text(found: Examination) -> str:
    """Return the table, group by group, and the kinds of run that the machine is ready for."""
    width = max(len(check.name) for check in found.checks)
    lines: list[str] = []
    for group in Group:
        lines.append(f"{group.value}")
        for check in found.checks:
            if check.group is group:
                lines += _rows(check, width)
    ready = [kind for kind, can in found.ready.items() if can]
    lacks = [kind for kind, can in found.ready.items() if not can]
    lines.append(f"ready for: {', '.join(ready) or 'nothing'}")
    if lacks:
        lines[-1] += f"; not for: {', '.join(lacks)}"
    return "\n".join(lines)


def lacks_text(found: Examination) -> str:
    """Return only what is lacking, for the end of a run that the machine is at fault for."""
    lacks = list(found.lacks())
    if not lacks:
        return "doctor: nothing lacking that it knows of"
    width = max(len(check.name) for check in lacks)
    return "\n".join(["doctor: this machine lacks", *(row for check in lacks for row in _rows(check, width))])


def _rows(check: Check, width: int) -> list[str]:
    rows = [f"  {check.status.value:<4}  {check.name:<{width}}  {check.seen}"]
    indent = " " * (width + 10)
    if check.status is not Status.OK and check.without:
        word = "without it" if check.status is Status.LACK else "so"
        rows.append(f"{indent}{word}: {check.without}")
    if check.status is not Status.OK and check.mend:
        rows.append(f"{indent}mend: {check.mend}")
    return rows
