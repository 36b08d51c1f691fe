"""What a system is: frozen values without any I/O, as read from a TOML file of ``fixtures/systems``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from harness.addresses import Address, in_words, is_path

ReadyKind = Literal["http", "tcp", "grpc_health", "log"]
Runtime = Literal["process", "container", "commands", "external"]
SCHEMES: Mapping[str, str] = {"signal": "ws", "ws": "ws", "http": "http"}
"""How an address is written for a port of this name; any other port is plain ``host:port``."""


@dataclass(frozen=True)
class Ready:
    """How to see that a component is ready."""

    kind: ReadyKind
    port: str = ""
    """Name of the port that is asked (not for ``log``)."""
    path: str = ""
    """``http``: the path that must answer 200. ``grpc_health``: the service asked for, empty for the whole."""
    pattern: str = ""
    """``log``: a regex that one line must match."""
    within_s: float = 20.0


@dataclass(frozen=True)
class Limits:
    """What a container may use; nothing given means no limit."""

    memory_mb: float = 0.0
    """MiB, without swap; the kernel kills what needs more."""
    cpus: float = 0.0
    """Processors, e.g. 0.5."""


@dataclass(frozen=True)
class Component:
    """A part of the system under test, as data. One of process, image, commands and external says how it runs.

    ``external`` may have commands beside it: then these end it and start it again, else nobody does.
    """

    name: str
    needs: tuple[str, ...] = ()
    """Components that must be ready before it starts."""
    ports: dict[str, int] = field(default_factory=dict)
    """Port name to its number inside a container; a process gets a number of the run's own instead."""
    udp: tuple[str, ...] = ()
    """Which of the ports are UDP."""
    sockets: tuple[str, ...] = ()
    """Which of the ports are unix sockets."""
    env: dict[str, str] = field(default_factory=dict)
    """Environment, with templates."""
    ready: Ready | None = None
    process: tuple[str, ...] | None = None
    image: str | None = None
    args: tuple[str, ...] = ()
    """Arguments of a container (none: as the image has them); a process and commands do not look at them."""
    mounts: dict[str, str] = field(default_factory=dict)
    """Path inside a container to the file of this machine that is seen there, read-only."""
    limits: Limits = Limits()
    """Of a container."""
    commands: dict[str, tuple[str, ...]] | None = None
    """The user's own commands by verb: start, stop, kill, ..."""
    supervised: bool = False
    """True when somebody else (pm2, an orchestrator) starts it again after it has ended: we wait for that."""
    external: str | None = None
    """The host at which it already runs, on its own ``ports``: it is watched, not started."""
    ours: bool = False
    """True for a part of the reference system: it takes defects."""
    events: bool = True
    """True when each log line becomes an event; otherwise only alarm lines do."""
    hidden_log: bool = False
    """True when its log is kept for people only, and nothing is judged by it."""

    @property
    def runtime(self) -> Runtime:
        """How it runs."""
        if self.external is not None:
            return "external"
        if self.commands is not None:
            return "commands"
        return "container" if self.image is not None else "process"

    def tcp_ports(self) -> tuple[str, ...]:
        """Return the names of its TCP ports."""
        return tuple(name for name in self.ports if name not in self.udp)


@dataclass(frozen=True)
class Link:
    """A hop between two parts with a front address that never moves; ``dialer`` dials it to reach ``target``."""

    name: str
    """``dialer->target``."""
    dialer: str
    target: str
    """A component or an ear."""
    port: str
    """Name of the target's port."""
    scheme: str = ""
    """``ws``, ``http`` or empty: how its address is written."""

    def url(self, front: Address) -> str:
        """Write the front address as the dialer wants it."""
        return f"{self.scheme}://{in_words(front)}" if self.scheme and not is_path(front) else in_words(front)


@dataclass(frozen=True)
class Profile:
    """The delays of one run, all in seconds (names end in ``_s``) but where the name says otherwise."""

    name: str
    timers: dict[str, float]
    """Timers of the system under test, of all components together."""
    phone: dict[str, float]
    """Timers of the simulated phone."""
    budgets: dict[str, float]
    """What stories allow."""
    timers_of: dict[str, dict[str, float]] = field(default_factory=dict)
    """The same timers by the component that is told them."""


@dataclass(frozen=True)
class System:
    """A system as its TOML file, the profile, ``--set`` and ``--defect`` make it."""

    name: str
    path: Path
    components: dict[str, Component]
    ears: dict[str, dict[str, int]]
    """What listens for us and is dialed by the system: ear name to its ports."""
    links: dict[str, Link]
    profile: Profile
    told: tuple[str, ...] = ()
    """Regexes: a message to the phone of this text tells the wearer that audio is lost."""
    alarm: tuple[str, ...] = ()
    """Regexes of log lines that break Alive."""
    expected: tuple[str, ...] = ()
    """Regexes of log lines that are no alarm though one of ``alarm`` matches."""
    defects: tuple[str, ...] = ()
    """Full names, ``part:name``."""
    sets: tuple[str, ...] = ()
    """The ``--set`` words as the user wrote them."""
    room_template: str = "{user}"
    """How a user's room is called; ``{user}`` stands for the user id."""
    values: dict[str, str] = field(default_factory=dict)
    """Constants that templates may name, e.g. ``app.package``."""
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    """Secrets that templates may name; an empty one is made anew for each run."""

    def start_order(self) -> tuple[str, ...]:
        """Return the components so that each comes after what it needs; ties in the file's order."""
        order: list[str] = []

        def place(name: str) -> None:
            for need in self.components[name].needs:
                place(need)
            if name not in order:
                order.append(name)

        for name in self.components:
            place(name)
        return tuple(order)

    def defects_of(self, part: str) -> tuple[str, ...]:
        """Return the bare names of the defects that ``part`` runs with."""
        return tuple(full.partition(":")[2] for full in self.defects if full.partition(":")[0] == part)

    def is_socket(self, part: str, port: str) -> bool:
        """Tell whether this port of a component (or an ear) is a unix socket."""
        return part in self.components and port in self.components[part].sockets

    def room_of(self, user_id: str) -> str:
        """Name a user's room."""
        return self.room_template.replace("{user}", user_id)


@dataclass(frozen=True)
class Places:
    """Where everything is in one run: what templates are filled from. Made by the rig."""

    fronts: Mapping[str, Address]
    """Link name to its front address."""
    hosts: Mapping[str, str]
    """Component to the address it must bind."""
    ports: Mapping[str, Mapping[str, int]]
    """Component to port name to the number it must listen on."""
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The rest by template name: secrets of the run, ``run.dir``, ``python``, ... (see ``templates.RIG_VALUES``)."""
    sockets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Component to port name to the path of its unix socket, where that port is one."""


@dataclass(frozen=True)
class Resolved:
    """A component with every template filled. Holds secrets: never write it down."""

    argv: tuple[str, ...]
    """Program and arguments of a process; of a container: the arguments (none: as the image has it)."""
    env: dict[str, str] = field(repr=False)
    commands: dict[str, tuple[str, ...]] = field(default_factory=dict)
    mounts: dict[str, str] = field(default_factory=dict)
    """Path inside a container to path on this machine."""
