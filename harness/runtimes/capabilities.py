"""What a started component can do, as protocols: faults ask for a capability, never for a runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from harness.system import Component


@runtime_checkable
class Running(Protocol):
    """A component that was started once; a restart gives a new one."""

    component: Component
    by_us: bool
    """True once a fault or the teardown set out to end it."""
    by_machine: bool
    """True once the machine ended it (for want of memory)."""

    @property
    def identity(self) -> str:
        """The pid or container id; it changes with each start."""

    @property
    def facts(self) -> dict[str, str]:
        """What it really is, for the verdict: the sha256 of its program, or the digest of its image."""

    def alive(self) -> bool:
        """Tell whether it has not ended."""

    def exit_text(self) -> str | None:
        """Say how it ended, e.g. ``exited 1``; None while it lives."""

    async def wait_exit(self) -> str:
        """Wait until it has ended and return ``exit_text``."""


@runtime_checkable
class Killable(Protocol):
    """It can be ended from outside."""

    async def kill(self, signal: str = "KILL") -> str:
        """End it and all its processes with ``SIG<signal>``; return the proof.

        Raises:
            FaultDidNotLand: it was not running, or lives on.
        """


@runtime_checkable
class Pausable(Protocol):
    """It can be frozen and go on."""

    async def pause(self) -> str:
        """Freeze it; return the proof. Raises FaultDidNotLand."""

    async def resume(self) -> str:
        """Let it go on; return the proof. Raises FaultDidNotLand."""


@runtime_checkable
class Stoppable(Protocol):
    """It can be asked to end."""

    async def stop(self, within_s: float) -> str:
        """Ask it to end, end it by force after ``within_s``; say how it went."""


@runtime_checkable
class Askable(Stoppable, Protocol):
    """It can tell whether it ended when it was asked to."""

    ignored_term_s: float | None
    """How long it had not ended when force was needed; None while it never was."""


@runtime_checkable
class Restartable(Protocol):
    """Whoever runs it can restart it in one go, as ``docker restart`` and ``pm2 restart`` do."""

    async def restart(self) -> str:
        """Have it ended and started again; return the proof that what ran here has ended.

        What runs then is taken over by the next start of the component.

        Raises:
            FaultDidNotLand: it was not running, or runs on.
        """


@runtime_checkable
class Detachable(Protocol):
    """It can be taken off its network and put back: same address, same names."""

    async def detach(self) -> str:
        """Take it off the network; return the proof. Raises FaultDidNotLand."""

    async def attach(self) -> str:
        """Put it back; return the proof that it has its old address. Raises FaultDidNotLand."""


@runtime_checkable
class Droppable(Protocol):
    """Its packets can be dropped where it runs, by rules in its own network namespace."""

    async def cannot_drop(self) -> str | None:
        """Return why not here (no root, no nsenter, an engine elsewhere), or None."""

    async def drop(self, protocol: Literal["udp", "tcp", "all"]) -> str:
        """Drop what it sends and is sent, but for its own loopback; return the proof. Raises FaultDidNotLand."""

    async def undrop(self) -> str:
        """Remove the rules; return how many packets they dropped. Raises FaultDidNotLand when there were none."""


@runtime_checkable
class Loggable(Protocol):
    """Its log can be read."""

    @property
    def log_path(self) -> Path:
        """The file with its log, secrets masked; appended over restarts."""

    def last_lines(self, count: int = 30) -> tuple[str, ...]:
        """Return the end of this start's log."""

    def find_line(self, pattern: str) -> str | None:
        """Return the first line of this start's log that matches the regex."""


@runtime_checkable
class Choosy(Protocol):
    """It has the methods of a capability, and may lack what they need."""

    def why_not(self, capability: type) -> str | None:
        """Return why it cannot do this ("runs as commands without kill"), or None."""
