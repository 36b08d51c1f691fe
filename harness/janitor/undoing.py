"""The janitor's commands: what the rig asked to be run should it die before it could do so itself."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.janitor.ending import PR_SET_CHILD_SUBREAPER
from harness.redact import know_secret, mask

WITHIN_S = 5.0
OUTPUT_READ = 16_384
"""Bytes of a command's output that are kept."""
SHOWN = 200
"""Characters of a command that are told."""


@dataclass(frozen=True)
class Undo:
    """One command, with its whole environment; both may hold secrets, so they are never written to a file."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(repr=False)
    secrets: Sequence[str] = field(default=(), repr=False)
    stays: bool = False
    """It is not the run's, and what it starts outlives us: it is never killed."""


def disown_orphans() -> None:
    """Be the parent of orphans no more: from now on whatever a command leaves running is not ours."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 0)


@dataclass(frozen=True)
class Outcome:
    """What came of one command."""

    text: str
    """As a sentence, secrets masked."""
    words: str
    """The command, secrets masked."""
    well: bool = False
    """It was run, and ended well or is to go on."""


def run_undos(undos: Sequence[Undo], within_s: float = WITHIN_S) -> list[Outcome]:
    """Run these side by side, each for at most ``within_s``; return what came of each.

    Their output is printed (the janitor's output is its log), masked likewise; but not of what stays: a pipe of ours
    would break under it.
    """
    for undo in undos:
        know_secret(*undo.secrets)
    words = [mask(" ".join(undo.argv))[:SHOWN] for undo in undos]
    said = [Outcome("a command did not come back", each) for each in words]

    def one(number: int, undo: Undo) -> None:
        said[number] = _run(undo, words[number], within_s)

    threads = [threading.Thread(target=one, args=each, daemon=True) for each in enumerate(undos)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(within_s + 1)
    return said


def _run(undo: Undo, words: str, within_s: float) -> Outcome:
    try:
        process = subprocess.Popen(
            list(undo.argv), env=dict(undo.env), stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT,
            stdout=subprocess.DEVNULL if undo.stays else subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
    except OSError as refused:
        return Outcome(f"could not run `{words}`: {refused.strerror}", words)
    reading = threading.Thread(target=_print, args=(process, words), daemon=True)
    reading.start()  # not communicate(): what the command leaves running may hold its output open for good
    try:
        code = process.wait(within_s)
    except subprocess.TimeoutExpired:
        if undo.stays:
            return Outcome(f"ran `{words}`: it goes on", words, well=True)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return Outcome(f"`{words}` took longer than {within_s:g} s and was killed", words)
    reading.join(0.2)
    return Outcome(f"ran `{words}`: exit {code}", words, well=code == 0)


def _print(process: subprocess.Popen[bytes], words: str) -> None:
    kept = 0
    print(f"$ {words}", flush=True)
    if process.stdout is None:
        return
    with process.stdout as lines:
        for line in lines:  # whole lines: a secret is never cut in two, so that its halves would pass the mask
            if kept < OUTPUT_READ:
                print(mask(line.decode(errors="replace")).rstrip("\n"), flush=True)
            kept += len(line)
