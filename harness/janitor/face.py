"""The parent's side of the janitor process: start it, name processes to it, say bye to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import DiedUnexpectedly, StartFailed
from harness.processes import look_at
from harness.redact import known_secrets
from harness.settings import PART_VARIABLE, RUN_ID_VARIABLE, child_environment
from harness.waiting import within

READY_WITHIN_S = 10.0
BYE_WITHIN_S = 3.0
SWEPT_WITHIN_S = 20.0
"""How long it has to sweep: commands of 5 s, then the killing, 8 s at the worst; beside them the containers, 9 s."""
LINE_WITHIN_S = 2.0
"""It reads each line at once; one that does not is as good as dead."""


class Janitor:
    """Ends everything of run ``run`` should this process be killed; what it did is in ``events/janitor.jsonl``."""

    def __init__(self, run: str, run_dir: Path) -> None:
        """Describe it; ``start`` spawns."""
        self.run, self.run_dir = run, run_dir
        self._undos = 0
        self._process: asyncio.subprocess.Process | None = None
        self._line: socket.socket | None = None

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None, "not started"
        return self._process.pid

    async def start(self) -> None:
        """Spawn it, in a session of its own and without the run id, so that it never counts as a part of the run.

        Raises:
            StartFailed: it does not get ready.
        """
        # Python makes both ends close-on-exec: no other child of ours can hold this line open.
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        log = self.run_dir / "logs" / "janitor.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = child_environment(self.run, "janitor", {})
        del environment[RUN_ID_VARIABLE], environment[PART_VARIABLE]
        with theirs, log.open("ab") as out:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "harness.janitor", str(theirs.fileno()), self.run, str(self.run_dir.absolute()),
                pass_fds=(theirs.fileno(),), stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out,
                env=environment, start_new_session=True,
            )  # fmt: skip
        self._line = ours
        try:
            said = await within(asyncio.get_running_loop().sock_recv(ours, 64), READY_WITHIN_S)
        except (TimeoutError, ConnectionError):
            said = b""
        if said != b"ready\n":
            await self._end()
            raise StartFailed("janitor", "it did not say that it is ready", log=str(log))
        ours.settimeout(LINE_WITHIN_S)

    def register(self, pid: int) -> None:
        """Name a process that does not carry the run id (a user's command): it and its kin are to be ended too.

        A pid that is already gone is left out: nothing could be ended, and the pid may come again.

        Raises:
            DiedUnexpectedly: the janitor is gone.
        """
        process = look_at(pid)
        if process is not None:
            self._tell(f"own {pid} {process.start_ticks}")

    def register_containers(self, parts: Sequence[str] = ()) -> None:
        """Say that the run makes containers, of these components: they and its networks are to be removed too.

        Raises:
            DiedUnexpectedly: the janitor is gone.
        """
        self._tell(" ".join(["containers", *parts]))

    def run_if_rig_dies(self, argv: Sequence[str], env: Mapping[str, str], *, stays: bool = False) -> int:
        """Have a command run (at most 5 s, in this environment) should this process die before ``forget`` of it.

        It is run before the run's processes are killed, and ends with all that it started; one that ``stays`` acts on
        what is not the run's: it is run when they are gone, and nothing that it started is touched. Argv and
        environment go over the line alone, never to a file.

        Raises:
            DiedUnexpectedly: the janitor is gone.
        """
        self._undos += 1
        told = {"argv": list(argv), "env": dict(env), "secrets": known_secrets(), "stays": stays}
        self._tell(f"undo {self._undos} {json.dumps(told)}")
        return self._undos

    def forget(self, number: int) -> None:
        """Take back a ``run_if_rig_dies``: it has been done, or need not be; after ``stop`` there is nothing to do.

        Raises:
            DiedUnexpectedly: the janitor is gone.
        """
        if self._line is not None:
            self._tell(f"forget {number}")

    def know(self) -> None:
        """Have it mask the secrets that this process knows by now, in all that it writes.

        Raises:
            DiedUnexpectedly: the janitor is gone.
        """
        self._tell(f"know {json.dumps(known_secrets())}")

    def living(self) -> list[int]:
        """Return the pids of the run's processes that live, as far as it may kill them; blocks for some 20 ms.

        It knows who has lost its parents since, from having looked all the while.

        Raises:
            DiedUnexpectedly: the janitor is gone.
        """
        self._tell("who")
        assert self._line is not None
        said = b""
        while not said.endswith(b"\n"):
            try:
                more = self._line.recv(65_536)
            except OSError as error:
                raise self._died() from error
            if not more:
                raise self._died()
            said += more
        return [int(pid) for pid in json.loads(said)]

    def _tell(self, line: str) -> None:
        assert self._line is not None, "not started"
        try:
            self._line.sendall(f"{line}\n".encode())
        except OSError as error:
            raise self._died() from error

    async def stop(self, *, sweep: bool = False) -> None:
        """Say bye, so that it exits and touches nothing; may be called twice, or without ``start``.

        ``sweep``: say nothing and close the line, so that it ends whatever is left of the run, as if the rig had died.

        Raises:
            DiedUnexpectedly: it was gone before.
        """
        if self._line is None or self._process is None:
            return
        died = None
        if sweep:
            with contextlib.suppress(OSError):
                self._line.sendall(b"sweep\n")
            self._line.shutdown(socket.SHUT_RDWR)
        else:
            try:
                self._line.sendall(b"bye\n")
            except OSError:
                died = self._died()
        gone = died or self._died()
        code = await self._end(SWEPT_WITHIN_S if sweep else BYE_WITHIN_S)
        if died is not None or (code != 0 and not sweep):  # killed just now, it may have taken our word and be dead
            raise gone

    async def _end(self, within_s: float = BYE_WITHIN_S) -> int:
        """Wait for its end; return its exit code, 0 when it had to be killed."""
        assert self._process is not None
        assert self._line is not None
        process, line = self._process, self._line
        self._process = self._line = None
        try:
            return await within(process.wait(), within_s)
        except TimeoutError:
            process.kill()
            await process.wait()
            return 0
        finally:
            line.close()

    def _died(self) -> DiedUnexpectedly:
        return DiedUnexpectedly(
            "janitor", f"pid {self.pid} was not there any more (seen by pid {os.getpid()})",
            log=str(self.run_dir / "logs" / "janitor.log"),
        )  # fmt: skip
