"""What of a run is still there after its teardown; whatever else came or went on the machine is nobody's business."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.errors import MachineError
from harness.firewall import rules_naming
from harness.processes import all_processes, carries, command_line, kin, processes_of
from harness.rig.stack import Stack
from harness.settings import scratch_dir

ENGINE_ANSWERS_WITHIN_S = 3
LISTENING = "0A"
"""proc_net(5): the state of a TCP socket that listens, in hexadecimal."""

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
        among = all_processes()
        named = stack.janitor.registered if stack.janitor is not None else {}
        others = [pid for pid in kin(dict(named), among) if pid not in carrying]
        found += [f"process {pid} that a command left: {command_line(pid)}" for pid in others]
        still = (_listening() - self.listening) & stack.places()
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


def _listening() -> set[Place]:
    """Return where anything on this machine listens, TCP over IPv4."""
    found = set()
    with suppress(OSError):
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING:
                address, _, port = fields[1].partition(":")
                # The address is printed as one number of this machine's byte order.
                found.add((socket.inet_ntoa(struct.pack("=I", int(address, 16))), int(port, 16)))
    return found
