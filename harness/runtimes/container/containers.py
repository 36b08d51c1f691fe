"""The containers of one run: started through Testcontainers on a network of the run's own, and removed with it."""

from __future__ import annotations

import asyncio
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

from harness.errors import HarnessError, StartFailed
from harness.history import Recorder
from harness.runtimes.capabilities import Running
from harness.runtimes.container.engine import ENGINE_ERRORS, PART_LABEL, RUN_LABEL, Engine, RunNetwork, why
from harness.runtimes.container.running import ContainerRunning
from harness.runtimes.log import Log
from harness.system import Component, Resolved

THREADS = 8
THREADS_END_WITHIN_S = 3.0

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
        self._running: list[ContainerRunning] = []

    @property
    def network(self) -> RunNetwork:
        """The run's network."""
        assert self._network is not None, "not open"
        return self._network

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
        self._network = await self.call(lambda: engine.make_network(self.run))

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
        name, before = component.name, self._wrapped.get(component.name)
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
        running = ContainerRunning(component, container, log, facts, self.call)
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
            labels={RUN_LABEL: self.run, PART_LABEL: name}, network=network.name,
            networking_config={network.name: endpoint}, use_config_proxy=False,
            # The one log driver that every engine has and whose log can be read back.
            log_config=LogConfig(type=LogConfig.types.JSON),
        )  # fmt: skip
        self._wrapped[name] = wrapped
        wrapped.start()
        container: Container = wrapped.get_wrapped_container()
        container.reload()
        return container

    def _facts(self, name: str) -> dict[str, str]:
        assert self._engine is not None, "not open"
        return self._engine.image_facts(self._images[name]) or {}

    async def close(self) -> None:
        """Remove containers and network; raise when something stays.

        Raises:
            HarnessError: what is left, by name, or that the engine does not answer any more.
        """
        for running in self._running:
            running.by_us = running.by_us or running.alive()
        # A start that was cancelled may still be on its way: only after it, everything can be found.
        await asyncio.to_thread(self._pool.shutdown, wait=True)
        if self._engine is None:
            return
        left = await asyncio.to_thread(self._remove, self._engine)
        if left:
            raise HarnessError(f"left over after teardown: {', '.join(left)}")
        for running in self._running:
            await running.wait_exit()

    def _remove(self, engine: Engine) -> list[str]:
        try:
            engine.remove_all(self.run)
            left = engine.left_of(self.run)
        except ENGINE_ERRORS as refused:
            return [f"perhaps every container of run {self.run}: {why(refused)}"]
        for running in self._running:
            running.join(THREADS_END_WITHIN_S)
        for wrapped in self._wrapped.values():
            wrapped.get_docker_client().client.close()
        engine.close()
        return left


def _again(wrapped: DockerContainer) -> tuple[Container, float]:
    """Start a container that has ended; return it and when it had, for its log goes on from there."""
    container: Container = wrapped.get_wrapped_container()
    container.reload()
    # "2026-01-31T12:00:00.123456789Z", with as many digits as are not zero: as many as Python takes, and UTC.
    ended = datetime.fromisoformat(str(container.attrs["State"]["FinishedAt"])[:26].rstrip("Z")).replace(tzinfo=UTC)
    container.start()
    container.reload()
    return container, ended.timestamp()
