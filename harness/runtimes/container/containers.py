"""The containers of one run: started through Testcontainers on a network of the run's own, and removed with it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from docker.constants import DEFAULT_DOCKER_API_VERSION
from docker.models.containers import Container
from docker.types.containers import LogConfig
from docker.types.networks import EndpointConfig
from testcontainers.core.container import DockerContainer

from harness import events as ev
from harness.errors import HarnessError, MachineError, StartFailed
from harness.history import Recorder
from harness.remains import Remain, add_remains
from harness.runtimes.capabilities import Running
from harness.runtimes.container.engine import ENGINE_ERRORS, PART_LABEL, Engine, RunNetwork, run_labels, why
from harness.runtimes.container.happenings import Happenings
from harness.runtimes.container.running import ContainerRunning
from harness.runtimes.container.sweeping import labelled, remove
from harness.runtimes.log import Log
from harness.system import Component, Resolved

THREADS = 8
THREADS_END_WITHIN_S = 3.0
MIB = 1024 * 1024

T = TypeVar("T")


class Containers:
    """Starts the parts of one run that are given as images; ``close`` removes every trace of them.

    A part that was started before is started again in the same container: same address, and its files are kept, as with
    ``docker start``.
    """

    def __init__(self, run: str, run_dir: Path, recorder: Recorder, names: Sequence[str]) -> None:
        """Describe the run; ``names``: its parts that are containers, which decides their addresses."""
        self.run, self.run_dir, self._recorder = run, run_dir, recorder
        self._numbers = {name: number for number, name in enumerate(names)}
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="docker")
        self._engine: Engine | None = None
        self._network: RunNetwork | None = None
        self._images: dict[str, str] = {}
        self._wrapped: dict[str, DockerContainer] = {}
        self._made: dict[str, Container] = {}
        self._running: list[ContainerRunning] = []
        self._happenings: Happenings | None = None

    @property
    def network(self) -> RunNetwork:
        """The run's network."""
        assert self._network is not None, "not open"
        return self._network

    @property
    def interface(self) -> str:
        """This machine's interface to the run's network; empty when there is none yet."""
        return self._network.interface if self._network is not None else ""

    def address(self, name: str) -> str:
        """Return the fixed IPv4 address of a part."""
        return self.network.address(self._numbers[name])

    async def call(self, work: Callable[[], T]) -> T:
        """Run a blocking call in a thread of the run's; ``close`` waits for what was begun, even if cancelled."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def open(self, images: Mapping[str, str]) -> None:
        """Connect to the engine and make the network; ``images``: part to the full name of its image, which is there.

        Raises:
            MachineError: no engine answers, or it has no addresses left.
        """
        self._images = dict(images)
        self._engine = engine = await self.call(Engine)
        self._network = network = await self.call(lambda: engine.make_network(self.run))
        loop = asyncio.get_running_loop()

        def tell(event: ev.Event) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is over, so nobody wants to know
                loop.call_soon_threadsafe(self._recorder.emit, event)

        try:
            self._happenings = await self.call(lambda: Happenings(engine, self.run, network.name, tell))
        except ENGINE_ERRORS as refused:
            raise MachineError("a Docker engine that tells its events", why(refused), "look at `docker info`") from None

    async def start(
        self,
        component: Component,
        resolved: Resolved,
        *,
        alarm: Sequence[str] = (),
        on_exit: Callable[[Running], None] | None = None,
    ) -> ContainerRunning:
        """Start a part (again).

        Raises:
            StartFailed: the engine cannot start it; the sentence is the engine's.
        """
        name, before = component.name, self._made.get(component.name)
        try:
            if before is None:
                container, since = await self.call(lambda: self._make(component, resolved)), None
            else:
                container, since = await self.call(lambda: _again(before))
            facts = await self.call(lambda: self._facts(name))
        except ENGINE_ERRORS as refused:
            raise StartFailed(name, f"the engine cannot start the image {self._images[name]}: {why(refused)}") from None
        path = self.run_dir / "logs" / f"{name}.log"
        log = Log(path, name, recorder=self._recorder, all_events=component.events, alarm=alarm)
        running = ContainerRunning(
            component, container, log, facts, self.call, network=self.network, address=self.address(name)
        )
        running.watch(since, on_exit)
        self._running.append(running)
        return running

    def _make(self, component: Component, resolved: Resolved) -> Container:
        name, network = component.name, self.network
        endpoint = EndpointConfig(DEFAULT_DOCKER_API_VERSION, aliases=[name], ipv4_address=self.address(name))
        wrapped = DockerContainer(
            self._images[name], name=f"aftershock-{self.run}-{name}", env=dict(resolved.env),
            volumes=[(host, inside, "ro") for inside, host in resolved.mounts.items()],
        )  # fmt: skip
        if resolved.argv:
            wrapped.with_command(list(resolved.argv))
        wrapped.with_kwargs(
            labels={**run_labels(self.run), PART_LABEL: name}, network=network.name, **_limits(component),
            networking_config={network.name: endpoint}, use_config_proxy=False,
            # The one log driver that every engine has and whose log can be read back.
            log_config=LogConfig(type=LogConfig.types.JSON),
        )  # fmt: skip
        self._wrapped[name] = wrapped
        wrapped.start()
        # What is asked of it from now on has a shorter limit than making it.
        assert self._engine is not None, "not open"
        container: Container = self._engine.quick.containers.get(wrapped.get_wrapped_container().id)
        self._made[name] = container
        return container

    def _facts(self, name: str) -> dict[str, str]:
        assert self._engine is not None, "not open"
        return self._engine.image_facts(self._images[name]) or {}

    async def close(self) -> None:
        """Remove containers and network; what stays is listed in ``remains.json`` too. Bounded when the engine is gone.

        Raises:
            MachineError: the engine is gone; what it has perhaps left, by name.
            HarnessError: what is left, by name.
        """
        for running in self._running:
            running.by_us = running.by_us or running.alive()
        engine = self._engine
        gone = await asyncio.to_thread(engine.silent) if engine is not None else None
        # A start that was cancelled may still be on its way: only after it, everything can be found.
        await asyncio.to_thread(self._pool.shutdown, wait=gone is None, cancel_futures=gone is not None)
        if engine is None:
            return
        left: list[Remain] = []
        if gone is None:
            left, gone = await asyncio.to_thread(self._remove, engine)
        await asyncio.to_thread(self._let_go, engine, within_s=0.0 if gone else THREADS_END_WITHIN_S)
        for running in self._running:
            if gone:
                running.give_up(gone)
            await running.wait_exit()
        left = self._known() if gone else left
        if left:
            with contextlib.suppress(OSError):  # on a full disk the error that follows still names them
                add_remains(self.run_dir, left)
            names = ", ".join(map(str, left))
            if gone:
                raise MachineError(
                    "the Docker engine to answer until the teardown is over",
                    f"the Docker engine is gone ({gone}), and perhaps left over: {names}",
                    "start it again, then `aftershock clean`",
                )
            raise HarnessError(f"left over after teardown: {names}")

    def _remove(self, engine: Engine) -> tuple[list[Remain], str | None]:
        """Return what is left, and why nobody knows."""
        try:
            remove(engine, labelled(engine, self.run))
            return [one.remain() for one in labelled(engine, self.run)], None
        except ENGINE_ERRORS as refused:
            return [], why(refused)

    def _let_go(self, engine: Engine, within_s: float) -> None:
        if self._happenings is not None:
            self._happenings.close()
        for running in self._running:
            running.join(within_s)
        for wrapped in self._wrapped.values():
            wrapped.get_docker_client().client.close()
        engine.close()

    def _known(self) -> list[Remain]:
        """Return what was made and never seen removed."""
        containers = [
            Remain("container", f"aftershock-{self.run}-{name}", str(self._made[name].id) if name in self._made else "")
            for name in self._wrapped
        ]
        network = self._network
        return [*containers, *([network.remain()] if network is not None else [])]


def _limits(component: Component) -> dict[str, int]:
    """Return the limits as docker-py takes them; swap would only hide that memory is short."""
    found: dict[str, int] = {}
    if component.limits.memory_mb:
        size = int(component.limits.memory_mb * MIB)
        found |= {"mem_limit": size, "memswap_limit": size}
    if component.limits.cpus:
        found["nano_cpus"] = int(component.limits.cpus * 1e9)
    return found


def _again(container: Container) -> tuple[Container, float]:
    """Start a container that has ended, or take over what somebody has restarted.

    Return it and when it had ended, for its log goes on from there.
    """
    container.reload()
    # "2026-01-31T12:00:00.123456789Z", with as many digits as are not zero: as many as Python takes, and UTC.
    ended = datetime.fromisoformat(str(container.attrs["State"]["FinishedAt"])[:26].rstrip("Z")).replace(tzinfo=UTC)
    if not container.attrs["State"]["Running"]:
        container.start()
        container.reload()
    return container, ended.timestamp()
