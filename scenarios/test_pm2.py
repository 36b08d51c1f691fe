"""The cloud under pm2, for real: Methods 1 and 2 by ``pm2 restart`` and by ``kill -9`` under its automatic restart."""

import fcntl
import os
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from fixtures.leftovers import holdings_of, mentions
from harness.events import ComponentStarted, Gate, Healed, Injected, Leftover
from harness.history import History
from harness.processes import all_processes
from harness.settings import PROJECT_ROOT, scratch_dir, settings

VERSION = "7.0.4"
INSTALLS_WITHIN_S = 300


@pytest.fixture(scope="session")
def pm2():
    """Give the path of pm2, installed once into the cache directory: skip without npm, fail in CI."""
    home = settings().cache_dir / "pm2" / VERSION
    program = home / "node_modules" / ".bin" / "pm2"
    npm, node = shutil.which("npm"), shutil.which("node")
    if node is None or (npm is None and not program.exists()):
        left_out("no Node.js with npm here", "install them")
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:  # one at a time; the lock goes with its holder
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "installed").exists():
            words = [npm or "npm", "install", "--prefix", str(home), "--no-audit", "--no-fund", "--no-save"]
            words.append(f"pm2@{VERSION}")
            if lacking := said_by_npm(words, home):
                left_out(f"npm does not install pm2 {VERSION}: {lacking}", "let npm reach a registry")
            (home / "installed").touch()
    return program


def left_out(reason, mend):
    """Skip, or fail in CI."""
    if settings().in_ci:
        pytest.fail(f"{reason}, and CI is set: {mend}", pytrace=False)
    pytest.skip(f"{reason}: the pm2 part is left out")


def said_by_npm(words, home):
    """Run npm; return why it failed, by the first line of its own that is a sentence; nothing when it did not."""
    # Node.js trusts the authorities that it was built with; with this also those of the machine, as pip and git do.
    trusting = {"NODE_EXTRA_CA_CERTS": ssl.get_default_verify_paths().cafile or ""} | os.environ
    try:
        done = subprocess.run(
            words, check=False, capture_output=True, text=True, timeout=INSTALLS_WITHIN_S, cwd=home, env=trusting
        )
    except subprocess.TimeoutExpired:
        return f"it took longer than {INSTALLS_WITHIN_S} s"
    if done.returncode == 0:
        return None
    said = [line.removeprefix("npm error ") for line in done.stderr.splitlines() if line.startswith("npm error ")]
    sentences = [line for line in said if line.partition(" ")[0] not in {"code", "errno", "syscall", "type"}]
    return next(iter(sentences or said), f"it ended with code {done.returncode}")


def cloud_under(pm2):
    """Return the --set words of a cloud that pm2 runs, with all that pm2 keeps in a directory of the run's own."""
    commands = {
        "start": f"{pm2} start {{python}} --interpreter none --name cloud -- -m harness.reference.cloud",
        "pid": f"{pm2} pid cloud",
        "kill": f"sh -c 'kill -9 $({pm2} pid cloud)'",
        "restart": f"{pm2} restart cloud",
        "logs": f"{pm2} logs cloud --raw --lines 0",
        "stop": f"{pm2} kill",
    }
    others = {
        "supervised": "true", "ours": "true", "env.PM2_HOME": "{scratch.dir}/pm2", "env.PM2_DISABLE_VERSION_CHECK": "1",
        "env.PYTHONPATH": PROJECT_ROOT,
    }  # fmt: skip
    return (
        *(f"cloud.commands.{verb}={words}" for verb, words in commands.items()),
        *(f"cloud.{key}={value}" for key, value in others.items()),
    )


METHODS = {
    f"{scenario}[{way}]": word
    for scenario in ("force-quit-restart-cloud", "kill-cloud")
    for way, word in {"restart": "pm2 restart cloud", "kill": "kill -9"}.items()
}
"""Scenario, and what its fault's proof says was run."""


@pytest.mark.parametrize(("scenario", "word"), METHODS.items(), ids=list(METHODS))
async def test_captions_resume_when_pm2_restarts_the_cloud(play, pm2, scenario, word):
    """Whether pm2 restarts the cloud or somebody kills it under pm2: a new cloud, no zombie, and no pm2 afterwards."""
    had_a_home = (Path.home() / ".pm2").exists()
    verdict = await play(scenario, sets=cloud_under(pm2))
    assert verdict["outcome"] == "HOLDS", verdict["report"]
    told = History.load(verdict["run_dir"])
    assert [gate.outcome for gate in told.all(Gate)] == ["none"]
    assert word in " ".join(injected.proof for injected in told.all(Injected))

    clouds = [one.identity for one in told.all(ComponentStarted) if one.component == "cloud"]
    assert len(set(clouds)) == 2
    assert any(f"cloud runs as {clouds[1]}" in healed.proof for healed in told.all(Healed))

    assert told.all(Leftover) == ()
    run = told.run_started.run
    assert holdings_of(run, verdict["run_dir"]).left() == []
    assert [pid for pid in all_processes() if mentions(pid, run)] == []
    assert not scratch_dir(run).exists()
    assert (Path.home() / ".pm2").exists() is had_a_home
