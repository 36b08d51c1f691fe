"""Driving a process of ours: JSON lines over an inherited socketpair, requests with ids, end of file means exit.

The parent spawns with :class:`Puppet`; the child runs :func:`run_child`. Secrets go through this pipe, never the
command line.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from harness.clock import MS_NS, now_ns
from harness.errors import HarnessError, StartFailed
from harness.events import Lag
from harness.history import Recorder
from harness.settings import child_environment
from harness.waiting import within

LAG_EVERY_S = 0.05
LAG_WRITTEN_FROM_MS = 100.0
Handler = Callable[[dict[str, Any]], Awaitable[Any]]


class ControlError(HarnessError):
    """A request to a process of ours failed there; the text is what it said."""


async def watch_lag(recorder: Recorder) -> None:
    """Measure for ever how late this process's event loop is, and write down what is 100 ms or more."""
    while True:
        before = now_ns()
        await asyncio.sleep(LAG_EVERY_S)
        lag_ms = (now_ns() - before) / MS_NS - LAG_EVERY_S * 1000
        if lag_ms >= LAG_WRITTEN_FROM_MS:
            recorder.emit(Lag(lag_ms=round(lag_ms, 1)))


class Puppet:
    """A process of ours, spawned as ``python -m MODULE``, and the request/reply channel to it."""

    def __init__(self, module: str, *, run: str, run_dir: Path, proc: str) -> None:
        """Describe it; ``start`` spawns. ``proc`` names its record files."""
        self.module, self.run, self.run_dir, self.proc = module, run, run_dir, proc
        self.process: asyncio.subprocess.Process | None = None
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._reader_task: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self.ends_on_purpose = False
        """Set by who ends it: a process of ours that ends by itself makes a run UNKNOWN."""

    def ended_by_itself(self) -> str | None:
        """Return how it exited though nobody asked it to, or None."""
        if self.ends_on_purpose or self.process is None or self.process.returncode is None:
            return None
        return f"exited {self.process.returncode}"

    @property
    def pid(self) -> int:
        """The process id."""
        assert self.process is not None, "not started"
        return self.process.pid

    async def start(self) -> None:
        """Spawn the process; its output goes to ``logs/<proc>.log``."""
        ours, theirs = socket.socketpair()
        log = self.run_dir / "logs" / f"{self.proc}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", self.module, str(theirs.fileno()), str(self.run_dir), self.run, self.proc,
                pass_fds=(theirs.fileno(),), stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out,
                env=child_environment(self.run, self.proc, {}), start_new_session=True,
            )  # fmt: skip
        theirs.close()
        reader, self._writer = await asyncio.open_connection(sock=ours, limit=1 << 24)
        self._reader_task = asyncio.create_task(self._read(reader), name=f"control of {self.proc}")

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                reply = json.loads(line)
                waiter = self._waiting.pop(reply["id"], None)
                if waiter is None or waiter.done():
                    continue
                if "error" in reply:
                    waiter.set_exception(ControlError(f"{self.proc}: {reply['error']}"))
                else:
                    waiter.set_result(reply.get("result"))
        for waiter in self._waiting.values():
            if not waiter.done():
                waiter.set_exception(ControlError(f"{self.proc} ended before it answered"))
        self._waiting.clear()

    async def ask(self, verb: str, *, within_s: float = 10.0, **fields: Any) -> Any:
        """Send a request and return its result.

        Raises:
            ControlError: the process refused, or ended.
            StartFailed: no answer within ``within_s``.
        """
        assert self._writer is not None, "not started"
        number = next(self._ids)
        waiter: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiter
        if self._reader_task is not None and self._reader_task.done():
            raise ControlError(f"{self.proc} is gone")
        self._writer.write(json.dumps({"id": number, "verb": verb, **fields}).encode() + b"\n")
        try:
            return await within(waiter, within_s)
        except TimeoutError:
            raise StartFailed(
                self.proc, f"no answer to {verb!r} within {within_s:.0f} s", log=f"logs/{self.proc}.log"
            ) from None
        finally:
            self._waiting.pop(number, None)

    async def stop(self, within_s: float = 3.0) -> None:
        """Close the channel, so that the process exits; kill it when it does not."""
        if self.ended_by_itself() is None:
            self.ends_on_purpose = True
        if self.process is None:
            return
        if self._writer is not None:
            self._writer.close()
        try:
            await within(self.process.wait(), within_s)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
        if self._reader_task is not None:
            await self._reader_task


class Child:
    """The child's side: its recorder, and the loop that answers requests until the parent is gone."""

    def __init__(self, argv: list[str]) -> None:
        """Take ``fd run_dir run proc`` as :class:`Puppet` passes them."""
        self.fd, self.run_dir, self.run, self.proc = int(argv[1]), Path(argv[2]), argv[3], argv[4]
        self.recorder = Recorder(self.run_dir, self.run, self.proc)

    async def serve(self, handler: Handler) -> None:
        """Answer each request with ``await handler(request)``; return at end of file. Requests run side by side."""
        reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=self.fd), limit=1 << 24)
        lag = asyncio.create_task(watch_lag(self.recorder), name="lag")
        tasks: set[asyncio.Task[None]] = set()
        try:
            while line := await reader.readline():
                task = asyncio.create_task(_answer(json.loads(line), handler, writer))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        except ConnectionError:
            pass  # the parent died; that is the end of file we wait for
        finally:
            lag.cancel()
            for task in tasks:
                task.cancel()


async def _answer(request: dict[str, Any], handler: Handler, writer: asyncio.StreamWriter) -> None:
    reply: dict[str, Any] = {"id": request.pop("id")}
    try:
        reply["result"] = await handler(request)
    except Exception as error:  # noqa: BLE001  it is handed to the parent, which raises it
        reply["error"] = f"{type(error).__name__}: {error}"
    if not writer.is_closing():
        writer.write(json.dumps(reply).encode() + b"\n")


LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def run_child(main: Callable[[Child], Coroutine[Any, Any, None]], loop_factory: LoopFactory | None = None) -> None:
    """Run a child's main until its parent is gone, on a loop that ``loop_factory`` makes (None: asyncio's own)."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main(Child(sys.argv)))
