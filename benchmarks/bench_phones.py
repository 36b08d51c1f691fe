"""How many phones one process carries until 1 % of their packets leave 20 ms late, and what of a core each takes.

Of both media engines, beside a program of LiveKit's SDK alone (``plain_sdk.py``) that publishes the same packets. The
LiveKit server is real; microphone, encoder, recorder and engine are the phone's own, without its socket to a cloud
and without ears, which would be at their limit first. Prints one JSON line.
"""

import asyncio
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from harness import livekit_server
from harness.addresses import lease_loopback, lease_ports
from harness.clock import MS_NS, now_ns
from harness.frames import Flag, Hop
from harness.history import Recorder
from harness.phone.configuration import read_configuration
from harness.phone.engine import MediaEngine
from harness.phone.microphone import Microphone, Outlet
from harness.rooms import RoomKeys
from harness.waiting import NotYet, pause, until

STEPS = (2, 5, 10, 20, 40, 80, 160)
SECONDS = 5.0
LATE_LIMIT_MS = 20.0
KINDS = ("aiortc", "livekit", "plain")
KEYS = RoomKeys("bench", "bench-secret-of-thirty-two-characters-or-more")


async def made(kind: str) -> MediaEngine:
    """Return a new engine of this kind."""
    if kind == "livekit":
        from harness.phone.livekit_engine import LivekitEngine  # noqa: PLC0415  the other need not be loaded

        return LivekitEngine(lambda _news: None)
    from harness.phone.aiortc_engine import AiortcEngine  # noqa: PLC0415

    return AiortcEngine(lambda _news: None)


async def crowd(kind: str) -> None:
    """Be a process of phones: read who they are from stdin, talk, and print how late their packets left."""
    asked = json.loads(sys.stdin.readline())
    engines = [await made(kind) for _ in asked["tokens"]]
    for engine, token in zip(engines, asked["tokens"], strict=True):
        await engine.connect(asked["url"], token)
    late_ms: list[float] = []
    with tempfile.TemporaryDirectory() as folder, closing(Recorder(Path(folder), "bench", "phone-1")) as recorder:
        microphones = [
            microphone(engine, number, now_ns() + number * 40 * MS_NS // len(engines), recorder, late_ms)
            for number, engine in enumerate(engines, 1)
        ]
        before = resource.getrusage(resource.RUSAGE_SELF)
        for one in microphones:
            one.start()
        await pause(asked["seconds"], why="everybody talks")
        after = resource.getrusage(resource.RUSAGE_SELF)
        for one in microphones:
            await one.stop()
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"late_ms": late_ms, "processor_s": used_s, "rss_mb": after.ru_maxrss / 1e3}), flush=True)
    await asyncio.gather(*(engine.leave() for engine in engines))


def microphone(engine: MediaEngine, number: int, epoch_ns: int, recorder: Recorder, late_ms: list[float]) -> Microphone:
    """Return a microphone that speaks into ``engine``; what it sends is recorded as a phone does, and weighed."""
    configuration = read_configuration(
        {
            "person": f"p{number}", "user_id": f"p{number}", "core_token": "", "cloud_url": "", "rest_url": "",
            "livekit_url": "", "speaker": number, "epoch_ns": epoch_ns,
        }
    )  # fmt: skip

    def record(indices: Any, flag: Flag) -> None:
        recorder.frames(Hop.PHONE_OUT, number, indices, int(flag))
        if flag is Flag.SENT:
            late_ms.append((now_ns() - configuration.spoken_ns(int(indices[-1]))) / MS_NS)

    outlet = Outlet(lambda: Flag.NONE if engine.can_send() else Flag.NO_ROOM, engine.send, lambda _pcm: None)
    return Microphone(configuration, outlet, record)


def measured(kind: str, number: int, url: str) -> dict[str, float]:
    """Let ``number`` of this kind talk in one process of their own."""
    tokens = [
        KEYS.token(f"p{n}", room=f"{kind}-{number}-{n}", roomJoin=True, canPublish=True, canPublishData=True)
        for n in range(number)
    ]
    own = [str(Path(__file__)), "--crowd", kind] if kind != "plain" else [str(Path(__file__).with_name("plain_sdk.py"))]
    done = subprocess.run(
        [sys.executable, *own], input=json.dumps({"url": url, "tokens": tokens, "seconds": SECONDS}) + "\n",
        stdout=subprocess.PIPE, text=True, check=True, timeout=120,
    )  # fmt: skip
    told = json.loads(done.stdout.splitlines()[-1])
    owed = number * SECONDS * 25
    return {
        "late_p99_ms": round(float(np.percentile(told["late_ms"], 99)), 2),
        "late_p50_ms": round(float(np.percentile(told["late_ms"], 50)), 2),
        "left_percent": round(100 * len(told["late_ms"]) / owed, 1),
        "cores": round(told["processor_s"] / SECONDS, 3),
        "rss_mb": round(told["rss_mb"]),
    }


async def climb(kind: str, url: str, most: int) -> dict[str, Any]:
    """Take one step after the other until packets are late, or missing."""
    steps: dict[str, dict[str, float]] = {}
    good, best = 0, {"cores": 0.0}
    for number in (n for n in STEPS if n <= most):
        step = steps[str(number)] = await asyncio.to_thread(measured, kind, number, url)
        if step["late_p99_ms"] > LATE_LIMIT_MS or step["left_percent"] < 90:
            break
        good, best = number, step
    per_core = round(good / best["cores"], 1) if best["cores"] else 0.0
    return {"phones_in_time": good, "phones_per_core": per_core, "of": steps}


async def main(most: int) -> None:
    """Start a LiveKit server, measure each kind, and print."""
    server = await livekit_server.find_or_build(None, lambda text: print(text, file=sys.stderr))
    figures: dict[str, Any] = {"benchmark": "phones", "cpus": os.cpu_count() or 0, "step_s": SECONDS}
    with lease_loopback() as host, lease_ports(2) as ports, tempfile.TemporaryDirectory() as folder:
        signal, udp = ports.value
        path = Path(folder) / "livekit.yaml"
        path.touch(0o600)
        path.write_text(livekit_server.config(host.value, signal, udp, KEYS.key, KEYS.secret, level="error"))
        process = await asyncio.create_subprocess_exec(
            str(server.path), "--config", str(path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            await until(lambda: up(host.value, signal), what="the LiveKit server", within_s=10)
            began_s = time.monotonic()
            for kind in KINDS:
                figures[kind] = await climb(kind, f"ws://{host.value}:{signal}", most)
            figures["took_s"] = round(time.monotonic() - began_s, 1)
        finally:
            process.terminate()
            await process.wait()
    print(json.dumps(figures))


def up(host: str, port: int) -> bool | NotYet:
    """Tell whether somebody listens there."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return True if probe.connect_ex((host, port)) == 0 else NotYet("nobody listens")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--crowd"]:
        asyncio.run(crowd(sys.argv[2]))
    else:
        asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else STEPS[-1]))
