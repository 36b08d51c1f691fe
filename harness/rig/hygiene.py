"""What of a run is still there after its teardown; whatever else came or went on the machine is nobody's business."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.errors import MachineError
from harness.firewall import rules_naming
from harness.processes import carries, command_line, look_at, processes_of
from harness.rig.stack import Stack
from harness.settings import scratch_dir

ENGINE_ANSWERS_WITHIN_S = 3
LISTENING = "0A"
"""proc_net(5): the state of a TCP socket that listens, in hexadecimal."""

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
WILDCARDS = {"0.0.0.0", "::"}

Place = tuple[str, int]
"""Address and port."""


@dataclass(frozen=True)
class Baseline:
    """What named the run before it began: nothing, or it is not the run's to remove."""

    run: str
    in_containers: bool
    before: frozenset[str]
    listening: frozenset[Place]

    @classmethod
    def take(cls, stack: Stack) -> Baseline:
        """Look at the machine before anything of the run is started."""
        run, in_containers = stack.run, bool(stack.in_containers)
        before = [f"process {pid}" for pid, _ in processes_of(run)]
        before += [f"directory {scratch_dir(run)}"] if scratch_dir(run).exists() else []
        before += [f"rule {rule}" for rule in rules_naming(run)] if in_containers else []
        return cls(run, in_containers, frozenset(before), frozenset(_listening()))

    def left(self, stack: Stack, parts: Sequence[str]) -> list[str]:
        """Return what the run left, in words; blocks for some 10 ms, some 50 with containers.

        ``parts``: whose processes carry a part's name.
        """
        carrying = dict(processes_of(self.run))
        found = [f"process {pid} of {self._part(pid, parts)}: {line}" for pid, line in carrying.items()]
        living = stack.janitor.living() if stack.janitor is not None else []
        others = [pid for pid in living if pid not in carrying and look_at(pid) is not None]
        found += [f"process {pid} that a command left: {command_line(pid)}" for pid in others]
        new, places = _listening() - self.listening, stack.places()
        still = {(host, port) for host, port in new if (host, port) in places or _takes(host, port, stack.leased)}
        found += [f"port {port} of {host} still listens" for host, port in sorted(still)]
        scratch = scratch_dir(self.run)
        found += [f"directory {scratch}"] if scratch.exists() else []
        if self.in_containers:
            found += self._held()
            found += [f"rule {rule}" for rule in rules_naming(self.run, stack.interface)]
        return [one for one in found if one not in self.before]

    def _part(self, pid: int, parts: Sequence[str]) -> str:
        return next((part for part in parts if carries(pid, self.run, part)), "unknown")

    def _held(self) -> list[str]:
        # Loaded already, in a run that has containers.
        from harness.runtimes.container.engine import ENGINE_ERRORS, Engine  # noqa: PLC0415
        from harness.runtimes.container.sweeping import labelled  # noqa: PLC0415

        # An engine that does not answer has been told of by the teardown, and what it may still have is listed.
        with suppress(MachineError, *ENGINE_ERRORS):
            engine = Engine(ENGINE_ANSWERS_WITHIN_S)
            try:
                return [f"{one.kind} {one.name}" for one in labelled(engine, self.run)]
            finally:
                engine.close()
        return []


def _takes(host: str, port: int, leased: Collection[int]) -> bool:
    """Tell whether who listens there has taken a port that no other run of this machine was given."""
    return host in WILDCARDS and port in leased


def _listening() -> set[Place]:
    """Return where anything on this machine listens, TCP over IPv4 and IPv6."""
    found = set()
    for table in TABLES:
        with suppress(OSError):  # a machine without IPv6
            for line in table.read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTENING:
                    address, _, port = fields[1].partition(":")
                    found.add((_address(address), int(port, 16)))
    return found


def _address(printed: str) -> str:
    """Read an address that is printed as one number, or four, of this machine's byte order."""
    words = [int(printed[at : at + 8], 16) for at in range(0, len(printed), 8)]
    address = ipaddress.ip_address(struct.pack(f"={len(words)}I", *words))
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
