"""The janitor's killing: finds every process of the run, and their kin, until none is left."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time

from harness.clock import SECOND_NS, now_ns
from harness.processes import Kin, Process, all_processes, carries, command_line, kill
from harness.remains import Remain

KILLING_S = 8.0
"""After this long we give up: what still lives then cannot be killed (another user's, or stuck in the kernel)."""
ROUND_S = 0.02
QUIET_ROUNDS = 2
"""Rounds in a row that must find nothing: a process about to exec shows no environment for a moment."""
LOOK_EVERY_S = 1.0
PR_SET_CHILD_SUBREAPER = 36
"""prctl(2): who loses its parent below us becomes our child instead of init's."""


class Known:
    """The processes known to be the run's, by pid and start; a thread keeps it fresh while the rig lives.

    It must be fresh: once a parent is gone, a daemon in a session of its own is nobody's kin.
    """

    def __init__(self, run: str) -> None:
        """Know nobody yet."""
        self.run = run
        self._ours = Kin()
        self._lock = threading.Lock()
        self._over = threading.Event()

    def add(self, pid: int, start_ticks: int) -> None:
        """Know a process that the rig has named."""
        with self._lock:
            self._ours.add(pid, start_ticks)

    def follow(self) -> None:
        """Look once a second, in a thread, until ``stop``."""

        def look() -> None:
            while not self._over.wait(LOOK_EVERY_S):
                self.find()

        threading.Thread(target=look, daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()

    def find(self, *besides: int) -> list[Process]:
        """Return what lives of the run: who carries its id, who was known, and all their kin; ``besides`` never."""
        spared = {1, os.getpid(), *besides}
        with self._lock:  # all of it: one named between the look and its use would be taken for dead
            among = {pid: process for pid, process in all_processes().items() if pid not in spared}
            carrying = {pid: process.start_ticks for pid, process in among.items() if carries(pid, self.run)}
            return list(self._ours.look(among, also=carrying).values())


def adopt_orphans() -> None:
    """Become the parent of whatever a command of ours leaves running, so that it is found."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1)


def know_children(known: Known, *besides: int) -> None:
    """Count as the run's whatever descends from this process now, but ``besides``."""
    for process in all_processes().values():
        if process.parent == os.getpid() and process.pid not in besides:
            known.add(process.pid, process.start_ticks)


def end_all(known: Known, *besides: int, within_s: float = KILLING_S) -> tuple[list[str], list[Remain]]:
    """Kill every process of the run, stopped or not, and their kin, until none is found; ``besides`` never.

    Returns:
        The killed, each as "PID command line", and the unkillable.
    """
    hit: dict[tuple[int, int], str] = {}  # (pid, start_ticks) -> command line
    limit_ns = now_ns() + int(within_s * SECOND_NS)
    quiet = 0
    while quiet < QUIET_ROUNDS and now_ns() < limit_ns:
        found = known.find(*besides)
        for process in found:
            hit.setdefault((process.pid, process.start_ticks), command_line(process.pid))
            with contextlib.suppress(PermissionError):  # another user's: it is found again, and named as left
                kill(process)
        quiet = 0 if found else quiet + 1
        time.sleep(ROUND_S)
    left = {(process.pid, process.start_ticks) for process in known.find(*besides)}
    return (
        [f"{key[0]} {name}" for key, name in hit.items() if key not in left],
        [Remain("process", name, str(key[0]), start_ticks=key[1]) for key, name in hit.items() if key in left],
    )
