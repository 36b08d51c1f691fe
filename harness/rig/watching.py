"""What watches along while a rig is up: our own processes that end by themselves, our lag, the health endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from socket import AF_INET
from typing import Any

import psutil

from harness import events as ev
from harness.control import Puppet, watch_lag
from harness.errors import MachineError
from harness.history import Recorder
from harness.rig.health import watch_health
from harness.rig.stack import Stack
from harness.spare import spare_is_gone
from harness.story import STORY_WITHIN_S

LOOK_AT_OURS_EVERY_S = 0.2


async def watch_our_own(recorder: Recorder, puppets: Callable[[], Sequence[Puppet]]) -> None:
    """Write down each process of ours that ends by itself (an SDK's panic, the machine): nobody may be blamed."""
    told: set[str] = set()
    while True:
        for puppet in puppets():
            exit_text = puppet.ended_by_itself()
            if exit_text is not None and puppet.proc not in told:
                told.add(puppet.proc)
                recorder.emit(ev.OursExited(process=puppet.proc, exit_text=exit_text))
        await asyncio.sleep(LOOK_AT_OURS_EVERY_S)


async def watch_addresses(recorder: Recorder) -> None:
    """Write down each address that this machine loses.

    LiveKit's SDKs send media from any address of the machine, also from that of a container network of somebody else's;
    when it is removed, that media is cut for 15 s and more, and no part of the run is to blame.
    """
    had = _addresses()
    while True:
        await asyncio.sleep(LOOK_AT_OURS_EVERY_S)
        have = _addresses()
        for address in sorted(had - have):
            recorder.emit(ev.AddressGone(address=address))
        had = have


def _addresses() -> set[str]:
    return {one.address for some in psutil.net_if_addrs().values() for one in some if one.family == AF_INET}


@asynccontextmanager
async def watching(
    recorder: Recorder, stack: Stack, *others: Coroutine[Any, Any, None], limit_s: float
) -> AsyncIterator[asyncio.Timeout]:
    """Run ``others`` beside the watch over our own lag and the health endpoint; give the story's time limit."""
    along = [watch_lag(recorder), watch_addresses(recorder), *others]
    if "cloud" in stack.system.components:
        cloud = stack.system.components["cloud"]
        if cloud.ready is not None and cloud.ready.kind == "http":
            host, port = stack.address("cloud", cloud.ready.port)
            along.append(watch_health(recorder, "cloud", f"http://{host}:{port}{cloud.ready.path}"))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in along]
        try:
            async with asyncio.timeout(limit_s) as limit:
                tasks.append(group.create_task(_end_when_full(stack.run_dir, limit)))
                yield limit
        finally:
            for task in tasks:
                task.cancel()


async def _end_when_full(run_dir: Path, limit: asyncio.Timeout) -> None:
    """End the story at once when the disk is full; the rig then says so."""
    while not spare_is_gone(run_dir):
        await asyncio.sleep(LOOK_AT_OURS_EVERY_S)
    limit.reschedule(asyncio.get_running_loop().time())


def why_it_ended(run_dir: Path, limit_s: float = STORY_WITHIN_S) -> tuple[str, bool]:
    """Say why the story's time was over, and whether that is the machine's fault."""
    if not spare_is_gone(run_dir):
        return f"the story took longer than {limit_s:.0f} s", False
    full = MachineError(
        f"space on the disk of {run_dir}", "it is full, so what happened could not be recorded any more",
        "free space there, or use --runs",
    )  # fmt: skip
    return str(full), True
