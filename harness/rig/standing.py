"""A stack that is left standing: all its addresses in words and as JSON, and the wait until somebody ends it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from harness import events as ev
from harness.addresses import in_words
from harness.control import Puppet
from harness.errors import MachineError
from harness.history import Recorder, read_new_events
from harness.rig.reach import DIALED, Reach
from harness.rig.stack import LIVEKIT, MEDIA_PORT, Stack
from harness.rig.watching import watch_our_own
from harness.run_lease import RunLease
from harness.waiting import within

ENDED_BY = (signal.SIGINT, signal.SIGTERM)
LOOK_EVERY_S = 0.2
NAMES = ("alice", "bob", "carol", "dave")


@dataclass(frozen=True)
class StandingPart:
    """One part as it runs now."""

    name: str
    runtime: str
    identity: str
    """A pid, a container's id, or what its runtime knows it by."""
    container: str | None
    """The container's name; None when it is no container."""
    addresses: dict[str, str]
    """Port name -> ``host:port`` where the part itself listens."""
    log: str
    """Path of its log."""


@dataclass(frozen=True)
class Front:
    """Where a link is dialed, and what it leads to."""

    dial: str
    """``host:port``"""
    to: str
    """``part.port``"""


@dataclass(frozen=True)
class Standing:
    """Everything that whoever looks at a standing stack wants to know; nothing of it is secret."""

    run: str
    run_dir: str
    system: str
    parts: tuple[StandingPart, ...]
    links: dict[str, Front]
    phone: str | None
    """The command that starts a phone; None when the system has no links a phone could dial."""

    @classmethod
    def of(cls, stack: Stack, taken: Collection[str] = ()) -> Self:
        """Look at a stack that is up; a phone for somebody else than these persons is suggested."""
        name = next((name for name in NAMES if name not in taken), NAMES[0])
        dialable = set(DIALED) <= stack.fronts.keys()
        return cls(
            run=stack.run,
            run_dir=str(stack.run_dir),
            system=stack.system.name,
            parts=tuple(_part(stack, name) for name in stack.system.start_order()),
            links={
                name: Front(in_words(stack.fronts[name]), f"{link.target}.{link.port}")
                for name, link in stack.system.links.items()
            },
            phone=f"aftershock phone --stack {stack.run} --user {name}@example.com" if dialable else None,
        )

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> Self:
        """Return what ``facts`` told."""
        parts = tuple(StandingPart(**part) for part in facts["parts"])
        links = {name: Front(**front) for name, front in facts["links"].items()}
        return cls(**(facts | {"parts": parts, "links": links}))

    def facts(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)

    def text(self) -> str:
        """Return it for people."""
        width = max(len(name) for name in [*self.links, *(part.name for part in self.parts)])
        lines = [
            f"standing  {self.system}, run {self.run}",
            f"  run directory  {self.run_dir}",
            "  the parts themselves",
        ]
        for part in self.parts:
            runs_as = f"container {part.container}" if part.container else f"{part.runtime} {part.identity}"
            ports = "  ".join(f"{port} {address}" for port, address in part.addresses.items())
            lines += [f"    {part.name:<{width}}  {ports}", f"    {'':<{width}}  {runs_as}, log {part.log}"]
        lines.append("  dial these: the links in front of them")
        lines += [f"    {name:<{width}}  {front.dial}  (to {front.to})" for name, front in self.links.items()]
        if self.phone is not None:
            lines += ["  a phone by hand", f"    {self.phone}"]
        return "\n".join([*lines, "standing; Ctrl-C ends it, and so does `aftershock clean`"])


def _part(stack: Stack, name: str) -> StandingPart:
    component, running = stack.system.components[name], stack.live[name]
    inside = name in stack.in_containers
    return StandingPart(
        name=name, runtime=component.runtime, identity=running.identity,
        container=f"aftershock-{stack.run}-{name}" if inside else None,
        addresses={port: in_words(_listens(stack, name, port)) for port in component.ports},
        log=str(stack.run_dir / "logs" / f"{name}.log"),
    )  # fmt: skip


def _listens(stack: Stack, name: str, port: str) -> tuple[str, int]:
    host, number = stack.address(name, port)
    part = stack.system.components[name]
    if (name, port) == (LIVEKIT, MEDIA_PORT) and part.runtime != "external" and name not in stack.in_containers:
        # By our configuration media has an address of its own, whatever address signalling has.
        host = stack.media_host
    return host, number


class Hold:
    """Keeps a stack up until SIGINT or SIGTERM, and tells meanwhile what ended by itself."""

    def __init__(self, recorder: Recorder, puppets: Callable[[], Sequence[Puppet]]) -> None:
        """Take both signals from now on; call it inside the loop."""
        self._recorder, self._puppets = recorder, puppets
        self._path = recorder.run_dir / "events" / f"{recorder.proc}.jsonl"
        self._offset = self._path.stat().st_size
        self._over = asyncio.Event()
        for number in ENDED_BY:
            asyncio.get_running_loop().add_signal_handler(number, self._over.set)

    @classmethod
    def of(cls, stack: Stack, lease: RunLease, recorder: Recorder, puppets: Callable[[], Sequence[Puppet]]) -> Self:
        """Write down that a stack is kept and how phones reach it, and take both signals.

        Raises:
            MachineError: that cannot be written; then it is not kept.
        """
        try:
            if set(DIALED) <= stack.fronts.keys():
                Reach.of(stack).write(stack.scratch)
            lease.mark_kept(True)
            return cls(recorder, puppets)
        except OSError as error:
            with contextlib.suppress(OSError):
                lease.mark_kept(False)
            raise MachineError(
                "to write down how a stack that is kept is reached",
                f"{error.strerror}" + (f" ({error.filename})" if error.filename else ""),
                "free space there, or repair it",
            ) from error

    async def wait(self, tell: Callable[[str], None]) -> None:
        """Return when a signal came; ``tell`` gets a line for each part that ends by itself."""
        watch = asyncio.create_task(watch_our_own(self._recorder, self._puppets), name="watch our own")
        try:
            while not self._over.is_set():
                for line in self._news():
                    tell(line)
                with contextlib.suppress(TimeoutError):
                    await within(self._over.wait(), LOOK_EVERY_S)
        finally:
            watch.cancel()

    def _news(self) -> list[str]:
        fresh, self._offset = read_new_events(self._path, self._offset)
        return [line for line in map(self._line, fresh) if line]

    def _line(self, event: ev.AnyEvent) -> str | None:
        logs: Path = self._recorder.run_dir / "logs"
        if isinstance(event, ev.ComponentExited) and not event.by_us:
            return f"{event.component} ({event.identity}) {event.exit_text}; its log: {logs / event.component}.log"
        if isinstance(event, ev.OursExited):
            return f"{event.process} of the harness itself {event.exit_text}; its log: {logs / event.process}.log"
        return None

    def close(self) -> None:
        """Leave the signals to whoever comes next."""
        for number in ENDED_BY:
            asyncio.get_running_loop().remove_signal_handler(number)
