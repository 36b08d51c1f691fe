"""What dead runs have left on this machine. A run is dead when nobody holds its lease; what lives is never touched.

Without a lease a run is dead only when no process carries its id and the engine's label says that it was this machine's
(a rig takes its lease before it makes anything). Everything that is left is therefore looked at before the leases are.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import MachineError
from harness.janitor.ending import Known
from harness.processes import Process, look_at, runs_carried
from harness.remains import Remain, read_remains
from harness.run_lease import FoundLease, found_leases, machine_id
from harness.runtimes.container.engine import ENGINE_ERRORS, Engine, why
from harness.runtimes.container.sweeping import Labelled, labelled
from harness.settings import scratch_dir, settings

ENGINE_ANSWERS_WITHIN_S = 6
RUN_ID = re.compile(r".+-\d{8}T\d{6}\.\d{3}Z(-\d+)?-\d+")
"""Scenario, time of the start, and pid of the rig: nothing else in the temp directory is taken for a run's."""


@dataclass(frozen=True)
class DeadRun:
    """One dead run, and what there still is of it."""

    run: str
    lease: FoundLease | None
    processes: tuple[Process, ...]
    scratch: Path | None
    held: tuple[Labelled, ...]
    """By the engine."""
    listed: tuple[Remain, ...]
    """In its remains.json."""

    def listed_as(self, kind: str) -> list[str]:
        """Return the names of what is listed as of this kind."""
        return [one.name for one in self.listed if one.kind == kind]

    def interfaces(self) -> list[str]:
        """Return this machine's interfaces to its networks."""
        found = [*(one.interface for one in self.held), *(one.interface for one in self.listed)]
        return [interface for interface in found if interface]

    def directories(self) -> list[Path]:
        """Return those of its directories that are there, wherever the temp directory was."""
        named = [path for name in self.listed_as("directory") if (path := Path(name)).name == f"aftershock-{self.run}"]
        every = dict.fromkeys([*([self.scratch] if self.scratch is not None else []), *named])
        return [path for path in every if path.is_dir() and not path.is_symlink()]

    def needs_other_engine(self) -> str:
        """Say which engine is to be asked, if that is not the one in use now."""
        if self.lease is None or self.lease.docker_host == settings().docker_host or not self.needs_engine():
            return ""
        other = self.lease.docker_host
        return f"with DOCKER_HOST={other}; set it" if other else "without DOCKER_HOST; unset it"

    def needs_engine(self) -> bool:
        """Tell whether an engine has, or may have, something of it."""
        if self.held or any(one.kind in {"container", "network"} for one in self.listed):
            return True
        if self.lease is None:
            return False
        try:
            told = (self.lease.run_dir / "events" / "rig.jsonl").read_bytes()
        except OSError:
            return False
        # Killed together with its janitor, before anything could be listed: it says itself what it ran as.
        return b'"runtime":"container"' in told


@dataclass(frozen=True)
class Found:
    """All that was found at one moment."""

    kept: tuple[FoundLease, ...]
    """Stacks that stand on purpose, their rigs alive."""
    dead: tuple[DeadRun, ...]
    spared: tuple[str, ...]
    """What carries the name of a run of which we cannot tell that it is dead, in words."""
    engine_says: str
    """Why no engine answers; empty when one does."""


def look(engine: Engine | None, engine_says: str) -> Found:
    """Look for kept stacks and for what dead runs left."""
    held = labelled(engine) if engine is not None else []
    scratch = {name: path for path in _scratch_dirs() if (name := path.name.removeprefix("aftershock-"))}
    carried = runs_carried()
    leases = {lease.run: lease for lease in found_leases()}  # the last look: see above
    living = {run for run, lease in leases.items() if lease.alive}
    unknown, dead, spared = carried - leases.keys(), [], []
    here = machine_id()
    for run in sorted({*leases, *scratch, *(one.run for one in held)} - living - unknown):
        lease, mine = leases.get(run), [one for one in held if one.run == run]
        if lease is None:
            spared += [
                f"{one.kind} {one.name}: of another machine, or of an earlier start of this one"
                for one in mine if one.machine != here
            ]  # fmt: skip
            mine = [one for one in mine if one.machine == here]
        listed = read_remains(lease.run_dir) if lease is not None else []
        processes = {one.pid: one for one in [*(Known(run).find() if run in carried else []), *_alive(listed)]}
        if lease is not None or mine or run in scratch:
            found = DeadRun(run, lease, tuple(processes.values()), scratch.get(run), tuple(mine), tuple(listed))
            dead.append(found)
    spared += [f"processes of {run}: it has no lease here, so it may live" for run in sorted(unknown)]
    kept = tuple(lease for lease in leases.values() if lease.alive and lease.kept)
    return Found(kept, tuple(dead), tuple(spared), engine_says)


def connected() -> tuple[Engine | None, str]:
    """Return the engine, or None and why none answers."""
    try:
        return Engine(ENGINE_ANSWERS_WITHIN_S), ""
    except MachineError as refused:
        return None, refused.seen
    except ENGINE_ERRORS as refused:
        return None, why(refused)


def _alive(listed: Sequence[Remain]) -> list[Process]:
    """Return those of the listed processes that live, each still the same."""
    found = [(one, look_at(int(one.id))) for one in listed if one.kind == "process" and one.id.isdecimal()]
    return [process for one, process in found if process is not None and process.start_ticks == one.start_ticks]


def _scratch_dirs() -> Sequence[Path]:
    folder = Path(tempfile.gettempdir())
    names = [path for path in folder.glob("aftershock-*") if RUN_ID.fullmatch(path.name.removeprefix("aftershock-"))]
    return [path for path in names if path.is_dir() and not path.is_symlink() and path == scratch_dir(path.name[11:])]
