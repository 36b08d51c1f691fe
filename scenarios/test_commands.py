"""Bridge and cloud by commands of one's own, and a LiveKit that somebody else runs: the same stories, unchanged."""

import asyncio
import contextlib
import os
import secrets
import signal
import sys

import pytest

from fixtures.leftovers import alive_of, holdings_of, tree_of
from harness import (
    GuaranteeBroken,
    Kill,
    Restart,
    SocketClosed,
    alive,
    intact,
    livekit_server,
    ordered,
    resumes,
    unique,
)
from harness.addresses import lease_loopback, lease_ports
from harness.errors import FaultNotSupported
from harness.events import ComponentStarted, Gate, Leftover, Note
from harness.history import History
from harness.processes import look_at
from harness.settings import PROJECT_ROOT
from harness.waiting import NotYet, until

BACKGROUND = PROJECT_ROOT / "fixtures" / "strangers" / "background"
REFERENCE = PROJECT_ROOT / "fixtures" / "systems" / "reference.toml"


def by_script(part, *verbs):
    """Return --set words: a script puts the part into the background and writes its pid, others act on that pid."""
    pid_file = f"{{scratch.dir}}/{part}.pid"
    how = {"kill": f"sh -c 'kill -9 $(cat {pid_file})'", "stop": f"sh -c 'kill $(cat {pid_file})'"}
    start = f"{part}.commands.start={BACKGROUND} {pid_file} {{python}} -m harness.reference.{part}"
    return (start, *(f"{part}.commands.{verb}={how[verb]}" for verb in verbs), *told_where(part))


def in_front(part):
    """Return --set words: the start command is the part itself and stays; nothing else is given."""
    return (f"{part}.commands.start={{python}} -m harness.reference.{part}", *told_where(part))


def told_where(part):
    """Return --set words: a command of the user's runs where the user stands, so it must be told where its code is."""
    return (f"{part}.env.PYTHONPATH={PROJECT_ROOT}", *(["cloud.ours=true"] if part == "cloud" else []))


STORIES = {
    "baseline-by-scripts": ("baseline", (*by_script("bridge", "kill"), *by_script("cloud", "kill")), []),
    "baseline-in-front": ("baseline", (*in_front("bridge"), *in_front("cloud")), []),
    "kill": ("force-quit-restart-cloud[kill]", (*by_script("bridge"), *by_script("cloud", "kill")), ["none"]),
    "restart": ("force-quit-restart-cloud[restart]", by_script("cloud", "stop"), ["none"]),
    "vanish": ("force-quit-restart-cloud[vanish]", by_script("cloud", "kill"), ["zombie"]),
}
"""Scenario, what is given in place of ours, and what the zombie gate finds."""


@pytest.mark.parametrize(("scenario", "sets", "gates"), STORIES.values(), ids=list(STORIES))
async def test_a_story_holds_with_parts_that_commands_run(play, scenario, sets, gates):
    """Whatever the commands start is judged like ours, and ended at the end, background or not."""
    verdict = await play(scenario, sets=sets)
    assert verdict["outcome"] == "HOLDS", verdict["report"]
    assert "reference" in verdict["tested"]["cloud"]
    told = History.load(verdict["run_dir"])
    assert [gate.outcome for gate in told.all(Gate)] == gates
    assert told.all(Leftover) == ()
    pids = [int(started.identity) for started in told.all(ComponentStarted)]
    assert [pid for pid in pids if look_at(pid) is not None] == []


async def test_a_part_without_kill_skips_what_kills_it(tmp_path):
    """The skip says which part lacks which command; nothing passes, and nothing is left."""
    words = [word for one in by_script("cloud", "stop") for word in ("--set", one)]
    command = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "harness", "run", "kill-cloud[kill]", "--runs", str(tmp_path), *words,
        cwd=PROJECT_ROOT, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await asyncio.wait_for(command.communicate(), 60)

    assert "skipped: cloud runs as commands without kill" in said.decode()
    assert command.returncode == 2
    run_dir = tmp_path / "kill-cloud-kill" / "latest"
    assert holdings_of(History.load(run_dir).run_started.run, run_dir).left() == []


@contextlib.asynccontextmanager
async def livekit_of_somebody_else(tmp_path):
    """Run a LiveKit server as somebody else would, and yield its pid and the TOML of a system that names it."""
    server = await livekit_server.find_or_build(None, print)
    secret = secrets.token_hex(20)
    with lease_loopback() as host, lease_ports(2) as ports:
        signalling, media = ports.value
        config = tmp_path / "livekit.yaml"
        config.write_text(livekit_server.config(host.value, signalling, media, "somebody", secret))
        running = await asyncio.create_subprocess_exec(
            str(server.path), "--config", str(config), stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip

        try:
            await _answers(host.value, signalling)
            yield running, _toml(tmp_path, host.value, signalling, media, secret)
        finally:
            with contextlib.suppress(ProcessLookupError):
                running.kill()
            await running.wait()


async def _answers(host, port):
    async def probe():
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError as refused:
            return NotYet(str(refused))
        writer.close()
        return True

    await until(probe, what=f"{host}:{port}", within_s=10)


def _toml(tmp_path, host, signalling, media, secret):
    changed = {
        "ports = { signal = 7880, rtc = 7882 }": f"ports = {{ signal = {signalling}, rtc = {media} }}",
        'process = ["{livekit.server}", "--config", "{livekit.config}"]': f'external = "{host}"',
        'livekit.key = "aftershock"': 'livekit.key = "somebody"',
        'livekit.secret = ""': f'livekit.secret = "{secret}"',
    }
    text = REFERENCE.read_text()
    for old, new in changed.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = tmp_path / "theirs.toml"
    path.write_text(text)
    return str(path)


async def test_stories_hold_around_a_livekit_that_somebody_else_runs(play, tmp_path):
    """A LiveKit given as external is used as it stands, watched, and still there afterwards."""
    async with livekit_of_somebody_else(tmp_path) as (running, system):
        before = tree_of(running.pid)
        for scenario in ("baseline", "kill-cloud[kill]"):
            verdict = await play(scenario, system=system)
            assert verdict["outcome"] == "HOLDS", verdict["report"]
            assert verdict["tested"]["livekit"]["external"].startswith("127.")
        assert alive_of(before) == list(before)


async def test_what_would_kill_an_external_part_is_skipped(rig, tmp_path):
    """Nobody ends a part that somebody else runs, unless commands are given for it."""
    async with livekit_of_somebody_else(tmp_path) as (running, system):
        with pytest.raises(FaultNotSupported, match="livekit is external, without kill"):
            async with rig(system=system) as r:
                await r.strike(Kill("livekit"))
        assert running.returncode is None
    assert "skipped: livekit is external, without kill" in [note.text for note in History.load(r.run_dir).all(Note)]


async def test_an_external_part_that_ends_breaks_alive(rig, verdict_of, tmp_path):
    """What somebody else runs is watched: its end outside any fault is the system's own failure."""
    async with livekit_of_somebody_else(tmp_path) as (running, system):
        async with rig(system=system) as r:
            alice = await r.phone("alice")
            await alice.starts_talking()
            await r.steady(alice.flow, for_s=1)
            running.kill()
            ending = r.stack.live["livekit"].wait_exit()
            assert "stopped answering at 127." in await asyncio.wait_for(ending, 5)
        with pytest.raises(GuaranteeBroken, match="livekit stopped answering at"):
            r.check(alive)
    assert verdict_of(r)["outcome"] == "BROKEN"


async def test_an_external_bridge_that_commands_may_kill_comes_back_and_stays(rig, tmp_path):
    """With commands for it, somebody else's bridge is killed and started again like any other; it outlives the run."""
    pid_file = tmp_path / "pid"
    with lease_loopback() as host, lease_ports(1) as ports:
        first = await asyncio.create_subprocess_exec(
            "env", f"PORT={ports.value[0]}", f"BIND_ADDRESS={host.value}", sys.executable, "-m",
            "harness.reference.bridge", cwd=PROJECT_ROOT, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        pid_file.write_text(f"{first.pid}\n")
        await _answers(host.value, ports.value[0])
        sets = (
            f"bridge.external={host.value}", f"bridge.ports.grpc={ports.value[0]}",
            f"bridge.commands.kill=sh -c 'kill -9 $(cat {pid_file})'",
            f"bridge.commands.start={BACKGROUND} {pid_file} {sys.executable} -m harness.reference.bridge",
            f"bridge.env.PYTHONPATH={PROJECT_ROOT}",
        )  # fmt: skip
        async with rig(sets=sets) as r:
            alice = await r.phone("alice")
            await alice.starts_talking()
            await r.steady(alice.flow, for_s=1)
            await r.strike(Restart("bridge", signal="KILL"))
            await r.strike(SocketClosed("alice", code=1001))
            await r.recovered(alice.flow, within_s=r.budget.resumes_s)
        r.check(resumes(within_s=r.budget.resumes_s), ordered, unique, intact, alive)
        await first.wait()
        second = int(pid_file.read_text())
        assert [one.identity for one in History.load(r.run_dir).all(ComponentStarted) if one.component == "bridge"] == [
            str(first.pid), str(second),
        ]  # fmt: skip
        assert look_at(second) is not None
        os.kill(second, signal.SIGKILL)
