"""The harness itself is killed by SIGKILL in the middle of a run: nothing is left, and the run beside it holds."""

import asyncio
import os
import random
import signal
import sys
from pathlib import Path

import pytest

from fixtures.leftovers import holdings_of
from harness.events import RunStarted
from harness.history import History, read_new_events
from harness.processes import Process, all_processes
from harness.rig.run_dir import is_alive
from harness.settings import PROJECT_ROOT
from harness.waiting import NotYet, pause, until

LATEST_S = 4.5
"""The middle of a run: a baseline takes longer than this from its first event to its last, on any machine."""
GONE_WITHIN_S = 10.0
VICTIMS = {"command": lambda command, _child: command, "pytest-child": lambda _command, child: child}


async def aftershock(*words: str) -> asyncio.subprocess.Process:
    """Start ``aftershock`` as a user does."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "harness", *words, cwd=PROJECT_ROOT, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip


async def begun(runs: Path) -> tuple[Path, str]:
    """Wait for the first event of the only run below ``runs``; return its directory and id."""

    def look() -> tuple[Path, str] | NotYet:
        started = [e for path in runs.glob("*/*/events/rig.jsonl") for e in read_new_events(path, 0)[0][:1]]
        folders = [path for path in runs.glob("*/*") if not path.is_symlink()]
        return (folders[0], started[0].run) if started else NotYet("no event of a run")

    return await until(look, what="a run's first event", within_s=30)


def child_of(command: int) -> Process:
    """Return the pytest child of a command."""
    return next(process for process in all_processes().values() if process.parent == command)


@pytest.mark.parametrize("victim", VICTIMS.values(), ids=list(VICTIMS))
async def test_a_killed_harness_leaves_nothing_and_the_run_beside_it_holds(victim, pytestconfig, tmp_path, request):
    """SIGKILL at a moment drawn from the seed: nothing is left 10 s later, the other run ends HOLDS, exit 0."""
    seed = pytestconfig.getoption("seed")
    moment_s = random.Random(f"{seed} {request.node.callspec.id}").uniform(0, LATEST_S)
    print(f"seed {seed}: SIGKILL {moment_s:.2f} s after the run's first event")
    killed = await aftershock("run", "baseline", "--runs", str(tmp_path / "killed"))
    beside = await aftershock("run", "baseline", "--runs", str(tmp_path / "beside"))
    run_dir, run = await begun(tmp_path / "killed")
    await pause(moment_s, why="the seed says so")
    child = child_of(killed.pid)
    held = holdings_of(run, run_dir, killed.pid, child.pid)
    assert is_alive(run_dir), "the run was over before it was to be killed"

    os.kill(victim(killed.pid, child.pid), signal.SIGKILL)

    said, _ = await asyncio.wait_for(killed.communicate(), GONE_WITHIN_S)
    await until(lambda: held.left() == [] or NotYet("; ".join(held.left())), what="nothing", within_s=GONE_WITHIN_S)
    assert History.load(run_dir).first(RunStarted) is not None
    check = await aftershock("check", str(run_dir))
    judged, _ = await check.communicate()
    assert check.returncode == 2
    assert b"cut short" in judged
    assert b"Traceback" not in said + judged
    told, _ = await beside.communicate()
    assert beside.returncode == 0, told.decode()
    assert b"HOLDS    baseline" in told
