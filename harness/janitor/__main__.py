"""The janitor's process: ``python -m harness.janitor FD RUN_ID RUN_DIR``.

FD is a socket whose other end only the rig holds. Lines on it: ``own PID START_TICKS`` (a process of this run that does
not carry the run id: a user's command), ``containers PART...`` (the run has these), ``know JSON`` (secrets, to be
masked), ``undo NUMBER JSON`` and ``forget NUMBER`` (a command to be run), ``who`` (to be answered: who lives of the
run), ``sweep`` (what follows is asked for) and ``bye`` (all is well). End of file without ``bye`` means that the rig
died: then those commands are run, every process of the run is killed, its scratch directory, containers and networks
are removed, and what was done, or could not be, is written into the run directory.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path

from harness.clock import now_ns, seconds_between
from harness.janitor.ending import Known, adopt_orphans, end_all, know_children
from harness.janitor.sweep import begin_sweep, end_sweep
from harness.janitor.undoing import Undo, disown_orphans, run_undos
from harness.redact import know_secret, mask
from harness.remains import Remain, add_remains
from harness.run_lease import drop_dead
from harness.settings import scratch_dir
from harness.spare import give_up_spare

SHOWN = 20


@dataclass
class Registered:
    """What the rig has named."""

    containers: tuple[str, ...] | None = None
    """The components that are containers; None when the run has none."""
    undos: dict[int, Undo] = field(default_factory=dict)
    asked: bool = False
    """The rig lives, and leaves the rest to us."""


def listen(rig: socket.socket, known: Known) -> Registered | None:
    """Block until the rig says bye (None) or is gone (what it had registered)."""
    registered = Registered()
    with rig.makefile("rb") as lines:
        try:
            for line in lines:
                # A line torn by the rig's death has no newline and is not believed.
                word, _, rest = line.decode(errors="replace").rstrip("\n").partition(" ")
                if word == "bye":
                    return None
                if word == "who":
                    rig.sendall(json.dumps(sorted(process.pid for process in known.find())).encode() + b"\n")
                elif line.endswith(b"\n"):
                    _hear(registered, known, word, rest)
        except (ConnectionResetError, BrokenPipeError):
            pass  # the rig died with something of ours unread: an end of file like the other
    return registered


def _hear(registered: Registered, known: Known, word: str, rest: str) -> None:
    if word == "own":
        known.add(*map(int, rest.split()))
    elif word == "containers":
        registered.containers = tuple(rest.split())
    elif word == "know":
        know_secret(*json.loads(rest))
    elif word == "sweep":
        registered.asked = True
    elif word == "undo":
        number, _, told = rest.partition(" ")
        registered.undos[int(number)] = Undo(**json.loads(told))
    elif word == "forget":
        registered.undos.pop(int(rest), None)


def clean_up(run: str, run_dir: Path, registered: Registered, known: Known) -> None:
    """Do everything, then write down what was done and what is left."""
    began_ns = now_ns()
    sweep = begin_sweep(run, registered.containers) if registered.containers is not None else None
    busy = (sweep.process.pid,) if sweep else ()
    outcomes = run_undos([undo for undo in registered.undos.values() if not undo.stays])
    notes = [outcome.text for outcome in outcomes]
    know_children(known, *busy)
    killed, left = end_all(known, *busy)
    scratch = scratch_dir(run)
    shutil.rmtree(scratch, ignore_errors=True)
    with contextlib.suppress(OSError):  # the run directory itself is perhaps not ours to change any more
        give_up_spare(run_dir)
    if scratch.exists():
        left.append(Remain("directory", str(scratch)))
    took_s = seconds_between(began_ns, now_ns())
    why = "the rig asked for what its teardown left" if registered.asked else "the rig ended without a word"
    text = f"{why}; killed {len(killed)} processes of this run in {took_s:.2f} s"
    notes.append(f"{text}: {_names(killed)}" if killed else text)
    if sweep is not None:
        said, remains = end_sweep(sweep)
        notes.append(said)
        left += remains
    # Last, when nothing is killed any more: what these start is not the run's.
    disown_orphans()
    back = run_undos([undo for undo in registered.undos.values() if undo.stays])
    notes += [outcome.text for outcome in back]
    left += [Remain("command", outcome.words) for outcome in (*outcomes, *back) if not outcome.well]
    if left:
        notes.append(f"could not do (see `aftershock clean`): {_names([str(one) for one in left])}")
    with contextlib.suppress(OSError):  # a full disk, or no directory any more: the log has it
        add_remains(run_dir, left)
    for note in notes:
        write_note(run_dir, run, note)
    if not left:
        drop_dead(run)


def write_note(run_dir: Path, run: str, text: str) -> None:
    """Append a Note event; by hand, since the event classes take longer to import than all of this."""
    print(mask(text), flush=True)
    path = run_dir / "events" / "janitor.jsonl"
    note = {"kind": "note", "v": 1, "t_ns": now_ns(), "run": run, "proc": "janitor", "text": mask(text)}
    with contextlib.suppress(OSError):  # as above
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(json.dumps(note).encode() + b"\n")


def _names(processes: list[str]) -> str:
    more = len(processes) - SHOWN
    return "; ".join(processes[:SHOWN]) + (f"; and {more} more" if more > 0 else "")


def main() -> None:
    """Ignore what a terminal sends to everybody, say ready, wait, and act."""
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(ignored, lambda *_: None)  # a handler: "ignore" would pass to the commands (SIGPIPE does not)
    rig, run, run_dir = socket.socket(fileno=int(sys.argv[1])), sys.argv[2], Path(sys.argv[3])
    known = Known(run)
    known.follow()
    adopt_orphans()
    with contextlib.suppress(OSError):  # the rig may be gone already; the end of file says so below
        rig.sendall(b"ready\n")
    registered = listen(rig, known)
    known.stop()
    if registered is not None:
        clean_up(run, run_dir, registered, known)


if __name__ == "__main__":
    main()
