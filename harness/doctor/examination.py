"""Looks at everything side by side, each check in a thread, in the order in which it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from harness.doctor import containers, machine, tools
from harness.doctor.values import Check, Examination


async def examine(runs: Path) -> Examination:
    """Look at the machine; ``runs`` is where run directories are kept. Changes nothing, takes about a second."""
    plain: Sequence[Callable[[], Check]] = (
        machine.python, machine.descriptors, machine.processors, machine.memory, machine.clock,
        lambda: machine.disk("runs", runs), machine.temp_disk, machine.loopback, machine.ports, machine.udp,
    )  # fmt: skip
    engine = asyncio.create_task(asyncio.to_thread(containers.examine_engine))
    looks: list[Awaitable[Check]] = [asyncio.to_thread(look) for look in plain]
    looks.append(tools.livekit())
    musts = await asyncio.gather(*looks)
    extras = await asyncio.gather(*(asyncio.to_thread(look) for look in (machine.installer, tools.npm, tools.root)))
    return Examination((*musts, *await engine, *extras))
