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
from typing import Any, TypeVar

import docker.errors
from docker.models.containers import Container

from harness.errors import ComponentError, FaultDidNotLand, FaultNotSupported
from harness.runtimes.capabilities import Running
from harness.runtimes.container import packets
from harness.runtimes.container.engine import ENGINE_ERRORS, RunNetwork, silence_of, why
from harness.runtimes.log import Log, LoggedPart
from harness.system import Component
from harness.waiting import within

IGNORED_AFTER_S = 5.0
"""A signal that has not ended the container by then was ignored."""
LOG_ENDS_WITHIN_S = 2.0
"""How long the engine has to hand over the rest of the log after the end."""
RESTART_STOPS_WITHIN_S = 5
"""How long ``docker restart`` waits before it kills: as long as a process that is to be restarted has."""
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
    """True when the kernel killed it for want of memory, or the engine is gone and nobody can say."""


class ContainerRunning(LoggedPart):
    """A started container: it has every capability of :mod:`harness.runtimes`."""

    def __init__(
        self,
        component: Component,
        container: Container,
        log: Log,
        facts: dict[str, str],
        call: Call[Any],
        *,
        network: RunNetwork,
        address: str,
    ) -> None:
        """Take over a container just started (its attributes are fresh), at its fixed ``address`` in ``network``."""
        self.component = component
        self.by_us = self.by_machine = False
        self.ignored_term_s: float | None = None
        self._network, self._address = network, address
        self._dropping: list[packets.Protocol] = []
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
            await within(asyncio.shield(self._ended), IGNORED_AFTER_S)
        except TimeoutError:  # a graceful stop may wait for others to go: its end, however late, is still our doing
            raise FaultDidNotLand(f"{self.component.name} ignored {name} for {IGNORED_AFTER_S:g} s") from None
        except FaultDidNotLand:
            self.by_us = was
            raise
        return f"container {self.identity} {await self.wait_exit()}"

    async def stop(self, within_s: float) -> str:
        """``docker stop``: its stop signal, SIGKILL after ``within_s`` (whole seconds); works on what is dead, too."""
        if not self.alive():
            return f"container {self.identity}: it {self.exit_text()} before"
        gone = await self._call(lambda: silence_of(self._container.client))
        if gone is not None:
            self.give_up(gone)
            raise ComponentError(self.component.name, f"docker stop: the Docker engine is gone ({gone})")
        self.by_us = True
        patience_s = max(1, math.ceil(within_s))
        try:
            await self._call(lambda: self._container.stop(timeout=patience_s))
            await within(asyncio.shield(self._ended), IGNORED_AFTER_S)
        except (TimeoutError, *ENGINE_ERRORS) as late:
            raise ComponentError(
                self.component.name, f"docker stop did not end it: {why(late)}", log=str(self.log_path)
            ) from None
        text = await self.wait_exit()
        was_killed = self._ended.result().status == KILLED
        self.ignored_term_s = patience_s if was_killed else None
        return f"container {self.identity} {text}" + (f" after {patience_s} s to end by itself" if was_killed else "")

    async def restart(self) -> str:
        """``docker restart``; the next start of the component takes over what runs then. Raises FaultDidNotLand."""
        was, self.by_us = self.by_us, True
        before = self._pid
        try:
            await self._ask(lambda: self._container.restart(timeout=RESTART_STOPS_WITHIN_S), "docker restart")
            await within(asyncio.shield(self._ended), IGNORED_AFTER_S)
            await self._asked(self._container.reload, "docker inspect")
        except TimeoutError:
            self.by_us = was
            raise FaultDidNotLand(f"docker restart of {self.component.name} did not end pid {before}") from None
        except FaultDidNotLand:
            self.by_us = self.by_us if not self.alive() else was
            raise
        now = int(self._container.attrs["State"]["Pid"])
        if now in {0, before}:
            raise FaultDidNotLand(f"docker restart of {self.component.name}: its pid is {now}, and was {before}")
        return (
            f"container {self._container.short_id}: pid {before} {await self.wait_exit()}, then pid {now} was started"
        )

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

    # -- its network -------------------------------------------------------------------------------------------------

    async def detach(self) -> str:
        """``docker network disconnect``. Raises FaultDidNotLand."""
        name = self._network.name
        await self._ask(lambda: self._in_network().disconnect(self._container), "docker network disconnect")
        await self._asked(self._container.reload, "docker inspect")
        if name in self._networks():
            raise FaultDidNotLand(f"{self.component.name} is still on {name}")
        return f"container {self.identity} is off {name}, where it was {self._address}"

    async def attach(self) -> str:
        """``docker network connect`` with its old address and name, even when it has ended. Raises FaultDidNotLand."""
        name, alias = self._network.name, self.component.name
        await self._asked(
            lambda: self._in_network().connect(self._container, ipv4_address=self._address, aliases=[alias]),
            "docker network connect",
        )
        await self._asked(self._container.reload, "docker inspect")
        if not self.alive():
            raise FaultDidNotLand(f"{alias} ended while it was off {name}: it {self.exit_text()}")
        found = self._networks().get(name, {})
        if found.get("IPAddress") != self._address or alias not in (found.get("Aliases") or []):
            saw = f"{found.get('IPAddress') or 'no address'} as {', '.join(found.get('Aliases') or []) or 'nobody'}"
            raise FaultDidNotLand(f"{alias} should be {self._address} on {name} again; it is {saw}")
        return f"container {self.identity} is {self._address} on {name} again, named {alias}"

    async def cannot_drop(self) -> str | None:
        """Return why its packets cannot be dropped from here, or None."""
        return packets.cannot_drop(self._pid, str(self._container.id))

    async def drop(self, protocol: packets.Protocol) -> str:
        """Drop all it sends and is sent of ``protocol``, but for its own loopback. Raises FaultDidNotLand."""
        name = self.component.name
        if not self.alive():
            raise FaultDidNotLand(f"{name} was not running: it {self.exit_text()}")
        if protocol in self._dropping:
            raise FaultDidNotLand(f"{protocol} packets of {name} are dropped already")
        await packets.add(self._pid, protocol)
        self._dropping.append(protocol)
        what = "all packets" if protocol == "all" else f"{protocol} packets"
        return f"{what} to and from container {self.identity} are dropped, but for its own loopback"

    async def undrop(self) -> str:
        """Remove the rules that came last; return how many packets they dropped. Raises FaultDidNotLand."""
        name = self.component.name
        if not self._dropping or not self.alive():
            how = f"it {self.exit_text()}" if not self.alive() else "it was started again meanwhile"
            raise FaultDidNotLand(f"the rules went with the network namespace of {name}: {how}")
        protocol = self._dropping.pop()
        count = await packets.dropped(self._pid, protocol)
        if count is None:
            raise FaultDidNotLand(f"somebody else removed the rules for {protocol} packets of {name}")
        await packets.remove(self._pid, protocol)
        if count == 0:
            raise FaultDidNotLand(f"no {protocol} packet of {name} came by, so none was dropped")
        return f"rules removed, {count} packets dropped"

    def _in_network(self) -> Any:  # docker-py has no types
        return self._container.client.networks.get(self._network.id or self._network.name)

    def _networks(self) -> dict[str, Any]:
        found: dict[str, Any] = self._container.attrs["NetworkSettings"]["Networks"]
        return found

    # -- the engine --------------------------------------------------------------------------------------------------

    async def _ask(self, call: Callable[[], Any], words: str) -> None:
        if not self.alive():
            raise FaultDidNotLand(f"{self.component.name} was not running: it {self.exit_text()}")
        await self._asked(call, words)

    async def _asked(self, call: Callable[[], Any], words: str) -> None:
        # A call to an engine that hangs would last three times as long.
        gone = await self._call(lambda: silence_of(self._container.client))
        if gone is not None:
            self.give_up(gone)
            raise FaultDidNotLand(f"{words} of {self.component.name}: the Docker engine is gone ({gone})")
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
            # A death of our making is ours, even where the kernel had killed a child for want of memory before.
            out_of_memory = bool(self._container.attrs["State"].get("OOMKilled")) and not self.by_us
            text = f"exited {status}"
            ended = Ended(status, text + (self._starved(status) if out_of_memory else ""), out_of_memory)
        except ENGINE_ERRORS as lost:
            ended = _lost(why(lost))
        self._tell(lambda: None if self._ended.done() else self._ended.set_result(ended))

    def _starved(self, status: int) -> str:
        limit_mb = self.component.limits.memory_mb
        name = self.component.name
        said = (
            ", killed for want of memory"
            if status == KILLED
            else ", after something in it was killed for want of memory"
        )
        if limit_mb:
            return f"{said} (limit {limit_mb:g} MiB); raise {name}.limits.memory_mb"
        return f"{said} (it has no limit of its own); free memory on this machine"

    def give_up(self, reason: str) -> None:
        """Wait for its end, and for the rest of its log, no longer: the engine is gone for this reason."""
        self._log_over.set()
        if not self._ended.done():
            self._ended.set_result(_lost(reason))

    def _tell(self, news: Callable[[], Any]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is over, so nobody wants to know
            self._loop.call_soon_threadsafe(news)

    async def _see_off(self, on_exit: Callable[[Running], None] | None) -> None:
        self.by_machine = (await asyncio.shield(self._ended)).by_machine
        with contextlib.suppress(TimeoutError):
            await within(self._log_over.wait(), LOG_ENDS_WITHIN_S)
        self._log.close()
        if on_exit is not None:
            on_exit(self)


def _lost(reason: str) -> Ended:
    return Ended(None, f"was lost sight of, for the Docker engine is gone ({reason})", by_machine=True)


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
