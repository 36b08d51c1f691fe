"""What the words of a plan may name in braces because it must be built first, and where it then lies."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from harness.errors import MachineError
from harness.prove.plan import Case

NAMES = ("gobridge",)
MAKER = "fixtures.made_first"
"""The module that makes what is named, and prints its path as the last line."""


def build_what_is_named(cases: Iterable[Case], root: Path) -> dict[str, str]:
    """Build each thing that a case's ``sets`` name; return name to path.

    Raises:
        MachineError: it cannot be built.
    """
    words = [word for case in cases for word in case.sets]
    return {name: _built(name, root) for name in NAMES if any(f"{{{name}}}" in word for word in words)}


def filled_in(word: str, built: dict[str, str]) -> str:
    """Return a word with the paths in the place of the names."""
    for name, path in built.items():
        word = word.replace(f"{{{name}}}", path)
    return word


def without_paths(text: str, built: dict[str, str], root: Path) -> str:
    """Return a text without this machine's paths: those of what was built, and that of the project."""
    for name, path in built.items():
        text = text.replace(path, f"{{{name}}}")
    return text.replace(f"{root}/", "")


def _built(name: str, root: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", MAKER, name], cwd=root, capture_output=True, text=True, check=False
    )  # fmt: skip
    lines = done.stdout.split("\n")
    path = next((line for line in reversed(lines) if line.strip()), "")
    if done.returncode or not Path(path).is_file():
        said = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["nothing"]
        raise MachineError(f"{name} to be built", said[0], f"run python -m {MAKER} {name} by hand")
    return path
