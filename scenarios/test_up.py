"""A stack left standing for somebody's own hands: by `up`, and by `run --keep` once its verdict is told."""

import asyncio
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from fixtures.leftovers import holdings_of
from harness.settings import PROJECT_ROOT
from harness.waiting import NotYet, until

ENDS_WITHIN_S = 25.0
STANDS_WITHIN_S = 60.0
TEMP = Path(tempfile.gettempdir())


async def aftershock(*words: str, temp: Path = TEMP) -> asyncio.subprocess.Process:
    """Start ``aftershock`` as a user does; ``temp`` is the temp directory it sees, and with it the runs it knows of."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "harness", *words, cwd=PROJECT_ROOT, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(temp), "PYTHONFAULTHANDLER": "1"},
        # As at a terminal: what a script runs in the background ignores SIGINT, and so would all that it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


async def told(command: asyncio.subprocess.Process, key: str) -> dict[str, Any]:
    """Wait for a JSON line of a command that has this key."""
    assert command.stdout is not None
    async with asyncio.timeout(STANDS_WITHIN_S):
        while line := await command.stdout.readline():
            facts: dict[str, Any] = json.loads(line)
            if key in facts:
                return facts
    assert command.stderr is not None
    raise AssertionError((await command.stderr.read()).decode())


async def by_hand(standing: dict[str, Any], *words: str) -> tuple[int | None, str]:
    """Run the ready-made phone command with more words; return its exit code and what it printed."""
    command = await aftershock(*standing["phone"].split()[1:], *words)
    out, err = await asyncio.wait_for(command.communicate(), STANDS_WITHIN_S)
    return command.returncode, (out + err).decode()


async def ended(command: asyncio.subprocess.Process, by: signal.Signals = signal.SIGINT) -> tuple[int | None, str]:
    """Send the signal; return the exit code and what was said on stderr."""
    command.send_signal(by)
    talk = asyncio.create_task(command.communicate())
    in_time, _ = await asyncio.wait({talk}, timeout=ENDS_WITHIN_S)
    gone = command.returncode is not None
    if not in_time and not gone:
        command.send_signal(signal.SIGABRT)  # faulthandler then says where each thread is
    _, err = await asyncio.wait_for(talk, ENDS_WITHIN_S)
    if not in_time:
        pytest.fail(f"{by.name} did not end it in {ENDS_WITHIN_S:g} s (exited by then: {gone})\n{err.decode()}")
    return command.returncode, err.decode()


async def answers(address: str) -> bool:
    """Return whether somebody listens there."""
    host, port = address.rsplit(":", 1)
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return False
    writer.close()
    return True


async def all_answer(standing: dict[str, Any]) -> None:
    """See that every TCP address that was printed is one."""
    wanted = [front["dial"] for front in standing["links"].values()]
    wanted += [at for part in standing["parts"] for port, at in part["addresses"].items() if port != "rtc"]
    assert [at for at in wanted if not await answers(at)] == []
    assert {Path(part["log"]) for part in standing["parts"]} <= logs_of(standing)


def logs_of(standing: dict[str, Any]) -> set[Path]:
    """Return the logs that are there."""
    return set(Path(standing["run_dir"]).glob("logs/*.log"))


async def test_two_phones_by_hand_see_captions_of_a_standing_stack_and_ctrl_c_ends_all_of_it(tmp_path):
    """`up` prints addresses that answer; both phones see captions of their own words; after Ctrl-C nothing is left."""
    up = await aftershock("up", "--json", "--runs", str(tmp_path))
    standing = await told(up, "parts")
    await all_answer(standing)
    held = holdings_of(standing["run"], Path(standing["run_dir"]), up.pid)

    (alice, her_screen), (bob, his_screen) = await asyncio.gather(
        by_hand(standing, "--for", "6"), by_hand(standing, "--for", "6", "--user", "bob@example.com")
    )

    assert (alice, bob) == (0, 0), her_screen + his_screen
    assert "ACK: the cloud knows this phone" in her_screen
    assert "caption of words" in her_screen
    assert "in room bob@example.com" in his_screen
    code, said = await ended(up)
    assert (code, said) == (0, "ending it\n")
    assert held.left() == []
    code, said = await by_hand(standing)
    assert (code, said.count("expected a stack that stands")) == (64, 1)


async def test_a_part_that_is_killed_under_a_standing_stack_is_told_with_its_log(tmp_path):
    """Killed by hand, the bridge is told of in one line; SIGTERM ends the rest as Ctrl-C would; nothing is left."""
    up = await aftershock("up", "--json", "--runs", str(tmp_path))
    standing = await told(up, "parts")
    held = holdings_of(standing["run"], Path(standing["run_dir"]), up.pid)
    bridge = next(part for part in standing["parts"] if part["name"] == "bridge")

    await (await asyncio.create_subprocess_exec("kill", "-KILL", bridge["identity"])).wait()

    assert up.stderr is not None
    line = await asyncio.wait_for(up.stderr.readline(), 5)
    assert line.decode() == f"bridge ({bridge['identity']}) exited -9; its log: {bridge['log']}\n"
    assert await ended(up, signal.SIGTERM) == (0, "ending it\n")
    assert held.left() == []


@pytest.mark.parametrize(("by", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "sigterm"])
async def test_a_stack_that_is_ended_while_it_starts_leaves_nothing(tmp_path, by, code):
    """Before it stands, ending it is an interruption: exit 130 or 143, and nothing is left."""
    up = await aftershock("up", "--json", "--runs", str(tmp_path))

    def parts_start() -> Path | NotYet:
        logs = list(tmp_path.glob("up/*/logs/livekit.log"))
        return logs[0].parent.parent if logs else NotYet("no part was started")

    run_dir = await until(parts_start, what="the first part", within_s=STANDS_WITHIN_S)
    held = holdings_of(f"up-{run_dir.name}-{up.pid}", run_dir, up.pid)
    assert len(held.processes) > 1

    ended_as, said = await ended(up, by)

    assert (ended_as, "Traceback" in said) == (code, False), said
    assert held.left() == []


async def test_a_kept_run_tells_its_verdict_then_stands_and_keeps_its_verdict_when_it_is_ended(tmp_path):
    """`run baseline --keep`: HOLDS, every address answers, a phone sees captions, Ctrl-C: exit 0, nothing left."""
    run = await aftershock("run", "baseline", "--keep", "--json", "--runs", str(tmp_path))
    verdict = await told(run, "guarantees")
    standing = await told(run, "parts")
    assert verdict["outcome"] == "HOLDS", verdict
    run_dir = Path(standing["run_dir"])
    assert json.loads((run_dir / "verdict.json").read_text())["outcome"] == "HOLDS"
    held = holdings_of(standing["run"], run_dir, run.pid)

    await all_answer(standing)
    assert "bob@example.com" in standing["phone"], "alice is on her phone already"
    code, screen = await by_hand(standing, "--for", "6")
    assert code == 0, screen

    code, said = await ended(run)
    assert (code, "left" in said) == (0, False), said
    assert held.left() == []
    check = await aftershock("check", str(run_dir))
    again, _ = await check.communicate()
    assert (check.returncode, again.decode().split()[0]) == (0, "HOLDS")


async def test_clean_ends_what_stands(tmp_path):
    """`aftershock clean` ends a stack that stands as Ctrl-C does: exit 0, nothing left."""
    # A temp directory of its own: clean would end what others keep on this machine at the same time.
    up = await aftershock("up", "--json", "--runs", str(tmp_path / "runs"), temp=tmp_path)
    standing = await told(up, "parts")
    assert scratch_below(tmp_path)
    held = holdings_of(standing["run"], Path(standing["run_dir"]), up.pid)

    clean = await aftershock("clean", temp=tmp_path)
    out, err = await asyncio.wait_for(clean.communicate(), ENDS_WITHIN_S)

    assert clean.returncode == 0, (out + err).decode()
    _, said = await asyncio.wait_for(up.communicate(), ENDS_WITHIN_S)
    assert (up.returncode, said.decode()) == (0, "ending it\n")
    assert held.left() + scratch_below(tmp_path) == []


def scratch_below(temp: Path) -> list[str]:
    """Return the scratch directories of runs that are there."""
    return [path.name for path in temp.glob("aftershock-*") if path.name != "aftershock-locks"]


@pytest.mark.container
@pytest.mark.usefixtures("engine")
async def test_a_stack_of_containers_stands_too(tmp_path):
    """Containers have names and logs, a phone by hand sees captions, and Ctrl-C removes containers and network."""
    up = await aftershock("up", "--system", "containers", "--json", "--runs", str(tmp_path))
    standing = await told(up, "parts")
    names = {part["container"] for part in standing["parts"]}
    assert await of_engine("ps", standing["run"], "{{.Names}}") == names
    await all_answer(standing)
    held = holdings_of(standing["run"], Path(standing["run_dir"]), up.pid)

    code, screen = await by_hand(standing, "--for", "6")
    assert code == 0, screen

    code, said = await ended(up)
    assert (code, said) == (0, "ending it\n")
    assert held.left() == []
    assert await of_engine("ps", standing["run"], "{{.Names}}", "--all") == set()
    assert await of_engine("network ls", standing["run"], "{{.Name}}") == set()


async def of_engine(what: str, run: str, form: str, *more: str) -> set[str]:
    """Return what the engine lists of a run."""
    words = ["docker", *what.split(), *more, "--filter", f"label=aftershock.run={run}", "--format", form]
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    return set(out.decode().split())
