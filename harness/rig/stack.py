"""The whole stack of one run: links, ears, and the components of the system, started side by side, ended in reverse.

Who dials a link from inside a container finds its front on the gateway of the run's network, anybody else on the run's
loopback address. Containers themselves are reached at their own addresses; nothing is published.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from harness import events as ev
from harness import livekit_server
from harness.addresses import grpc_target, lease_loopback, lease_ports
from harness.bridge_client import ForeignStream
from harness.clock import now_ns, seconds_between
from harness.control import Puppet
from harness.errors import DiedUnexpectedly, FaultDidNotLand, HarnessError, MachineError
from harness.history import Recorder
from harness.janitor import Janitor
from harness.links import Links
from harness.redact import know_secret
from harness.rig import spawning
from harness.rig.spawning import ANY_ADDRESS
from harness.rig.strangers import Stranger, leave_all
from harness.rooms import RoomKeys
from harness.runtimes import Askable, Killable, Running, Stoppable
from harness.runtimes.commands import Commands
from harness.settings import scratch_dir
from harness.system import Address, Component, System, made_secrets
from harness.unread_stream import UnreadStream

if TYPE_CHECKING:
    from harness.runtimes.container import Containers

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
    commands: dict[str, Commands] = field(default_factory=dict)
    """Component that the user's own commands run, or that others do -> what holds it."""
    planted: list[str] = field(default_factory=list)
    """Users of whom a story left a session in the bridge."""
    foreign: dict[str, ForeignStream] = field(default_factory=dict)
    """User -> the stream of ours that reads this session beside its cloud's."""
    joining: dict[str, asyncio.Task[str]] = field(default_factory=dict)
    """User -> a JoinRoom of ours that is not answered yet."""
    strangers: list[Stranger] = field(default_factory=list)
    """Participants of ours that are in somebody's room under another's identity."""
    unread: dict[str, UnreadStream] = field(default_factory=dict)
    """User -> the stream of ours on this session that is not read."""
    recorder_epoch_ns: int = 0
    """When frame 0 was spoken."""
    janitor: Janitor | None = None
    """Told of all that must be ended should the rig die; the rig sets it before ``start``."""

    def __post_init__(self) -> None:
        self.links = Links(self.run, self.run_dir)
        self.ears = Puppet("harness.ears", run=self.run, run_dir=self.run_dir, proc="ears")
        self._exit = AsyncExitStack()
        self.containers: Containers | None = None
        self.host = self.interface = ""
        self.ports: dict[str, dict[str, int]] = {}
        self.leased: frozenset[int] = frozenset()
        """Ports that no other run of this machine has."""
        self.fronts: dict[str, Address] = {}
        parts = self.system.components.values()
        self.in_containers = tuple(part.name for part in parts if part.runtime == "container")
        """The components that run as containers."""

    # -- start and stop --------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start everything side by side, in dependency order; return when all is ready.

        Raises:
            MachineError: an address, port or binary is missing.
            StartFailed: a component did not get ready.
        """
        began = now_ns()
        if self.in_containers:
            await self._open_containers()
            began = now_ns()  # images are built once, not by every run
        self._plan()
        with bare_errors():
            async with asyncio.TaskGroup() as group:
                group.create_task(self._start_links())
                group.create_task(self._start_ears())
                group.create_task(self._start_components())
        self.recorder.emit(ev.StackReady(took_s=round(seconds_between(began, now_ns()), 3)))

    async def _open_containers(self) -> None:
        """Make images ready and the run's network."""
        # Imported here: Docker's and Testcontainers' own imports take longer than many a run without them has to wait.
        from harness import images  # noqa: PLC0415
        from harness.runtimes.container import Containers  # noqa: PLC0415

        wanted = {name: self.system.components[name].image or "" for name in self.in_containers}
        have = await images.made_ready(wanted, self.livekit_path, self.say)
        self.containers = Containers(self.run, self.run_dir, self.recorder, self.in_containers)
        self._exit.push_async_callback(self.containers.close)
        await self.containers.open(have)
        self.interface = self.containers.network.interface

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
        self.leased = frozenset(leases.value)
        for (owner, port), number in zip(wanted, leases.value, strict=True):
            self.ports.setdefault(owner, {})[port] = number
        for name, part in self.system.components.items():
            if part.runtime in {"container", "external"}:
                self.ports[name] = dict(part.ports)
        secrets = made_secrets(self.system)
        know_secret(*(value for name, value in secrets.items() if not name.endswith(".key") or name != "livekit.key"))
        if self.janitor is not None:
            self.janitor.know()
        self.secrets = secrets
        self.keys = RoomKeys(secrets["livekit.key"], secrets["livekit.secret"])
        self.scratch = scratch_dir(self.run)
        try:
            self.scratch.mkdir(mode=0o700)
        except OSError as error:
            raise MachineError(
                f"to make {self.scratch}", f"{error.strerror}", "free space there, or set TMPDIR"
            ) from error
        self._exit.callback(shutil.rmtree, self.scratch, ignore_errors=True)
        self.fronts = {
            name: self._socket(f"{link.dialer}-to-{link.target}")
            if self.system.is_socket(link.target, link.port)
            else (self.media_host if link.dialer in self.in_containers else self.host, self.ports["link"][name])
            for name, link in self.system.links.items()
        }

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
        return await spawning.start_component(self, name)

    def livekit_config(self) -> Path:
        """Write the configuration of the LiveKit server and return its path."""
        path = self.scratch / "livekit.yaml"
        inside = LIVEKIT in self.in_containers
        # Media must reach phones on this machine and a bridge that may be a container, whichever side LiveKit is on.
        # On loopback the media socket binds 127.0.0.1, whatever address of the run's own the signalling has.
        node_ip = self.media_host
        interface: str | None = "lo"
        if inside:
            node_ip, interface = self.address(LIVEKIT, MEDIA_PORT)[0], None
        elif self.containers is not None:
            interface = self.containers.network.interface
        text = livekit_server.config(
            ANY_ADDRESS if inside else self.host, self.ports[LIVEKIT]["signal"], self.ports[LIVEKIT][MEDIA_PORT],
            self.keys.key, self.keys.secret, node_ip=node_ip, interface=interface,
        )  # fmt: skip
        path.write_text(text)
        # In a container the server is another user; the directory lets nobody else of this machine come near it.
        path.chmod(0o644 if inside else 0o600)
        return path

    def exited(self, running: Running) -> None:
        """Record that a component has ended."""
        self.recorder.emit(
            ev.ComponentExited(
                component=running.component.name, identity=running.identity, exit_text=running.exit_text() or "",
                by_us=running.by_us, machine=running.by_machine,
            )
        )  # fmt: skip

    async def stop(self) -> None:
        """End components in reverse order, then ears and links; collect what went wrong and raise it together.

        Every step is taken even when one fails or is cancelled (a second Ctrl-C).
        """
        errors: list[Exception] = []
        async with AsyncExitStack() as steps:
            steps.push_async_callback(self._exit.aclose)
            steps.push_async_callback(self.links.stop)
            steps.push_async_callback(self.ears.stop)
            steps.push_async_callback(leave_all, self.strangers)
            for name in self.system.start_order():
                steps.push_async_callback(self._end_started, name, errors)
        if errors:
            raise ExceptionGroup("teardown", errors) if len(errors) > 1 else errors[0]

    async def _end_started(self, name: str, errors: list[Exception]) -> None:
        # A dead one too: what it left behind of its tree ends with it. And what commands began before they failed.
        if name in self.live or name in self.commands:
            try:
                await self.end(name)
            except Exception as error:  # noqa: BLE001  the rest must still be ended; all are raised by stop
                errors.append(error)

    async def end(self, name: str) -> None:
        """End one component for good: asked first, then killed; LiveKit drains when asked, so it is killed."""
        if name in self.commands:
            await self.commands[name].close()
            return
        running = self.live[name]
        if name == LIVEKIT and isinstance(running, Killable) and running.alive():
            await running.kill()
        elif isinstance(running, Stoppable):
            await running.stop(ENDS_WITHIN_S)

    # -- what faults and reads need ----------------------------------------------------------------------------------

    def address(self, owner: str, port: str) -> Address:
        """Return where a component or ear really listens (not a link's front)."""
        if self.containers is not None and owner in self.in_containers:
            return self.containers.address(owner), self.ports[owner][port]
        part = self.system.components.get(owner)
        if part is not None and port in part.sockets:
            return self._socket(f"{owner}-{port}")
        host = self.host if part is None or part.external is None else part.external
        return host, self.ports[owner][port]

    def bridge_target(self) -> str:
        """Return where the bridge really listens, as gRPC wants it."""
        return grpc_target(self.address("bridge", "grpc"))

    def _socket(self, name: str) -> Address:
        return (str(self.scratch / f"{name}.sock"), 0)

    def addresses(self, name: str) -> dict[str, Address]:
        """Return where a component's TCP ports really are, by their names."""
        return {port: self.address(name, port) for port in self.system.components[name].tcp_ports()}

    def places(self) -> set[Address]:
        """Return every address and port of this machine that the run was given (TCP or UDP); empty before the start."""
        own = {(self.host, port) for ports in self.ports.values() for port in ports.values()}
        return (own if self.host else set()) | set(self.fronts.values())

    @property
    def media_host(self) -> str:
        """The address of this machine that containers reach, and from which media to LiveKit leaves; else loopback."""
        return self.containers.network.gateway if self.containers is not None else "127.0.0.1"

    def links_to(self, component: str) -> tuple[str, ...]:
        """Return the links whose target is the component."""
        return tuple(name for name, link in self.system.links.items() if link.target == component)

    def links_of(self, component: str) -> tuple[str, ...]:
        """Return the links that touch the component."""
        return tuple(n for n, link in self.system.links.items() if component in {link.target, link.dialer})

    async def take_down(
        self, component: str, end: Callable[[Running], Awaitable[str]], *, fronts_first: bool = False
    ) -> str:
        """End a component as a fault does, and close the fronts of the links to it.

        ``fronts_first``: it comes back by itself, and nobody may reach it before ``bring_up``.

        Raises:
            FaultDidNotLand: it still lives.
        """
        running = self.live[component]
        if not running.alive():
            raise DiedUnexpectedly(component, "it was dead before the fault", exit_text=running.exit_text() or "")
        fronts_first = fronts_first or self.system.components[component].supervised
        if fronts_first:
            await self._close_fronts(component)
        try:
            proof = await end(running)
        except FaultDidNotLand:
            if fronts_first:
                await self._open_fronts(component)
            raise
        if not fronts_first:
            await self._close_fronts(component)
        if running.alive():
            raise FaultDidNotLand(f"{component} ({running.identity}) still lives after: {proof}")
        if isinstance(running, Askable) and running.ignored_term_s is not None:
            self.recorder.emit(
                ev.ComponentIgnoredTerm(component=component, identity=running.identity, within_s=running.ignored_term_s)
            )
        return proof

    async def _close_fronts(self, component: str) -> None:
        for name in self.links_to(component):
            await self.links.close_front(name)

    async def _open_fronts(self, component: str) -> None:
        for name in self.links_to(component):
            await self.links.open_front(name)

    async def bring_up(self, component: str, before_fronts: Callable[[], Awaitable[None]] | None) -> str:
        """Start a component again; once it is ready, and ``before_fronts`` done, open the fronts of the links to it."""
        old = self.live[component].identity
        started = await self.start_component(component)
        if before_fronts is not None:
            await before_fronts()
        await self._open_fronts(component)
        if self.live[component].identity == old:
            raise FaultDidNotLand(f"{component} still is {old} after its restart")
        return f"{started} (was {old})"


@contextmanager
def bare_errors() -> Iterator[None]:
    """Raise what a task group wraps as it is, when it is one error or all are sentences of ours (then the first)."""
    try:
        yield
    except BaseExceptionGroup as group:
        errors = _leaves(group)
        if len(errors) == 1 or all(isinstance(error, HarnessError) for error in errors):
            raise errors[0] from None
        raise


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
