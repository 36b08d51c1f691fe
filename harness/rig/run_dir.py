"""A run's directory: made, locked while the run lives, linked as ``latest``, pruned when it held."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from harness.clock import utc_stamp
from harness.errors import MachineError
from harness.spare import SPARE_BYTES, give_up_spare, keep_spare

LOCK = "lock"
_MENDS = {
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR), "a file is in its place: name a directory by --runs"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "name a directory of yours by --runs"),
}
"""Error number -> what to do, where it is not for want of space."""


def check_writable(runs: Path) -> None:
    """Make the runs directory and see that it can be written, and has the space that a run keeps back.

    Raises:
        MachineError: it cannot.
    """
    try:
        runs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=runs) as file:
            os.posix_fallocate(file.fileno(), 0, SPARE_BYTES)
    except OSError as error:
        raise _unwritable(runs, error) from error


def _unwritable(runs: Path, error: OSError) -> MachineError:
    return MachineError(
        f"a writable runs directory at {runs}",
        f"{error.strerror}" + (f" ({error.filename})" if error.filename else ""),
        _MENDS.get(error.errno or 0, "free space there, or use --runs"),
    )


@dataclass
class RunDir:
    """``runs/<scenario-id>/<utc>/``; the flock on ``lock`` is held as long as this object is open."""

    path: Path
    run: str
    """The run id: it marks every process of the run."""
    _lock: int

    @classmethod
    def create(cls, runs: Path, scenario: str) -> RunDir:
        """Make the directory and lock it; point ``latest`` at it.

        Raises:
            MachineError: the directory cannot be made or written (a full disk, no rights).
        """
        folder = runs / re.sub(r"[^A-Za-z0-9_.-]+", "-", scenario).strip("-")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stamp = utc_stamp()
            path = folder / stamp
            for number in range(2, 1000):
                try:
                    path.mkdir()
                    break
                except FileExistsError:
                    path = folder / f"{stamp}-{number}"
            for part in ("events", "frames", "logs"):
                (path / part).mkdir(exist_ok=True)
            lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(lock, fcntl.LOCK_EX)
            keep_spare(path)
            _point_latest(folder, path)
        except OSError as error:
            raise _unwritable(runs, error) from error
        return cls(path.resolve(), f"{folder.name}-{path.name}-{os.getpid()}", lock)

    def close(self) -> None:
        """Give lock and spare space back: the run is over."""
        give_up_spare(self.path)
        os.close(self._lock)


def is_alive(run_dir: Path) -> bool:
    """Return whether somebody still holds the run's lock."""
    try:
        lock = os.open(run_dir / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def prune(runs: Path, keep: int) -> None:
    """Remove the oldest runs that held beyond ``keep`` per scenario; a run that did not hold is never removed."""
    for folder in runs.iterdir() if runs.is_dir() else ():
        if not folder.is_dir():
            continue
        held = [path for path in sorted(folder.iterdir()) if not path.is_symlink() and _held(path)]
        for path in held[: max(0, len(held) - keep)]:
            if not is_alive(path):
                shutil.rmtree(path, ignore_errors=True)


def _held(path: Path) -> bool:
    try:
        verdict = json.loads((path / "verdict.json").read_text())
    except (OSError, ValueError):
        return False
    return bool(verdict.get("outcome") == "HOLDS")


def _point_latest(folder: Path, path: Path) -> None:
    fresh = folder / f".latest-{os.getpid()}"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(path.name)
    fresh.rename(folder / "latest")
