"""Drops a container's packets by rules in its own network namespace, where this machine lets us into it.

The rules are a chain of their own per protocol, so that what they dropped can be counted and nothing else is touched.
They live and die with the namespace: whatever happens to the rig, they go with the container.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from pathlib import Path
from typing import Literal

from harness.errors import FaultDidNotLand
from harness.waiting import within

Protocol = Literal["udp", "tcp", "all"]
PROGRAMS = ("nsenter", "iptables", "iptables-restore")
ANSWERS_WITHIN_S = 5.0
_COUNTED = re.compile(r"^\s*(\d+)\s+\d+\s+DROP\b")


def cannot_drop(pid: int, container_id: str, proc: Path = Path("/proc")) -> str | None:
    """Return why the packets of the container whose first process is ``pid`` cannot be dropped from here, or None."""
    if os.geteuid() != 0:
        return "rules in a container's network namespace take root; run as root"
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"no {' and no '.join(missing)} on this machine; install util-linux and iptables"
    try:
        # Only this proves that the engine's pid is a pid of this machine: elsewhere the number is somebody else's.
        ours = container_id in (proc / str(pid) / "cgroup").read_text()
        apart = (proc / str(pid) / "ns/net").readlink() != (proc / "self/ns/net").readlink()
    except OSError:
        ours = apart = False
    if not ours:
        return "the engine runs its containers elsewhere than on this machine (DOCKER_HOST, a virtual machine)"
    return None if apart else "it shares this machine's own network, which no rule may touch"


def _chain(protocol: Protocol) -> str:
    return f"AFTERSHOCK-{protocol.upper()}"


def rules_to_add(protocol: Protocol) -> str:
    """Return what iptables-restore is told, all of it at once; never by the interface's name, which changes."""
    chain, match = _chain(protocol), "" if protocol == "all" else f"-p {protocol} "
    return (
        f"*filter\n:{chain} - [0:0]\n-A {chain} {match}-j DROP\n"
        f"-I INPUT 1 ! -i lo -j {chain}\n-I OUTPUT 1 ! -o lo -j {chain}\nCOMMIT\n"
    )


def rules_to_remove(protocol: Protocol) -> str:
    """Return what iptables-restore is told to take all of it away."""
    chain = _chain(protocol)
    return f"*filter\n-D INPUT ! -i lo -j {chain}\n-D OUTPUT ! -o lo -j {chain}\n-F {chain}\n-X {chain}\nCOMMIT\n"


async def add(pid: int, protocol: Protocol) -> None:
    """Begin to drop. Raises FaultDidNotLand."""
    await _told(pid, "iptables-restore", "-w", "--noflush", given=rules_to_add(protocol))
    if await dropped(pid, protocol) is None:
        raise FaultDidNotLand("the rules that were just made are not there")


async def remove(pid: int, protocol: Protocol) -> None:
    """Let packets pass again. Raises FaultDidNotLand."""
    await _told(pid, "iptables-restore", "-w", "--noflush", given=rules_to_remove(protocol))


async def dropped(pid: int, protocol: Protocol) -> int | None:
    """Return how many packets the rules dropped; None when there are no such rules. Raises FaultDidNotLand."""
    text = await _told(pid, "iptables", "-w", "-nvxL", given="")
    _, found, own = text.partition(f"Chain {_chain(protocol)} ")
    if not found:
        return None
    lines = own.partition("\nChain ")[0].splitlines()
    return sum(int(match[1]) for line in lines if (match := _COUNTED.match(line)))


async def _told(pid: int, program: str, *words: str, given: str) -> str:
    command = ["nsenter", "--target", str(pid), "--net", program, *words]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        said, _ = await within(process.communicate(given.encode()), ANSWERS_WITHIN_S)
    except BaseException as error:
        if process.returncode is None:
            process.kill()
            await process.wait()
        if isinstance(error, TimeoutError):
            raise FaultDidNotLand(f"{program} gave no answer within {ANSWERS_WITHIN_S:g} s") from None
        raise
    if process.returncode != 0:
        raise FaultDidNotLand(f"{program} refused: {' '.join(said.decode('utf-8', 'replace').split())[:300]}")
    return said.decode("utf-8", "replace")
