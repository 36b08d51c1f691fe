"""A person who talks for 20 s with no fault, while every process of the run is weighed: the story of ``bench_cost.py``.

Leaves ``cost.json`` in the run directory: part -> processor seconds during the talk, and resident memory at its end.
"""

import json
import os
from pathlib import Path
from typing import Any

from harness import alive, ordered, scenario, unique
from harness.processes import processes_of

TALK_S = 20
NAMES = {
    "harness.ears": "ears", "harness.links": "links", "harness.phone": "phone", "harness.janitor": "janitor",
    "reference.bridge": "bridge", "reference.cloud": "cloud", "livekit": "livekit",
}  # fmt: skip
"""Words of a command line -> what is behind it."""
Usage = tuple[float, float]
"""Processor seconds since its start, and MB resident."""


def weighed(run: str, janitor_pid: int) -> dict[int, tuple[str, Usage]]:
    """Return each process of the run, this one with it: its part and what it has taken."""
    found = {}
    for pid, said in [(os.getpid(), "rig"), (janitor_pid, "harness.janitor"), *processes_of(run)]:
        part = "rig" if said == "rig" else next((name for words, name in NAMES.items() if words in said), said)
        try:
            stat = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        except FileNotFoundError:
            continue  # ended since it was listed
        seconds = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
        found[pid] = part, (seconds, int(stat[21]) * os.sysconf("SC_PAGE_SIZE") / 1e6)
    return found


@scenario("cost", baseline=True)
async def test_cost(rig: Any) -> None:
    """Alice talks for 20 s."""
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.recovered(alice.flow, within_s=r.budget.resumes_s, watch_on=False)
        before = weighed(r.run, r.stack.janitor.pid)
        await r.steady(alice.flow, for_s=TALK_S)
        after = weighed(r.run, r.stack.janitor.pid)
        taken: dict[str, dict[str, float]] = {}
        for pid, (part, (seconds, mb)) in after.items():
            began = before[pid][1][0] if pid in before else 0.0
            sums = taken.setdefault(part, {"processor_s": 0.0, "rss_mb": 0.0})
            sums["processor_s"] += seconds - began
            sums["rss_mb"] += mb
        (r.run_dir / "cost.json").write_text(json.dumps(taken), "utf-8")
    r.check(ordered, unique, alive)
