"""Runs a component as a process in a session of its own; kill, pause and stop act on its whole tree."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal as signals
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.checksum import sha256_of
from harness.errors import ComponentError, FaultDidNotLand, FaultNotSupported, NotReached, StartFailed
from harness.history import Recorder
from harness.runtimes.capabilities import Running
from harness.runtimes.log import Log, LoggedPart, OnLine
from harness.runtimes.tree import Member, mark, members, send
from harness.settings import PROJECT_ROOT, child_environment
from harness.system import Component, Resolved
from harness.waiting import NotYet, until

IGNORED_AFTER_S = 5.0
"""A signal that has not ended the tree by then was ignored."""
PIPE_BYTES = 1 << 20
"""So that a component does not wait for us when it writes a lot at once (Linux's own limit for a plain user)."""


class ProcessRunning(LoggedPart):
    """A started process; see the protocols of :mod:`harness.runtimes`: Killable, Pausable, Stoppable, Loggable."""

    def __init__(
        self,
        component: Component,
        process: asyncio.subprocess.Process,
        log: Log,
        marked: dict[str, str],
        facts: dict[str, str],
    ) -> None:
        """Take over a process just spawned; ``marked`` is in the environment of its whole tree."""
        self.component = component
        self.by_us = self.by_machine = False
        self.ignored_term_s: float | None = None
        self._process, self._log, self._marked, self._facts = process, log, marked, facts
        self._gone = False
        self._watch: asyncio.Task[None] | None = None

    @property
    def identity(self) -> str:
        """The pid."""
        return str(self._process.pid)

    def alive(self) -> bool:
        """Tell whether the process itself (not only a child of it) has not ended."""
        return self._process.returncode is None

    def exit_text(self) -> str | None:
        """Say how it ended; the number is minus the signal's when a signal did it."""
        return None if self._process.returncode is None else f"exited {self._process.returncode}"

    async def wait_exit(self) -> str:
        """Wait until it has ended; its log up to then is written."""
        assert self._watch is not None, "not watched"
        await asyncio.shield(self._watch)
        return f"exited {self._process.returncode}"

    async def kill(self, signal: str = "KILL") -> str:
        """Send the signal to the whole tree and wait until none of it is left.

        Raises:
            FaultDidNotLand: nothing was running, or the signal was ignored for 5 s.
            FaultNotSupported: no such signal.
        """
        number = _signal(signal)
        found = self._members()
        name = self.component.name
        if not found:
            raise FaultDidNotLand(f"{name} was not running when it was to be killed: it {self.exit_text()}")
        # For good: a graceful stop may wait for others to go, and its end, however late, is still our doing.
        self.by_us = True
        seen = await self._end(number, found, IGNORED_AFTER_S)
        if seen is None:
            raise FaultDidNotLand(f"{name} ignored SIG{signal} for {IGNORED_AFTER_S:g} s")
        await self._finish()
        return f"pid {self.identity} exited {self._process.returncode}, {_processes(seen)} ended"

    async def stop(self, within_s: float) -> str:
        """Send SIGTERM to the whole tree, SIGKILL after ``within_s``; say how it went. Works on what is dead, too."""
        found = self._members()
        self.by_us = self.by_us or self.alive()
        ignored = ""
        if found:
            for member in found.values():
                send(member, signals.SIGCONT)
            if await self._end(signals.SIGTERM, found, within_s) is None:
                self.ignored_term_s, ignored = within_s, f" after it ignored SIGTERM for {within_s:g} s"
                if await self._end(signals.SIGKILL, self._members(), IGNORED_AFTER_S) is None:
                    raise ComponentError(self.component.name, "it lives on after SIGKILL", log=str(self.log_path))
        await self._finish()
        return f"pid {self.identity} exited {self._process.returncode}{ignored}"

    async def pause(self) -> str:
        """Stop the whole tree (SIGSTOP); proven by /proc. Raises FaultDidNotLand."""
        return await self._hold(signals.SIGSTOP, stopped=True)

    async def resume(self) -> str:
        """Let the whole tree go on (SIGCONT); proven by /proc. Raises FaultDidNotLand."""
        return await self._hold(signals.SIGCONT, stopped=False)

    def watch(self, on_exit: Callable[[Running], None] | None) -> None:
        """Call ``on_exit`` once the process has ended, after the last line it wrote was read."""

        async def wait() -> None:
            await self._process.wait()
            self._log.drain()
            if not self._members():
                self._log.close()
            if on_exit is not None:
                on_exit(self)

        self._watch = asyncio.create_task(wait(), name=f"exit of {self.component.name}")

    def _members(self) -> dict[int, Member]:
        # Once nothing was left, the pid may belong to somebody else.
        found = {} if self._gone else members(self._marked, self._process.pid)
        self._gone = not found and not self.alive()
        return found

    async def _end(self, number: signals.Signals, found: dict[int, Member], within_s: float) -> set[int] | None:
        """Signal the tree until none is left; return every pid it had, or None when some is left after ``within_s``."""
        told: set[int] = set()

        def probe() -> set[int] | NotYet:
            now = self._members()
            for member in {**({} if told else found), **now}.values():
                # Only SIGKILL is repeated for what was forked meanwhile; a second SIGTERM means something else to many.
                if member.pid not in told or number == signals.SIGKILL:
                    send(member, number)
                told.add(member.pid)
            return NotYet(f"{_processes(now)} alive") if now or self.alive() else told

        try:
            return await until(probe, what=f"the end of {self.component.name}", within_s=within_s, every_s=0.01)
        except NotReached:
            return None

    async def _hold(self, number: signals.Signals, *, stopped: bool) -> str:
        name = self.component.name

        def probe() -> dict[int, Member] | NotYet:
            now = self._members()
            if not now:
                raise FaultDidNotLand(f"{name} was not running: it {self.exit_text()}")
            wrong = [member for member in now.values() if (member.state == "T") != stopped]
            for member in wrong:
                send(member, number)
            return NotYet(f"{_processes(wrong)} still {'running' if stopped else 'stopped'}") if wrong else now

        try:
            held = await until(probe, what=number.name, within_s=IGNORED_AFTER_S, every_s=0.005)
        except NotReached as late:
            raise FaultDidNotLand(f"{name}: {late}") from None
        verb = "stopped (state T)" if stopped else "running again"
        return f"pid {self.identity} {verb}, {_processes(held)} in all"

    async def _finish(self) -> None:
        await self.wait_exit()
        self._log.close()


async def start(
    component: Component,
    resolved: Resolved,
    *,
    run: str,
    run_dir: Path,
    recorder: Recorder,
    alarm: Sequence[str] = (),
    on_line: OnLine | None = None,
    on_exit: Callable[[Running], None] | None = None,
) -> ProcessRunning:
    """Spawn the process in its own session, with the run's mark in its environment and its output in its log.

    Raises:
        StartFailed: there is no such program, or it cannot be executed.
    """
    marked = mark(run, component.name)
    environment = child_environment(run, component.name, {**resolved.env, **marked})
    program = find_program(component.name, "process", resolved.argv[0], environment.get("PATH", os.defpath))
    log = Log(
        run_dir / "logs" / f"{component.name}.log", component.name,
        recorder=recorder, all_events=component.events, alarm=alarm, on_line=on_line,
    )  # fmt: skip
    reading, writing = os.pipe2(os.O_CLOEXEC)
    fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    try:
        # A pipe of our own: asyncio's would make wait() hang for as long as any child holds it open.
        process = await asyncio.create_subprocess_exec(
            program, *resolved.argv[1:], stdin=asyncio.subprocess.DEVNULL, stdout=writing, stderr=writing,
            env=environment, start_new_session=True, cwd=PROJECT_ROOT if component.ours else None,
        )  # fmt: skip
    except OSError as refused:
        os.close(reading)
        log.close()
        raise StartFailed(
            component.name,
            f"{program} cannot be executed here ({refused.strerror}); is it built for this machine, "
            "or a script whose first line names an interpreter that is there?",
        ) from None
    finally:
        os.close(writing)
    log.listen(reading, process.pid)
    # Only now: a big program's checksum takes a tenth of a second, in which it starts.
    running = ProcessRunning(component, process, log, marked, await _facts(component, resolved, program))
    running.watch(on_exit)
    return running


def find_program(name: str, key: str, program: str, search: str) -> str:
    """Return the program's path; ``key`` of component ``name`` is where the user named it.

    Raises:
        StartFailed: it is not there, or cannot be executed.
    """
    if "/" not in program:
        found = shutil.which(program, path=search)
        if found is None:
            raise StartFailed(name, f"no program {program!r} in PATH; install it, or give its path in {name}.{key}")
        return found
    if not Path(program).exists():
        raise StartFailed(name, f"there is no {program}; build it, or mend {name}.{key}")
    if Path(program).is_dir():
        raise StartFailed(name, f"{program} is a directory; name the program itself in {name}.{key}")
    if not os.access(program, os.X_OK):
        raise StartFailed(name, f"{program} is not executable; chmod +x it")
    return program


async def _facts(component: Component, resolved: Resolved, program: str) -> dict[str, str]:
    if component.ours:
        return {"program": " ".join(resolved.argv[1:])}
    return {"program": program, "sha256": await asyncio.to_thread(sha256_of, Path(program))}


def _signal(name: str) -> signals.Signals:
    try:
        return signals.Signals[f"SIG{name.upper().removeprefix('SIG')}"]
    except KeyError:
        raise FaultNotSupported(f"there is no signal {name!r}; write for example KILL or TERM") from None


def _processes(found: Sequence[object] | set[int] | dict[int, Member]) -> str:
    return "1 process" if len(found) == 1 else f"{len(found)} processes"
