"""What tells a living run from a dead one, on the whole machine: a locked file per run, dropped when its rig dies.

``<lock_dir>/runs/<run>.json`` is locked from its first moment and holds whatever finds the run's remains later. The
kernel drops the lock however the rig ends; the file stays then, until the janitor or ``aftershock clean`` is done.
A leaf, and light: the janitor must start fast.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from harness.errors import MachineError
from harness.processes import look_at
from harness.remains import read_remains
from harness.settings import settings

KEPT = {False: "false", True: "true "}
"""Of one length: a reader never finds the text longer or shorter than it is."""


@dataclass(frozen=True)
class FoundLease:
    """A run's lease as anybody on this machine finds it."""

    run: str
    run_dir: Path
    pid: int
    """Of its rig."""
    start_ticks: int
    kept: bool
    """Whether it was left running on purpose, until Ctrl-C or ``aftershock clean``."""
    alive: bool
    """Whether its rig still holds the lock."""
    path: Path
    docker_host: str = ""
    """The engine it used, as DOCKER_HOST named it."""
    owner: int = -1
    """The user id of whoever started it; -1 when it is not known."""


class RunLease:
    """This process is the rig of a living run, until ``close`` or its own end."""

    def __init__(self, path: Path, run_dir: Path, lock: int, text: str) -> None:
        """Hold a lease just made; use ``take``."""
        self.path, self._run_dir, self._lock, self._text = path, run_dir, lock, text

    @classmethod
    def take(cls, run: str, run_dir: Path) -> RunLease:
        """Make the lease of a run whose rig is this process.

        Raises:
            MachineError: the directory of leases cannot be made or written.
        """
        me = look_at(os.getpid())
        assert me is not None
        facts = {
            "run": run, "run_dir": str(run_dir.absolute()), "pid": me.pid, "start_ticks": me.start_ticks,
            "docker_host": settings().docker_host,
        }  # fmt: skip
        text = json.dumps(facts)[:-1]
        folder = leases_dir()
        fresh = folder / f".{run}.{me.pid}"
        try:
            _make(folder)
            lock = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            fcntl.flock(lock, fcntl.LOCK_EX)
            os.write(lock, f'{text}, "kept": {KEPT[False]}}}\n'.encode())
            fresh.rename(folder / f"{run}.json")  # nobody ever finds it unlocked or half written
        except OSError as error:
            raise MachineError(
                f"to write the lease of a run in {folder}", f"{error.strerror}", "free space there, or repair it"
            ) from error
        return cls(folder / f"{run}.json", run_dir, lock, text)

    def mark_kept(self, kept: bool) -> None:
        """Say that the run is left running on purpose (or no longer)."""
        os.pwrite(self._lock, f'{self._text}, "kept": {KEPT[kept]}}}\n'.encode(), 0)

    def close(self) -> None:
        """Remove it: nothing of the run is left. Closing twice is fine."""
        if self._lock >= 0:
            self.path.unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = -1

    def leave(self) -> None:
        """End it and let it stay, as a dead run's: the janitor or ``aftershock clean`` drops it when all is gone."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def give_back(self) -> None:
        """End it after the teardown; with remains listed it stays."""
        if read_remains(self._run_dir):
            self.leave()
        else:
            self.close()


def found_leases() -> list[FoundLease]:
    """Return the lease of every run of this machine, living or dead; what cannot be read is left out."""
    folder = leases_dir()
    found = (_read(path) for path in sorted(folder.glob("*.json"))) if folder.is_dir() else ()
    return [one for one in found if one is not None]


def machine_id() -> str:
    """Name all that sees the same processes and leases as we do: not another boot, container or temp directory.

    An engine may be shared with others who see none of our leases; by this label each leaves the other's runs alone.
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()  # random(4)
    sees = f"{boot} {Path('/proc/self/ns/pid').readlink()} {settings().lock_dir}"
    return hashlib.sha256(sees.encode()).hexdigest()[:16]


def leases_dir() -> Path:
    """Return where the leases of this machine's runs are."""
    return settings().lock_dir / "runs"


def drop_dead(run: str) -> bool:
    """Remove the lease of a run that is dead and gone; tell whether there was one to remove."""
    found = next((one for one in found_leases() if one.run == run and not one.alive), None)
    if found is None:
        return False
    with contextlib.suppress(PermissionError):
        found.path.unlink(missing_ok=True)
        return True
    return False


def _read(path: Path) -> FoundLease | None:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        facts = json.loads(os.pread(file, 65_536, 0))
        try:
            # Shared: two who look at the same moment do not take each other for the rig.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            alive = False
        except BlockingIOError:
            alive = True
        return FoundLease(
            str(facts["run"]), Path(facts["run_dir"]), int(facts["pid"]), int(facts["start_ticks"]),
            bool(facts["kept"]), alive, path, str(facts.get("docker_host", "")),
            os.fstat(file).st_uid,
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, OSError):
        return None
    finally:
        os.close(file)


def _make(folder: Path) -> None:
    for one in (folder.parent, folder):
        if not one.is_dir():
            one.mkdir(parents=True, exist_ok=True)
            one.chmod(0o1777)  # open to all users and sticky, like /tmp
