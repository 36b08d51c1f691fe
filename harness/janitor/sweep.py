"""The janitor's sweep: containers and networks of the run, removed by a process of its own (the imports are big)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from harness.clock import SECOND_NS, now_ns
from harness.remains import Remain

WITHIN_S = 9.0


@dataclass(frozen=True)
class Sweeping:
    """A sweep under way."""

    process: subprocess.Popen[bytes]
    expected: tuple[Remain, ...]
    """What the rig has said it makes; left, perhaps, should no engine answer."""
    limit_ns: int


def begin_sweep(run: str, parts: Sequence[str]) -> Sweeping:
    """Start to remove the run's containers (of these components) and its network."""
    expected = [Remain("container", f"aftershock-{run}-{part}") for part in parts]
    process = subprocess.Popen([sys.executable, "-m", "harness.runtimes.container", run], stdout=subprocess.PIPE)
    return Sweeping(process, (*expected, Remain("network", f"aftershock-{run}")), now_ns() + int(WITHIN_S * SECOND_NS))


def end_sweep(sweep: Sweeping) -> tuple[str, list[Remain]]:
    """Wait for it, at most 9 s from its start; return what it did as a sentence, and what is left."""
    try:
        said, _ = sweep.process.communicate(timeout=max(0.1, (sweep.limit_ns - now_ns()) / SECOND_NS))
        swept = json.loads(said)
        removed, problem = swept["removed"], swept["problem"]
        left = [Remain(**one) for one in swept["left"]]
    except subprocess.TimeoutExpired:
        sweep.process.kill()
        sweep.process.communicate()
        return f"the engine did not answer in {WITHIN_S:g} s; listed what it may still have", list(sweep.expected)
    except (ValueError, TypeError, KeyError):
        text = f"could not remove the containers (see janitor.log; exit {sweep.process.returncode})"
        return text, list(sweep.expected)
    if problem:
        return f"the engine did not answer ({problem}); listed what it may still have", list(sweep.expected)
    names = f": {'; '.join(removed)}" if removed else ""
    return f"removed {len(removed)} containers and networks of this run{names}", left
