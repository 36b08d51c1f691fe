"""What each part of a run takes of the machine, and counts of itself, at chosen moments of a story.

Reads /proc for the processes of the system and for our own (containers run as processes of this machine too), and asks
bridge and LiveKit at their own addresses. What cannot be read (a part elsewhere) is left out.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from harness import events as ev
from harness.bridge_client import read_status
from harness.errors import NotReached
from harness.history import Recorder, read_new_events
from harness.processes import all_processes, kin
from harness.rig.people import Person
from harness.rig.stack import Stack
from harness.rooms import RoomsUnreadable, participants
from harness.runtimes import Running
from harness.waiting import NotYet, until

STEADY, END = 0, -1
"""Cycle numbers of the two samples that every story has."""
PID = re.compile(r"^(\d+)$|\(pid (\d+)\)$")
"""Where a running part's identity names a process of this machine."""
KIB = 1024
SETTLES_WITHIN_S = 2.0
"""How long descriptors may take to be closed after sessions and rooms are as they should be."""
NEAR_DESCRIPTORS = 2
"""So many more are noise, not worth a wait (of some 200 runs that hold, one in twenty had more)."""
GONE = (FileNotFoundError, ProcessLookupError, PermissionError)


async def take_samples(stack: Stack, people: Iterable[Person], cycle: int) -> None:
    """Record one sample of every part that can be read, some 50 ms; ``cycle`` says after which one.

    The sample of the end waits a moment for descriptors that are being closed.
    """
    there = [person for person in people if person.is_there()]
    roots = _roots(stack, there)
    if cycle == END:
        await descriptors_settle(stack.recorder, roots)
    measured = asyncio.to_thread(_measure, roots)
    counted = _counts(stack, there)
    taken, counts = await asyncio.gather(measured, counted)
    for (part, identity, ours), values in taken.items():
        both = values | counts.pop(part, {})
        if both:
            stack.recorder.emit(ev.Sample(part=part, identity=identity, ours=ours, cycle=cycle, values=both))
    for part, values in counts.items():  # of a part whose processes are not ours to see
        if values:
            stack.recorder.emit(ev.Sample(part=part, identity="", ours=False, cycle=cycle, values=values))


Part = tuple[str, str, bool]
"""Name, identity, and whether it is ours."""


def _roots(stack: Stack, people: Collection[Person]) -> dict[Part, int]:
    """Return each part's first process; its kin are looked up where the part is not ours."""
    found: dict[Part, int] = {}
    for name, running in stack.live.items():
        pid = _pid_of(running)
        if pid is not None and running.alive():
            found[name, running.identity, False] = pid
    found["rig", "", True] = os.getpid()
    for puppet in (stack.ears, stack.links.puppet):
        found[puppet.proc, "", True] = puppet.pid
    for person in people:
        found[f"phone of {person.name}", person.proc, True] = person.pid
    return found


async def descriptors_settle(recorder: Recorder, roots: Mapping[Part, int]) -> None:
    """Wait until no part of the system holds more descriptors than when first steady (2 aside), or for 2 s."""
    path = recorder.run_dir / "events" / f"{recorder.proc}.jsonl"
    record, _ = await asyncio.to_thread(read_new_events, path, 0)
    before: dict[Part, float] = {}
    for e in record:
        if isinstance(e, ev.Sample) and e.cycle == STEADY and not e.ours and "descriptors" in e.values:
            before.setdefault((e.part, e.identity, e.ours), e.values["descriptors"])
    known = {part: root for part, root in roots.items() if part in before}
    if not known:
        return

    async def look() -> bool | NotYet:
        taken = await asyncio.to_thread(_measure, known)
        over = [p for p in known if taken[p].get("descriptors", 0) > before[p] + NEAR_DESCRIPTORS]
        return True if not over else NotYet(f"{over[0][0]} still holds {taken[over[0]]['descriptors']:.0f} descriptors")

    with suppress(NotReached):  # what is held for longer is what the sample shows
        await until(look, what="descriptors as in the steady state", within_s=SETTLES_WITHIN_S, every_s=0.1)


def _pid_of(running: Running) -> int | None:
    named = PID.search(running.identity)
    return int(named[1] or named[2]) if named else None


def _measure(roots: dict[Part, int]) -> dict[Part, dict[str, float]]:
    """Read /proc for all of them; runs in a thread, since a machine may have hundreds of processes."""
    everyone = all_processes()
    found = {}
    for part, root in roots.items():
        ours = part[2]
        if root not in everyone:
            found[part] = dict[str, float]()
            continue
        pids = {root} if ours else kin({root: everyone[root].start_ticks}, everyone).keys()
        found[part] = usage(pids)
    return found


def usage(pids: Iterable[int]) -> dict[str, float]:
    """Return what these processes take together: memory in bytes, file descriptors, sockets among them, threads.

    Memory is what is resident and backed by no file (RssAnon, proc_pid_status(5)): pages of libraries come and go with
    the machine's other work. Empty when none of them may be read.
    """
    total = Counter[str]()
    for pid in pids:
        with suppress(*GONE):
            total.update(_one(Path(f"/proc/{pid}")))
    return {name: float(value) for name, value in total.items()}


def _one(process: Path) -> dict[str, int]:
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
    targets = []
    for descriptor in os.scandir(process / "fd"):
        with suppress(FileNotFoundError):  # closed while we look; the first of ours is the look itself
            targets.append(str(Path(descriptor.path).readlink()))
    return {
        "memory_bytes": int(status["RssAnon"].split()[0]) * KIB,
        "descriptors": len(targets),
        "sockets": sum(target.startswith("socket:") for target in targets),
        "threads": int(status["Threads"]),
    }


async def _counts(stack: Stack, people: Collection[Person]) -> dict[str, dict[str, float]]:
    """Return what bridge, LiveKit and phones count: sessions, streams, participants, users."""
    bridge, rooms, users = await asyncio.gather(_of_bridge(stack), _of_rooms(stack, people), _connected(people))
    return {"bridge": bridge, "livekit": rooms, "people": users}


async def _of_bridge(stack: Stack) -> dict[str, float]:
    if "bridge" not in stack.live or not stack.live["bridge"].alive():
        return {}
    bridge = stack.bridge_target()
    status = await read_status(bridge, [])
    told = {"sessions": status.active_sessions, "streams": status.active_streams}
    return {name: float(value) for name, value in told.items() if value >= 0}


async def _of_rooms(stack: Stack, people: Collection[Person]) -> dict[str, float]:
    if "livekit" not in stack.live or not stack.live["livekit"].alive():
        return {}
    host, port = stack.address("livekit", "signal")
    rooms = {stack.system.room_of(person.user_id) for person in people}
    try:
        found = await asyncio.gather(*(participants(f"{host}:{port}", stack.keys, room) for room in sorted(rooms)))
    except RoomsUnreadable:
        return {}
    return {"participants": float(sum(len(room) for room in found))}


async def _connected(people: Collection[Person]) -> dict[str, float]:
    return {"users": float(sum(await asyncio.gather(*(person.is_connected() for person in people))))}
