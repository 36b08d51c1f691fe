"""A user's command below its keeper (``keeper.py``), as the rig sees it: the pids, the exit code, what it wrote."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import NotReached
from harness.processes import Kin, Process, all_processes, kin, look_at
from harness.runtimes.tree import START_VARIABLE
from harness.settings import PART_VARIABLE, RUN_ID_VARIABLE, child_environment
from harness.waiting import NotYet, until, within

KEEPER = Path(__file__).with_name("keeper.py")
MARKS = (RUN_ID_VARIABLE, PART_VARIABLE, START_VARIABLE)
LAST_BYTES = 16 * 1024
LOST = -1000
"""The exit code of a command whose keeper was killed."""
KILLED_WITHIN_S = 5.0


class Kept:
    """A command that was started; ``keep`` makes one."""

    def __init__(self, keeper: int, tell: int) -> None:
        """Read from ``tell`` (and own it) what the keeper says, and collect the keeper when it ends."""
        loop = asyncio.get_running_loop()
        self.keeper = look_at(keeper)
        """None when it has ended already."""
        self.started: asyncio.Future[int] = loop.create_future()
        """The command's pid."""
        self.exited: asyncio.Future[int] = loop.create_future()
        """The command's exit code; minus the signal's number when a signal ended it."""
        self.refused = ""
        """Why it could not be executed."""
        self._loop, self._pid, self._tell, self._said = loop, keeper, tell, b""
        self._handle = os.pidfd_open(keeper)
        os.set_blocking(tell, False)
        loop.add_reader(tell, self._read)
        loop.add_reader(self._handle, self._collect)

    def kin(self) -> dict[int, Process]:
        """Return the keeper and everything that lives below it."""
        return kin({self.keeper.pid: self.keeper.start_ticks}, all_processes()) if self.keeper is not None else {}

    def let_go(self) -> None:
        """Stop listening to it; it goes on."""
        self._end_tell()
        if self._handle >= 0:
            self._loop.remove_reader(self._handle)
            os.close(self._handle)
            self._handle = -1

    def _read(self) -> None:
        try:
            chunk = os.read(self._tell, 4096)
        except BlockingIOError:
            return
        self._said += chunk
        *lines, self._said = self._said.split(b"\n")
        for line in lines:
            word, _, rest = line.decode("utf-8", "replace").partition(" ")
            if word == "started" and not self.started.done():
                self.started.set_result(int(rest))
            elif word == "exited" and not self.exited.done():
                self.exited.set_result(int(rest))
            elif word == "cannot":
                self.refused = rest
        if not chunk:
            self._end_tell()

    def _end_tell(self) -> None:
        if self._tell >= 0:
            self._loop.remove_reader(self._tell)
            os.close(self._tell)
            self._tell = -1
        if not self.started.done():
            self.started.set_result(0)
        if not self.exited.done():
            self.exited.set_result(LOST)

    def _collect(self) -> None:
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(self._pid, os.WNOHANG)[0] == 0:
                return
        self._read_all()
        self.let_go()

    def _read_all(self) -> None:
        while self._tell >= 0:
            before = self._said
            self._read()
            if self._said == before and self._tell >= 0:
                return


def unmarked(env: dict[str, str]) -> dict[str, str]:
    """Return the environment of a command of the user's: ours, less proxies and any mark of a run, plus ``env``."""
    environment = child_environment("", "", env)
    return {name: value for name, value in environment.items() if name not in MARKS}


def keep(run: str, part: str, argv: Sequence[str], env: dict[str, str], out: int, *, ours: bool) -> Kept:
    """Start ``argv`` (its program by its path) below a keeper, its output to ``out``.

    ``ours``: it belongs to the run and ends with it; else nothing of it carries a mark of the run, and it stays.
    """
    environment = child_environment(run, part, env) if ours else unmarked(env)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        keeper = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", str(KEEPER), ",".join(MARKS) if ours else "", *argv],
            environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, out, 1),
                (os.POSIX_SPAWN_DUP2, out, 2),
                (os.POSIX_SPAWN_DUP2, writing, 3),
            ],
            setsid=True,
        )
    finally:
        os.close(writing)
    return Kept(keeper, reading)


@dataclass(frozen=True)
class Answer:
    """What came of a command."""

    code: int | None
    """Its exit code; None when it did not end in time (it was killed then) or could not be executed."""
    text: str
    """The end of what it wrote."""
    seconds: float = 0.0

    def told(self) -> str:
        """Say how it went, with its last lines."""
        lines = " | ".join(line for line in self.text.splitlines()[-5:] if line.strip())
        how = f"did not end within {self.seconds:g} s" if self.code is None else f"exited {self.code}"
        return f"{how}: {lines}" if lines else how


async def run_once(start: Callable[[int], Kept], *, within_s: float) -> Answer:
    """Run a command to its end and return its answer; ``start`` starts it, with its output to the descriptor given."""
    loop = asyncio.get_running_loop()
    reading, writing = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(reading, False)
    said = bytearray()

    def read() -> bool:
        try:
            chunk = os.read(reading, 65536)
        except BlockingIOError:
            return False
        said.extend(chunk)
        del said[:-LAST_BYTES]
        if not chunk:
            loop.remove_reader(reading)
        return bool(chunk)

    try:
        kept = start(writing)
    finally:
        os.close(writing)
    loop.add_reader(reading, read)
    code: int | None = None
    try:
        code = await within(asyncio.shield(kept.exited), within_s)
    except TimeoutError:
        await end_kin([kept], {}, term_s=0.0)
    except asyncio.CancelledError:
        await end_kin([kept], {}, term_s=0.0)  # else it would do its work after whatever is done to undo it
        raise
    finally:
        while read():
            pass
        loop.remove_reader(reading)
        os.close(reading)
    return Answer(code, kept.refused or said.decode("utf-8", "replace"), within_s)


async def end_kin(kept: Sequence[Kept], others: dict[int, int], *, term_s: float) -> list[int]:
    """End whatever lives below these keepers, and ``others`` (pid -> start_ticks) with their kin; return who stays.

    They are asked (SIGTERM) and have ``term_s`` for it, then killed.
    """
    keepers = {one.keeper.pid: one.keeper.start_ticks for one in kept if one.keeper is not None}
    known = Kin(keepers | others)

    def alive() -> dict[int, Process]:
        return {pid: process for pid, process in known.look(all_processes()).items() if pid not in keepers}

    def probe() -> bool | NotYet:
        now = alive()
        return NotYet(f"{len(now)} processes alive") if now else True

    def kill() -> bool | NotYet:
        for process in alive().values():
            _send(process, signal.SIGKILL)
        return probe()

    for process in alive().values():
        _send(process, signal.SIGCONT)
        _send(process, signal.SIGTERM)
    with contextlib.suppress(NotReached):
        if term_s:
            await until(probe, what="the end of a command's processes", within_s=term_s)
    with contextlib.suppress(NotReached):
        await until(kill, what="the end of a command's processes", within_s=KILLED_WITHIN_S)
    return sorted(alive())


async def ended(kept: Sequence[Kept]) -> None:
    """Wait until these keepers, below whom nothing is left, have ended too."""

    def probe() -> bool | NotYet:
        left = [one.keeper.pid for one in kept if one.keeper is not None and one.kin()]
        return NotYet(f"keepers {left} alive") if left else True

    with contextlib.suppress(NotReached):
        await until(probe, what="the end of the keepers", within_s=KILLED_WITHIN_S)


def _send(process: Process, number: signal.Signals) -> None:
    """Signal this very process, never one that got its pid since."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        handle = os.pidfd_open(process.pid)
        try:
            now = look_at(process.pid)
            if now is not None and now.start_ticks == process.start_ticks:
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)
