"""The hash of what is being proven: the content of ``harness/``, ``fixtures/``, ``scenarios/`` and ``docker/``."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from harness.errors import MachineError

PARTS = ("harness", "fixtures", "scenarios", "docker")
SHOWN_CHARACTERS = 16


def tree_hash(root: Path) -> str:
    """Return the first 16 hex digits of the SHA-256 over the sorted paths and contents of what git does not ignore.

    Raises:
        MachineError: git cannot list the files.
    """
    asked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *PARTS],
        cwd=root, capture_output=True, check=False,
    )  # fmt: skip
    if asked.returncode:
        raise MachineError(
            "a git checkout", asked.stderr.decode(errors="replace").strip(), f"run it in a clone ({root})"
        )
    digest = hashlib.sha256()
    for name in sorted({name for name in asked.stdout.split(b"\0") if name}):
        path = root / name.decode()
        if not path.is_file():
            continue  # removed from the directory, not yet from the index
        content = path.read_bytes()
        digest.update(name + b"\0" + str(len(content)).encode() + b"\0" + content)
    return digest.hexdigest()[:SHOWN_CHARACTERS]
