"""What a link adds to a round trip, and costs: 50 connections with 25 messages a second each, and one with bulk.

No relay, a link whose readers are off, one whose readers read, the same on asyncio's own loop, and Toxiproxy, in one
run: they take turns, so that a busy machine hurts all of them alike. Each message is echoed by a process of its own and
so passes the relay twice. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.relay_traffic import TRAFFIC, Traffic, push, talk
from benchmarks.toxiproxy import NotBuilt, Toxiproxy
from harness.addresses import lease_loopback, lease_ports
from harness.clock import MS_NS, SECOND_NS, now_ns
from harness.control import Puppet
from harness.links import Links

ROOT = Path(__file__).resolve().parent.parent
CONNECTIONS = 50
MESSAGES_PER_S = 25
SLICES = 5
WARM_S = 0.5
"""Not counted: nowhere do fifty streams of speech begin at once, and a stream's first frames are the dear ones."""
Address = tuple[str, int]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Fronts = dict[tuple[str, bool], Address]
"""Traffic and whether it is bulk -> where to dial."""


class PlainLinks(Links):
    """Links on asyncio's own loop."""

    def __init__(self, run: str, run_dir: Path) -> None:
        """Describe it; ``start`` spawns."""
        super().__init__(run, run_dir)
        self._puppet = Puppet("benchmarks.plain_links", run=run, run_dir=run_dir, proc="links")


@dataclass
class Relay:
    """One way to the far end, and what was measured on it."""

    name: str
    fronts: Fronts
    pid: int | None = None
    round_trips_ns: dict[str, list[int]] = field(default_factory=lambda: {name: [] for name in TRAFFIC})
    cpu_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(TRAFFIC, 0.0))
    bulk_mb_per_s: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in TRAFFIC})

    @contextmanager
    def counting(self, traffic: str) -> Iterator[None]:
        """Count the relay's processor time."""
        before = _cpu_s(self.pid)
        yield
        self.cpu_s[traffic] += _cpu_s(self.pid) - before


def _cpu_s(pid: int | None) -> float:
    if pid is None:
        return 0.0
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


class Talk:
    """50 connections through one relay that stay open; each is spoken on from slice to slice."""

    def __init__(self, traffic: Traffic) -> None:
        """Describe it; ``dial`` opens."""
        self._traffic, self._streams, self._said = traffic, list[Streams](), 0

    async def dial(self, address: Address) -> None:
        """Open all connections."""
        for _ in range(CONNECTIONS):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(self._traffic.hello(bulk=False))
            await reader.readexactly(len(self._traffic.greeting))
            self._streams.append((reader, writer))

    async def measure(self, seconds: float) -> list[int]:
        """Talk on all of them, begun evenly spread; return the round trips in ns."""
        step_ns, count = SECOND_NS // MESSAGES_PER_S, max(1, int(seconds * MESSAGES_PER_S))
        start_ns = now_ns() + 50 * MS_NS
        talks = []
        for i, streams in enumerate(self._streams):
            first_ns = start_ns + i * step_ns // CONNECTIONS
            due_ns = [first_ns + n * step_ns for n in range(count)]
            talks.append(talk(self._traffic, streams, i + 1, self._said, due_ns))
        self._said += count
        return [value for values in await asyncio.gather(*talks) for value in values]

    def close(self) -> None:
        """Close all connections."""
        for _, writer in self._streams:
            writer.close()


class Bench:
    """The far end and the relays."""

    def __init__(self, host: str, ports: list[int], scratch: Path) -> None:
        """Take a loopback address, free ports, and a directory for the links' records."""
        self._host, self._ports, self._scratch = host, ports, scratch
        self.relays: list[Relay] = []
        self.without = ""
        """Why Toxiproxy is missing."""

    def _fronts(self) -> Fronts:
        return {(name, bulk): (self._host, self._ports.pop()) for name in TRAFFIC for bulk in (False, True)}

    async def start(self, stack: AsyncExitStack) -> None:
        """Start everything; ``stack`` ends it."""
        target = self._fronts()
        await self._far_end(stack, target)
        self.relays.append(Relay("direct", target))
        for name, kind, reads in (
            ("readers_off", Links, False), ("readers_on", Links, True), ("readers_on_asyncio", PlainLinks, True),
        ):  # fmt: skip
            links, fronts = kind(name, self._scratch / name), self._fronts()
            await links.start()
            stack.push_async_callback(links.stop)
            for (sort, bulk), front in fronts.items():
                await links.open(f"bench->{sort}-{bulk}", [front], target[sort, bulk], reads=reads)
            self.relays.append(Relay(name, fronts, links.pid))
        toxiproxy, fronts = Toxiproxy((self._host, self._ports.pop())), self._fronts()
        stack.push_async_callback(toxiproxy.stop)
        try:
            await toxiproxy.start([(front, target[key]) for key, front in fronts.items()])
        except NotBuilt as error:
            self.without = f"not built: {error}"
        else:
            self.relays.append(Relay("toxiproxy", fronts, toxiproxy.pid))

    async def _far_end(self, stack: AsyncExitStack, target: Fronts) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(ROOT / "benchmarks" / "relay_traffic.py"), self._host,
            *(str(port) for _, port in target.values()), cwd=ROOT,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        stack.push_async_callback(process.wait)
        stack.callback(process.stdin.close)
        await process.stdout.readline()

    async def run(self, seconds: float) -> None:
        """Measure every sort of traffic on every relay, in turns."""
        for traffic in TRAFFIC.values():
            talks = {relay.name: Talk(traffic) for relay in self.relays}
            for relay in self.relays:
                await talks[relay.name].dial(relay.fronts[traffic.name, False])
                await talks[relay.name].measure(WARM_S)
            for _ in range(SLICES):
                for relay in self.relays:
                    with relay.counting(traffic.name):
                        found = await talks[relay.name].measure(seconds / SLICES)
                    relay.round_trips_ns[traffic.name] += found
            for opened in talks.values():
                opened.close()
            for _ in range(3):
                for relay in self.relays:
                    front = relay.fronts[traffic.name, True]
                    relay.bulk_mb_per_s[traffic.name].append(await asyncio.to_thread(push, traffic, front))


def figures(relays: list[Relay], traffic: str) -> dict[str, dict[str, float]]:
    """Return what was measured of one sort of traffic, per relay; added: to the direct way."""
    direct = relays[0].round_trips_ns[traffic]
    found: dict[str, dict[str, float]] = {}
    for relay in relays:
        line: dict[str, float] = {}
        for percent in (50, 99):
            ms, plain = (float(np.percentile(v, percent)) / MS_NS for v in (relay.round_trips_ns[traffic], direct))
            line[f"p{percent}_ms"] = round(ms, 3)
            if relay.pid is not None:
                line[f"added_p{percent}_ms"] = round(ms - plain, 3)
        line["bulk_mb_per_s"] = round(statistics.median(relay.bulk_mb_per_s[traffic]))
        if relay.pid is not None:
            line["cpu_s"] = round(relay.cpu_s[traffic], 2)
        found[relay.name] = line
    return found


async def main(seconds: float) -> None:
    """Measure and print."""
    count = 5 * 2 * len(TRAFFIC) + 1
    async with AsyncExitStack() as stack:
        host = stack.enter_context(lease_loopback())
        ports = stack.enter_context(lease_ports(count))
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bench = Bench(host.value, list(ports.value), scratch)
        await bench.start(stack)
        await bench.run(seconds)
    line: dict[str, Any] = {
        "bench": "relay", "connections": CONNECTIONS, "messages_per_s": MESSAGES_PER_S, "seconds": seconds,
        "load_1min": round(os.getloadavg()[0], 2), "cpus": os.cpu_count() or 0,
        **{name: figures(bench.relays, name) for name in TRAFFIC},
    }  # fmt: skip
    if bench.without:
        line["toxiproxy"] = bench.without
    print(json.dumps(line))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of talk, for each relay and sort of traffic")
    asyncio.run(main(parser.parse_args().seconds))
