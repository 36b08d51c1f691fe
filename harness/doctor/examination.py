"""Looks at everything side by side, each check in a thread, in the order in which it is told.

A look that fails by itself is a lack, too: whoever asks the doctor has trouble enough already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from pathlib import Path

from harness.doctor import containers, machine, tools
from harness.doctor.values import Check, Examination, Group, Status

FAILED_MEND = "look at that; what it keeps from running cannot be told"


async def examine(runs: Path) -> Examination:
    """Look at the machine; ``runs`` is where run directories are kept. Changes nothing, takes about a second."""
    plain: Sequence[tuple[str, Callable[[], Check]]] = (
        ("Python", machine.python), ("file descriptors", machine.descriptors), ("cores", machine.processors),
        ("memory", machine.memory), ("clock", machine.clock), ("disk for runs", lambda: machine.disk("runs", runs)),
        ("disk for temporary files", machine.temp_disk), ("loopback addresses", machine.loopback),
        ("ports", machine.ports), ("UDP", machine.udp),
    )  # fmt: skip
    more = (("uv", machine.installer), ("npm", tools.npm), ("root", tools.root))
    engine = asyncio.create_task(
        _looked(Group.CONTAINERS, "Docker engine", asyncio.to_thread(containers.examine_engine))
    )
    looks = [_looked(Group.MUST, name, asyncio.to_thread(_one, look)) for name, look in plain]
    looks.append(_looked(Group.MUST, "LiveKit server", _alone(tools.livekit())))
    musts = await asyncio.gather(*looks)
    extras = await asyncio.gather(*(_looked(Group.EXTRAS, name, asyncio.to_thread(_one, look)) for name, look in more))
    return Examination(tuple(chain(*musts, await engine, *extras)))


def _one(look: Callable[[], Check]) -> list[Check]:
    return [look()]


async def _alone(look: Awaitable[Check]) -> list[Check]:
    return [await look]


async def _looked(group: Group, name: str, look: Awaitable[list[Check]]) -> list[Check]:
    try:
        return await look
    except Exception as error:  # noqa: BLE001  whatever it is, the other checks are still worth telling
        seen = f"could not be looked at: {error or type(error).__name__}"
        return [Check(group, name, Status.LACK, seen, "what needs it", FAILED_MEND)]
