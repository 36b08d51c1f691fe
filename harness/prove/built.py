"""What the words of a plan may name in braces because it must be built first, and where it then lies."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from harness.errors import MachineError
from harness.prove.plan import Case
from harness.redact import MASK, mask

NAMES = ("gobridge",)
MAKER = "fixtures.made_first"
"""The module that makes what is named, and prints its path as the last line."""
FOREIGN_URL = re.compile(
    r"(?i)\b([a-z][a-z0-9+.-]*://)(?!(?:127\.[\d.]+|localhost|\[::1\])(?:[:/?#\s]|$))[^\s;,'\"<>]+"
)


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


def without_places(text: str, built: dict[str, str], root: Path) -> str:
    """Return a text to be kept for everybody: no path of this machine, no URL of another, no secret.

    What was built is named in braces, the project's files from the project on, and what is in the home directory from
    ``~`` on. Of URLs only those of loopback stay.
    """
    for name, path in built.items():
        text = text.replace(path, f"{{{name}}}")
    text = text.replace(f"{root}/", "")
    if Path.home() != Path("/"):
        text = re.sub(rf"{re.escape(str(Path.home()))}(?![\w.-])", "~", text)
    return mask(FOREIGN_URL.sub(rf"\g<1>{MASK}", text))


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
