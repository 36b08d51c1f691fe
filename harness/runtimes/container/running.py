"""One started container: what faults may do to it, its log as it comes, and how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal as signals
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import docker.errors
from docker.models.containers import Container

from harness.errors import ComponentError, FaultDidNotLand, FaultNotSupported
from harness.runtimes.capabilities import Running
from harness.runtimes.container.engine import ENGINE_ERRORS, why
from harness.runtimes.log import Log
from harness.system import Component

IGNORED_AFTER_S = 5.0
"""A signal that has not ended the container by then was ignored."""
LOG_ENDS_WITHIN_S = 2.0
"""How long the engine has to hand over the rest of the log after the end."""
KILLED = 128 + signals.SIGKILL
"""The exit status of what SIGKILL ended."""

T = TypeVar("T")
Call = Callable[[Callable[[], T]], Awaitable[T]]
"""Runs a blocking call to the engine in a thread of the run's."""


@dataclass(frozen=True)
class Ended:
    """How a container ended."""

    status: int | None
    """Its exit status; None when the engine could not say."""
    text: str
    by_machine: bool = False
    """True when the kernel killed it for want of memory."""


class ContainerRunning:
    """A started container; see the protocols of :mod:`harness.runtimes`: Killable, Pausable, Stoppable, Loggable."""

    def __init__(
        self, component: Component, container: Container, log: Log, facts: dict[str, str], call: Call[Any]
    ) -> None:
        """Take over a container just started (its attributes are fresh)."""
        self.component = component
        self.by_us = self.by_machine = False
        self._container, self._log, self._facts, self._call = container, log, facts, call
        self._pid = int(container.attrs["State"]["Pid"])
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[Ended] = self._loop.create_future()
        self._log_over = asyncio.Event()
        self._threads: list[threading.Thread] = []
        self._watch: asyncio.Task[None] | None = None

    @property
    def identity(self) -> str:
        """The container's id, and the pid on this machine, which changes with each start."""
        return f"{self._container.short_id} (pid {self._pid})"

    @property
    def facts(self) -> dict[str, str]:
        """Name, id and digest of its image."""
        return dict(self._facts)

    @property
    def log_path(self) -> Path:
        """The file with its log."""
        return self._log.path

    def last_lines(self, count: int = 30) -> tuple[str, ...]:
        """Return the end of this start's log."""
        return self._log.last_lines(count)

    def find_line(self, pattern: str) -> str | None:
        """Return the first line of this start's log that matches the regex."""
        return self._log.find_line(pattern)

    def alive(self) -> bool:
        """Tell whether it has not ended."""
        return not self._ended.done()

    def exit_text(self) -> str | None:
        """Say how it ended, e.g. ``exited 137``; None while it lives."""
        return self._ended.result().text if self._ended.done() else None

    async def wait_exit(self) -> str:
        """Wait until it has ended; its log up to then is written."""
        assert self._watch is not None, "not watched"
        await asyncio.shield(self._watch)
        return self._ended.result().text

    async def kill(self, signal: str = "KILL") -> str:
        """Send the signal to the container's first process and wait for its end.

        Raises:
            FaultDidNotLand: it was not running, or ignored the signal for 5 s.
            FaultNotSupported: no such signal.
        """
        name = f"SIG{signal.upper().removeprefix('SIG')}"
        if name not in signals.Signals.__members__:
            raise FaultNotSupported(f"there is no signal {signal!r}; write for example KILL or TERM")
        was, self.by_us = self.by_us, True
        try:
            await self._ask(lambda: self._container.kill(name), f"docker kill --signal {name}")
            await asyncio.wait_for(asyncio.shield(self._ended), IGNORED_AFTER_S)
        except TimeoutError:
            self.by_us = was
            raise FaultDidNotLand(f"{self.component.name} ignored {name} for {IGNORED_AFTER_S:g} s") from None
        except FaultDidNotLand:
            self.by_us = was
            raise
        return f"container {self.identity} {await self.wait_exit()}"

    async def stop(self, within_s: float) -> str:
        """``docker stop``: its stop signal, SIGKILL after ``within_s`` (whole seconds); works on what is dead, too."""
        if not self.alive():
            return f"container {self.identity} had {self.exit_text()}"
        self.by_us = True
        patience_s = max(1, math.ceil(within_s))
        try:
            await self._call(lambda: self._container.stop(timeout=patience_s))
            await asyncio.wait_for(asyncio.shield(self._ended), IGNORED_AFTER_S)
        except (TimeoutError, *ENGINE_ERRORS) as late:
            raise ComponentError(
                self.component.name, f"docker stop did not end it: {why(late)}", log=str(self.log_path)
            ) from None
        text = await self.wait_exit()
        was_killed = self._ended.result().status == KILLED
        return f"container {self.identity} {text}" + (f" after {patience_s} s to end by itself" if was_killed else "")

    async def pause(self) -> str:
        """Freeze all its processes (``docker pause``). Raises FaultDidNotLand."""
        await self._ask(self._container.pause, "docker pause")
        return await self._now("paused")

    async def resume(self) -> str:
        """Let it go on (``docker unpause``). Raises FaultDidNotLand."""
        await self._ask(self._container.unpause, "docker unpause")
        return await self._now("running")

    async def _now(self, wanted: str) -> str:
        await self._ask(self._container.reload, "docker inspect")
        status = str(self._container.attrs["State"]["Status"])
        if status != wanted:
            raise FaultDidNotLand(f"{self.component.name} is {status}, not {wanted}")
        return f"container {self.identity} is {status}"

    async def _ask(self, call: Callable[[], Any], words: str) -> None:
        if not self.alive():
            raise FaultDidNotLand(f"{self.component.name} was not running: it {self.exit_text()}")
        try:
            await self._call(call)
        except ENGINE_ERRORS as refused:
            raise FaultDidNotLand(f"{words} of {self.component.name}: {why(refused)}") from None

    # -- watching ----------------------------------------------------------------------------------------------------

    def watch(self, log_since: float | None, on_exit: Callable[[Running], None] | None) -> None:
        """Follow its log (from ``log_since``, seconds since 1970) and call ``on_exit`` after its last line.

        Threads of their own: they last as long as the container, and would fill up a pool.
        """
        reading, writing = os.pipe2(os.O_CLOEXEC)
        self._log.listen(reading, self._pid)
        for work in (lambda: self._follow(writing, log_since), self._wait):
            thread = threading.Thread(target=work, name=f"container {self.component.name}", daemon=True)
            thread.start()
            self._threads.append(thread)
        self._watch = asyncio.create_task(self._see_off(on_exit), name=f"exit of {self.component.name}")

    def join(self, within_s: float) -> None:
        """Wait for the threads (blocking); they end with the container."""
        for thread in self._threads:
            thread.join(within_s)

    def _follow(self, writing: int, since: float | None) -> None:
        try:
            # A log that breaks off (the engine is gone, or the reader) is over; the exit tells why.
            with (
                contextlib.suppress(*ENGINE_ERRORS, OSError),
                contextlib.closing(self._container.logs(stream=True, follow=True, since=since)) as chunks,
            ):
                for chunk in chunks:
                    _write_all(writing, chunk)
        finally:
            os.close(writing)
            self._tell(self._log_over.set)

    def _wait(self) -> None:
        try:
            status = int(self._container.wait(timeout=None)["StatusCode"])
            with contextlib.suppress(docker.errors.NotFound):  # the teardown may have removed it meanwhile
                self._container.reload()
            out_of_memory = bool(self._container.attrs["State"].get("OOMKilled"))
            text = f"exited {status}{', killed for want of memory' if out_of_memory else ''}"
            ended = Ended(status, text, out_of_memory)
        except ENGINE_ERRORS as lost:
            ended = Ended(None, f"was lost sight of ({why(lost)})")
        self._tell(lambda: None if self._ended.done() else self._ended.set_result(ended))

    def _tell(self, news: Callable[[], Any]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is over, so nobody wants to know
            self._loop.call_soon_threadsafe(news)

    async def _see_off(self, on_exit: Callable[[Running], None] | None) -> None:
        self.by_machine = (await asyncio.shield(self._ended)).by_machine
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._log_over.wait(), LOG_ENDS_WITHIN_S)
        self._log.close()
        if on_exit is not None:
            on_exit(self)


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
