"""``remains.json`` in a run directory: what of a run could not be removed, for ``aftershock clean`` to try again.

A JSON list of :class:`Remain`; kinds: process, container, network, rule, directory, and command (one that the janitor
was to run for the rig, and could not). Secrets are masked.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from harness.redact import mask

REMAINS = "remains.json"


@dataclass(frozen=True)
class Remain:
    """One thing of a run that is (perhaps) still there."""

    kind: str
    name: str
    """How people name it: a container's or network's name, a command line, a path, a firewall rule."""
    id: str = ""
    """The engine's id, or the pid; empty when it is not known."""
    start_ticks: int = 0
    """When a process began, which with the pid names it for good."""
    interface: str = ""
    """This machine's interface to a network, which firewall rules name."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" + (f" ({self.id[:12]})" if self.id else "")


def read_remains(run_dir: Path) -> list[Remain]:
    """Return what is listed; nothing when there is no list, or none that can be read."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        listed = json.loads((run_dir / REMAINS).read_text())
        return [
            Remain(
                str(one["kind"]), str(one["name"]), str(one.get("id") or ""), int(one.get("start_ticks") or 0),
                str(one.get("interface") or ""),
            )
            for one in listed
        ]  # fmt: skip
    return []


def add_remains(run_dir: Path, remains: Iterable[Remain]) -> None:
    """List these too, each once.

    Raises:
        OSError: it cannot be written (a full disk).
    """
    both = dict.fromkeys([*read_remains(run_dir), *(replace(one, name=mask(one.name)) for one in remains)])
    _write(run_dir, list(both))


def drop_remains(run_dir: Path, gone: Iterable[Remain]) -> None:
    """Take these off the list; an empty list is removed."""
    taken = set(gone)
    left = [one for one in read_remains(run_dir) if one not in taken]
    if left:
        _write(run_dir, left)
    else:
        (run_dir / REMAINS).unlink(missing_ok=True)


def _write(run_dir: Path, remains: list[Remain]) -> None:
    if not remains:
        return
    draft = run_dir / f"{REMAINS}.{os.getpid()}"
    draft.write_text(json.dumps([asdict(one) for one in remains], indent=1) + "\n")
    draft.replace(run_dir / REMAINS)
