"""What a link adds to a round trip: 50 connections, 25 messages of 1281 bytes a second each, direct and relayed.

Each is echoed by a process of its own. Direct and relayed take turns, so that a busy machine hurts both alike.
Prints one JSON line; a round trip passes the relay twice.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import struct
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness.addresses import lease_loopback, lease_ports
from harness.clock import MS_NS, SECOND_NS, now_ns
from harness.links import Links
from harness.waiting import pause

CONNECTIONS = 50
MESSAGES_PER_S = 25
MESSAGE_BYTES = 1281
SLICES = 5
STAMP = struct.Struct("<q")
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def echo_for_ever(host: str, port: int) -> None:
    """Serve until stdin ends."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    await asyncio.start_server(echo, host, port, backlog=256)
    print("up", flush=True)
    await asyncio.to_thread(sys.stdin.read)


async def talk(streams: Streams, first_ns: int, seconds: float) -> list[int]:
    """Send at the rate of speech, starting at ``first_ns``; return the round trips in ns."""
    reader, writer = streams
    count = int(seconds * MESSAGES_PER_S)
    found: list[int] = []

    async def listen() -> None:
        for _ in range(count):
            message = await reader.readexactly(MESSAGE_BYTES)
            found.append(now_ns() - STAMP.unpack_from(message)[0])

    listening = asyncio.create_task(listen())
    for i in range(count):
        due_ns = first_ns + i * SECOND_NS // MESSAGES_PER_S
        await pause(max(0, due_ns - now_ns()) / SECOND_NS, why="the next 40 ms of speech")
        writer.write(STAMP.pack(now_ns()).ljust(MESSAGE_BYTES, b"x"))
    await asyncio.wait_for(listening, 5)
    return found


async def measure(address: tuple[str, int], seconds: float) -> list[int]:
    """Return the round trips, in ns, of all connections to ``address``, begun evenly spread."""
    streams = [await asyncio.open_connection(*address) for _ in range(CONNECTIONS)]
    step_ns = SECOND_NS // MESSAGES_PER_S // CONNECTIONS
    start_ns = now_ns() + 50 * MS_NS
    found = await asyncio.gather(*(talk(s, start_ns + i * step_ns, seconds) for i, s in enumerate(streams)))
    for _, writer in streams:
        writer.close()
    return [value for values in found for value in values]


async def main(seconds: float) -> None:
    """Measure and print."""
    direct: list[int] = []
    relayed: list[int] = []
    with lease_loopback() as host, lease_ports(2) as ports, tempfile.TemporaryDirectory() as run_dir:
        target, front = [(host.value, port) for port in ports.value]
        argv = (__file__, "--echo", f"{target[0]}:{target[1]}")
        echo = await asyncio.create_subprocess_exec(
            sys.executable, *argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert echo.stdin is not None
        assert echo.stdout is not None
        await echo.stdout.readline()
        links = Links("bench", Path(run_dir))
        await links.start()
        try:
            await links.open("bench->echo", [front], target)
            for _ in range(SLICES):
                direct += await measure(target, seconds / SLICES)
                relayed += await measure(front, seconds / SLICES)
        finally:
            await links.stop()
            echo.stdin.close()
            await echo.wait()
    line: dict[str, float | int | str] = {
        "bench": "relay", "connections": CONNECTIONS, "messages_per_s": MESSAGES_PER_S, "bytes": MESSAGE_BYTES,
        "messages": len(relayed), "load_1min": round(os.getloadavg()[0], 2), "cpus": os.cpu_count() or 0,
    }  # fmt: skip
    for percent in (50, 99):
        ms = [float(np.percentile(values, percent)) / MS_NS for values in (direct, relayed)]
        line |= {f"direct_p{percent}_ms": round(ms[0], 3), f"relayed_p{percent}_ms": round(ms[1], 3)}
        line[f"added_p{percent}_ms"] = round(ms[1] - ms[0], 3)
    print(json.dumps(line))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of direct and of relayed talk, each")
    parser.add_argument("--echo", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.echo:
        asyncio.run(echo_for_ever(options.echo.split(":")[0], int(options.echo.split(":")[1])))
    else:
        asyncio.run(main(options.seconds))
