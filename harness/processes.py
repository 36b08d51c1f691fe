"""Finding a run's processes on this machine, by the variable they carry and by kinship; reads /proc and nothing else.

A leaf: the janitor must start fast, so nothing heavy is imported here.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.settings import PART_VARIABLE, RUN_ID_VARIABLE

COMMAND_LINE_SHOWN = 120


@dataclass(frozen=True)
class Process:
    """One process as /proc/PID/stat shows it (proc_pid_stat(5))."""

    pid: int
    state: str
    """One letter; Z is dead and not yet waited for, T is stopped."""
    parent: int
    group: int
    session: int
    start_ticks: int
    """When it began, in clock ticks since boot; with the pid it names a process for good, though pids come again."""


def look_at(pid: int) -> Process | None:
    """Return the process of that pid, or None when there is none (or it is dead and only not yet waited for)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None  # gone, or another user's where /proc hides those (hidepid, proc(5))
    # The name stands in parentheses and may hold anything, also parentheses and blanks.
    fields = text[text.rindex(")") + 2 :].split()
    if fields[0] in "ZX":
        return None
    return Process(pid, fields[0], int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))


def all_processes() -> dict[int, Process]:
    """Return every living process of the machine by pid."""
    seen = (look_at(int(name)) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208  twice as fast
    return {process.pid: process for process in seen if process is not None}


def carries(pid: int, run: str, part: str = "") -> bool:
    """Tell whether a process was started with this run id (and part) in its environment."""
    if not run:
        raise ValueError("an empty run id names no run")
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False  # gone, or another user's
    wanted = [f"{RUN_ID_VARIABLE}={run}".encode()]
    if part:
        wanted.append(f"{PART_VARIABLE}={part}".encode())
    return all(entry in entries for entry in wanted)


def processes_of(run: str, part: str = "") -> list[tuple[int, str]]:
    """Return (pid, command line) of every living process that carries the run id (and part), but not ourselves."""
    found = sorted(pid for pid in all_processes() if pid != os.getpid() and carries(pid, run, part))
    return [(pid, command_line(pid)) for pid in found]


def runs_carried() -> set[str]:
    """Return the id of every run that a living process of this machine carries, as far as we may look."""
    mark = f"{RUN_ID_VARIABLE}=".encode()
    found: set[str] = set()
    for pid in all_processes():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            found |= {entry[len(mark) :].decode(errors="replace") for entry in entries if entry.startswith(mark)}
    return found - {""}


def command_line(pid: int) -> str:
    """Return the command line in one line, cut to 120 characters; empty when the process is gone."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""
    return b" ".join(words).decode(errors="replace").replace("\n", " ")[:COMMAND_LINE_SHOWN]


def kin(seeds: Mapping[int, int], among: Mapping[int, Process], led: Collection[int] = ()) -> dict[int, Process]:
    """Return the living ``seeds`` (pid -> start_ticks) and all that descends from them.

    Also counted is whoever is in a process group or session that one of them leads, or that a dead one of ``led`` led
    (see :class:`Kin`). A pid that is another process by now (another start) counts nothing.
    """
    found = {pid: among[pid] for pid, start in seeds.items() if pid in among and among[pid].start_ticks == start}
    numbers = {*found, *(pid for pid in led if pid in seeds and pid not in among)}
    while True:
        more = {
            p.pid: p for p in among.values()
            if p.pid not in found and (p.parent in found or p.group in numbers or p.session in numbers)
        }  # fmt: skip
        if not more:
            return found
        found |= more
        numbers |= set(more)


class Kin:
    """Processes and their kin, followed look by look while parents and leaders of groups die.

    Linux does not give out a pid again while it names a group or session, but it does so right after. So the pid of a
    dead leader counts only as long as, at the look before, a process known as ours was in what it led.
    """

    def __init__(self, seeds: Mapping[int, int] | None = None) -> None:
        """Know these (pid -> start_ticks); of one that is dead already, nothing is known."""
        self._known = dict(seeds or {})
        self._led: set[int] = set()

    def add(self, pid: int, start_ticks: int) -> None:
        """Know one that lived a moment ago."""
        self._known[pid] = start_ticks
        self._led.add(pid)

    def look(self, among: Mapping[int, Process], *, also: Mapping[int, int] | None = None) -> dict[int, Process]:
        """Return who lives of them and their kin, and know all these from now on; ``also`` are seeds of this look."""
        found = kin(self._known | dict(also or {}), among, self._led)
        self._led = {number for process in found.values() for number in (process.pid, process.group, process.session)}
        led = {pid: start for pid, start in self._known.items() if pid in self._led}
        self._known = led | {pid: process.start_ticks for pid, process in found.items()}
        return found


def kill(process: Process) -> bool:
    """SIGKILL this very process, never one that got its pid since; tell whether it was there to be killed.

    Raises:
        PermissionError: it is another user's.
    """
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(process.pid)
        try:
            now = look_at(process.pid)
            if now is not None and now.start_ticks == process.start_ticks:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                return True
        finally:
            os.close(handle)
    return False
