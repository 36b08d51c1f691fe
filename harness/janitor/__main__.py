"""The janitor's process: ``python -m harness.janitor FD RUN_ID RUN_DIR``.

FD is a socket whose other end only the rig holds. Lines on it: ``own PID START_TICKS`` (a process of this run that does
not carry the run id: a user's command), ``containers`` (the run has some) and ``bye`` (all is well). End of file
without ``bye`` means that the rig died: then every process of the run is killed, and its scratch directory, containers
and networks are removed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from harness.clock import SECOND_NS, now_ns, seconds_between
from harness.processes import Process, all_processes, carries, command_line, kill, kin
from harness.redact import mask
from harness.settings import scratch_dir

KILLING_S = 8.0
"""After this long we give up: what still lives then cannot be killed (another user's, or stuck in the kernel)."""
ROUND_S = 0.02
QUIET_ROUNDS = 2
"""Rounds in a row that must find nothing: a process about to exec shows no environment for a moment."""
SHOWN = 20
SWEEPING_S = 30.0
"""How long the removal of containers may take; without an engine that answers it gives up by itself."""


@dataclass
class Registered:
    """What the rig has named."""

    processes: dict[int, int] = field(default_factory=dict)
    """pid -> start_ticks."""
    containers: bool = False


def listen(rig: socket.socket) -> Registered | None:
    """Block until the rig says bye (None) or is gone (what it had registered)."""
    registered = Registered()
    with rig.makefile("rb") as lines:
        try:
            for line in lines:
                words = line.split()
                if words == [b"bye"]:
                    return None
                # A line torn by the rig's death has no newline and is not believed.
                if len(words) == 3 and words[0] == b"own" and line.endswith(b"\n"):
                    registered.processes[int(words[1])] = int(words[2])
                elif line == b"containers\n":
                    registered.containers = True
        except ConnectionResetError:
            pass  # the rig died with something of ours unread: an end of file like the other
    return registered


def end_all(run: str, registered: dict[int, int]) -> tuple[list[str], list[str]]:
    """Kill every process of the run, and their kin, until none is found.

    Returns:
        The killed and the unkillable, each as "PID command line".
    """
    ours = dict(registered)
    hit: dict[tuple[int, int], str] = {}  # (pid, start_ticks) -> command line
    limit_ns = now_ns() + int(KILLING_S * SECOND_NS)
    quiet = 0
    while quiet < QUIET_ROUNDS and now_ns() < limit_ns:
        found = _find(run, ours)
        ours |= {process.pid: process.start_ticks for process in found}
        for process in found:
            hit.setdefault((process.pid, process.start_ticks), command_line(process.pid))
            with contextlib.suppress(PermissionError):  # another user's: it is found again, and named as left
                kill(process)
        quiet = 0 if found else quiet + 1
        time.sleep(ROUND_S)
    left = {(process.pid, process.start_ticks) for process in _find(run, ours)}
    return (
        [f"{key[0]} {name}" for key, name in hit.items() if key not in left],
        [f"{key[0]} {name}" for key, name in hit.items() if key in left],
    )


def _find(run: str, ours: dict[int, int]) -> list[Process]:
    """Return what lives of the run: whoever carries its id, and the kin of those and of ``ours``."""
    among = {pid: process for pid, process in all_processes().items() if pid not in {1, os.getpid()}}
    seeds = ours | {pid: process.start_ticks for pid, process in among.items() if carries(pid, run)}
    return list(kin(seeds, among).values())


def begin_sweep(run: str) -> subprocess.Popen[bytes]:
    """Start to remove the run's containers and networks; a process of its own has the big imports that takes."""
    return subprocess.Popen([sys.executable, "-m", "harness.runtimes.container", run], stdout=subprocess.PIPE)


def end_sweep(sweep: subprocess.Popen[bytes]) -> str:
    """Wait for it and return what it removed, as a sentence."""
    try:
        said, _ = sweep.communicate(timeout=SWEEPING_S)
    except subprocess.TimeoutExpired:
        sweep.kill()
        sweep.communicate()
        return f"gave up removing containers of this run after {SWEEPING_S:g} s"
    try:
        removed = json.loads(said)
    except ValueError:
        return f"could not remove containers of this run (see janitor.log; exit {sweep.returncode})"
    return f"removed {len(removed)} containers and networks of this run: {_names(removed)}"


def write_note(run_dir: Path, run: str, text: str) -> None:
    """Append a Note event; by hand, since the event classes take longer to import than all of this."""
    path = run_dir / "events" / "janitor.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    note = {"kind": "note", "v": 1, "t_ns": now_ns(), "run": run, "proc": "janitor", "text": mask(text)}
    with path.open("ab") as file:
        file.write(json.dumps(note).encode() + b"\n")


def _names(processes: list[str]) -> str:
    more = len(processes) - SHOWN
    return "; ".join(processes[:SHOWN]) + (f"; and {more} more" if more > 0 else "")


def main() -> None:
    """Ignore what a terminal sends to everybody, say ready, wait, and act."""
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(ignored, signal.SIG_IGN)
    rig, run, run_dir = socket.socket(fileno=int(sys.argv[1])), sys.argv[2], Path(sys.argv[3])
    with contextlib.suppress(OSError):  # the rig may be gone already; the end of file says so below
        rig.sendall(b"ready\n")
    registered = listen(rig)
    if registered is None:
        return
    began_ns = now_ns()
    sweep = begin_sweep(run) if registered.containers else None
    killed, left = end_all(run, registered.processes)
    shutil.rmtree(scratch_dir(run), ignore_errors=True)
    took_s = seconds_between(began_ns, now_ns())
    text = f"the rig ended without a word; killed {len(killed)} processes of this run in {took_s:.2f} s"
    write_note(run_dir, run, f"{text}: {_names(killed)}" if killed else text)
    if left:
        write_note(run_dir, run, f"could not kill {len(left)} processes of this run: {_names(left)}")
    if sweep is not None:
        write_note(run_dir, run, end_sweep(sweep))


if __name__ == "__main__":
    main()
