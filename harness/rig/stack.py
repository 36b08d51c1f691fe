"""The whole stack of one run: links, ears, and the components of the system, started side by side, ended in reverse."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from harness import events as ev
from harness import livekit_server
from harness.addresses import lease_loopback, lease_ports, probe_port
from harness.clock import now_ns, seconds_between
from harness.control import Puppet
from harness.errors import DiedUnexpectedly, FaultDidNotLand, MachineError
from harness.history import Recorder
from harness.links import Links
from harness.redact import know_secret
from harness.rig.tested import facts_of
from harness.rooms import RoomKeys
from harness.runtimes import Killable, Running, Stoppable, process
from harness.runtimes.readiness import ready
from harness.system import Address, Component, Places, Resolved, System, made_secrets, resolve

LIVEKIT = "livekit"
MEDIA_PORT = "rtc"
ENDS_WITHIN_S = 2.0
"""How long a component has to end at teardown before it is killed."""


@dataclass
class Stack:
    """Everything that runs for a scenario but the phones."""

    system: System
    run: str
    run_dir: Path
    recorder: Recorder
    livekit_path: str | None
    say: Callable[[str], None]
    live: dict[str, Running] = field(default_factory=dict)
    """Component -> as it runs now (a dead one stays until it is started again)."""
    planted: list[str] = field(default_factory=list)
    """Users of whom a story left a session in the bridge."""
    recorder_epoch_ns: int = 0
    """When frame 0 was spoken."""

    def __post_init__(self) -> None:
        self.links = Links(self.run, self.run_dir)
        self.ears = Puppet("harness.ears", run=self.run, run_dir=self.run_dir, proc="ears")
        self._exit = AsyncExitStack()

    # -- start and stop --------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start everything side by side, in dependency order; return when all is ready.

        Raises:
            MachineError: an address, port or binary is missing.
            StartFailed: a component did not get ready.
        """
        began = now_ns()
        self._plan()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._start_links())
            group.create_task(self._start_ears())
            group.create_task(self._start_components())
        self.recorder.emit(ev.StackReady(took_s=round(seconds_between(began, now_ns()), 3)))

    def _plan(self) -> None:
        """Lease the run's address and ports, make its secrets, and fill in the places."""
        address = lease_loopback()
        self._exit.callback(address.close)
        self.host = str(address.value)
        wanted = [(name, port) for name, part in self.system.components.items() for port in part.ports]
        wanted += [(ear, port) for ear, ports in self.system.ears.items() for port in ports]
        wanted += [("link", name) for name in self.system.links]
        leases = lease_ports(len(wanted))
        self._exit.callback(leases.close)
        self.ports: dict[str, dict[str, int]] = {}
        for (owner, port), number in zip(wanted, leases.value, strict=True):
            self.ports.setdefault(owner, {})[port] = number
        secrets = made_secrets(self.system)
        know_secret(*(value for name, value in secrets.items() if not name.endswith(".key") or name != "livekit.key"))
        self.secrets = secrets
        self.keys = RoomKeys(secrets["livekit.key"], secrets["livekit.secret"])
        self.scratch = Path(tempfile.mkdtemp(prefix="aftershock-"))
        self._exit.callback(shutil.rmtree, self.scratch, ignore_errors=True)
        self.fronts: dict[str, Address] = {name: (self.host, self.ports["link"][name]) for name in self.system.links}

    async def _start_links(self) -> None:
        await self.links.start()
        for name, link in self.system.links.items():
            await self.links.open(name, [self.fronts[name]], self.address(link.target, link.port))

    async def _start_ears(self) -> None:
        await self.ears.start()
        epoch = self.recorder_epoch_ns
        await self.ears.ask("configure", epoch_ns=epoch)
        if "stt" in self.system.ears:
            host, port = self.address("stt", "ws")
            await self.ears.ask("stt", host=host, port=port, interim=True)
        if "app" in self.system.ears:
            host, port = self.address("app", "http")
            front_host, front_port = self.fronts["app->cloud"]
            await self.ears.ask(
                "app", host=host, port=port, package=self.system.values["app.package"],
                api_key=self.secrets["app.key"], cloud_ws_url=f"ws://{front_host}:{front_port}/app-ws",
                auth="headers", jwt_secret=self.secrets["cloud.jwt_secret"],
                subscriptions=["transcription:en-US", "audio_chunk"], display=True,
            )  # fmt: skip

    async def _start_components(self) -> None:
        is_ready = {name: asyncio.Event() for name in self.system.components}

        async def one(component: Component) -> None:
            for need in component.needs:
                await is_ready[need].wait()
            await self.start_component(component.name)
            is_ready[component.name].set()

        async with asyncio.TaskGroup() as group:
            for name in self.system.start_order():
                group.create_task(one(self.system.components[name]), name=f"start {name}")

    async def start_component(self, name: str) -> str:
        """Start one component (again) and wait until it is ready; return its proof."""
        component = self.system.components[name]
        began = now_ns()
        values = {**self.secrets, "python": sys.executable, "run.id": self.run, "run.dir": str(self.run_dir)}
        values["scratch.dir"] = str(self.scratch)
        facts: dict[str, str] = {}
        if name == LIVEKIT and component.process and any("{livekit." in word for word in component.process):
            server = await livekit_server.find_or_build(self.livekit_path, self.say)
            values |= {"livekit.server": str(server.path), "livekit.config": str(self._livekit_config())}
            facts = {"version": server.version, "sha256": server.sha256}
        hosts = dict.fromkeys(self.system.components, self.host)
        resolved = resolve(self.system, component, Places(self.fronts, hosts, self.ports, values))
        addresses = {port: self.address(name, port) for port in component.tcp_ports()}
        again = name in self.live
        running = await self._spawn(component, resolved)
        self.live[name] = running
        self.recorder.emit(ev.ComponentStarted(component=name, identity=running.identity))
        if not again:
            facts |= await asyncio.to_thread(facts_of, component, resolved, self.system)
            self.recorder.emit(ev.Tested(component=name, runtime=component.runtime, facts=facts))
        await ready(component, addresses, running)
        took_s = round(seconds_between(began, now_ns()), 3)
        self.recorder.emit(ev.ComponentReady(component=name, took_s=took_s))
        return f"{name} runs as {running.identity}, ready after {took_s:.2f} s"

    def _livekit_config(self) -> Path:
        path = self.scratch / "livekit.yaml"
        text = livekit_server.config(
            self.host, self.ports[LIVEKIT]["signal"], self.ports[LIVEKIT][MEDIA_PORT],
            self.keys.key, self.keys.secret,
        )  # fmt: skip
        path.write_text(text)
        path.chmod(0o600)
        return path

    async def _spawn(self, component: Component, resolved: Resolved) -> Running:
        if component.runtime != "process":
            raise MachineError(
                f"{component.name} to run as a process", f"a runtime {component.runtime!r}",
                "give it as bridge.process=... for now",
            )  # fmt: skip
        # Only our own parts are sure to listen at the run's address; others may bind every address, or another one.
        host = self.host if component.ours else "0.0.0.0"
        for port in component.ports:
            probe_port(host, self.ports[component.name][port], "udp" if port in component.udp else "tcp")
        return await process.start(
            component, resolved, run=self.run, run_dir=self.run_dir, recorder=self.recorder, alarm=self.system.alarm,
            on_exit=self._exited,
        )  # fmt: skip

    def _exited(self, running: Running) -> None:
        self.recorder.emit(
            ev.ComponentExited(
                component=running.component.name, identity=running.identity, exit_text=running.exit_text() or "",
                by_us=running.by_us,
            )
        )  # fmt: skip

    async def stop(self) -> None:
        """End components in reverse order, then ears and links; collect what went wrong and raise it together."""
        errors: list[Exception] = []
        for name in reversed(self.system.start_order()):
            if name in self.live and self.live[name].alive():
                try:
                    await self.end(name)
                except Exception as error:  # noqa: BLE001  the rest must still be ended; all are raised below
                    errors.append(error)
        await asyncio.gather(self.ears.stop(), self.links.stop())
        await self._exit.aclose()
        if errors:
            raise ExceptionGroup("teardown", errors) if len(errors) > 1 else errors[0]

    async def end(self, name: str) -> None:
        """End one component for good: asked first, then killed; LiveKit drains when asked, so it is killed."""
        running = self.live[name]
        if isinstance(running, Killable) and name == LIVEKIT:
            await running.kill()
        elif isinstance(running, Stoppable):
            await running.stop(ENDS_WITHIN_S)

    # -- what faults and reads need ----------------------------------------------------------------------------------

    def address(self, owner: str, port: str) -> Address:
        """Return where a component or ear really listens (not a link's front)."""
        return self.host, self.ports[owner][port]

    def links_to(self, component: str) -> tuple[str, ...]:
        """Return the links whose target is the component."""
        return tuple(name for name, link in self.system.links.items() if link.target == component)

    def links_of(self, component: str) -> tuple[str, ...]:
        """Return the links that touch the component."""
        return tuple(n for n, link in self.system.links.items() if component in {link.target, link.dialer})

    async def take_down(self, component: str, end: Callable[[Running], Awaitable[str]]) -> str:
        """End a component as a fault does, and close the fronts of the links to it.

        Raises:
            FaultDidNotLand: it still lives.
        """
        running = self.live[component]
        if not running.alive():
            raise DiedUnexpectedly(component, "it was dead before the fault", exit_text=running.exit_text() or "")
        proof = await end(running)
        for name in self.links_to(component):
            await self.links.close_front(name)
        if running.alive():
            raise FaultDidNotLand(f"{component} ({running.identity}) still lives after: {proof}")
        return proof

    async def bring_up(self, component: str, before_fronts: Callable[[], Awaitable[None]] | None) -> str:
        """Start a component again side by side with ``before_fronts``; then open the fronts of the links to it."""
        old = self.live[component].identity
        async with asyncio.TaskGroup() as group:
            started = group.create_task(self.start_component(component))
            if before_fronts is not None:
                group.create_task(_plain(before_fronts))
        for name in self.links_to(component):
            await self.links.open_front(name)
        if self.live[component].identity == old:
            raise FaultDidNotLand(f"{component} still is {old} after its restart")
        return f"{started.result()} (was {old})"


async def _plain(step: Callable[[], Awaitable[None]]) -> None:
    await step()
