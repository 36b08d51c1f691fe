"""What was tested: the digest of each component's program, our own commit, the LiveKit version."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from functools import cache
from pathlib import Path

from harness.settings import PROJECT_ROOT
from harness.system import Component, Resolved, System

CONTRACT = "main (Dec 2025), after the fix"
"""The version of the wire contract that the harness speaks."""


@cache
def own_commit() -> str:
    """Return the commit of this checkout, with ``+`` when files are changed; empty outside one."""
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],
            cwd=PROJECT_ROOT, capture_output=True, text=True, check=True, timeout=5,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return commit.stdout.strip()


@cache
def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def facts_of(component: Component, resolved: Resolved, system: System) -> dict[str, str]:
    """Return the facts of a process: program, sha256 of its binary (our own parts: our commit), defects.

    Of a part that commands run, the program is that of ``start``; what is elsewhere is told by its address.
    """
    facts = {"contract": CONTRACT}
    defects = system.defects_of(component.name)
    if defects:
        facts["defects"] = ", ".join(defects)
    if component.ours:
        return facts | {"reference": own_commit()}
    if component.external is not None:
        facts["external"] = ", ".join(f"{component.external}:{number}" for number in component.ports.values())
    argv = resolved.argv or resolved.commands.get("start", ())
    program = shutil.which(argv[0]) if argv else None
    if program:
        facts |= {"program": Path(program).name, "sha256": _sha256(Path(program).resolve())}
    return facts
