"""``aftershock clean`` on a real engine: a dead run's things are named, then gone; a living run beside is untouched."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.kill_moments import begun
from fixtures.leftovers import Holdings, holdings_of
from harness import images, livekit_server
from harness.processes import command_line, look_at, processes_of
from harness.runtimes.container.engine import Engine
from harness.runtimes.container.sweeping import labelled
from harness.settings import PROJECT_ROOT
from harness.waiting import NotYet, until

pytestmark = [pytest.mark.container, pytest.mark.usefixtures("engine")]

RIG = """
import subprocess, sys, time
from pathlib import Path
from harness.run_lease import RunLease
from harness.runtimes.container.engine import run_labels
from harness.settings import child_environment, scratch_dir

run, image = sys.argv[1:3]
lease = RunLease.take(run, Path(sys.argv[3]))
scratch_dir(run).mkdir()
part = subprocess.Popen(
    ["sleep", "600"], env=child_environment(run, "part", {}), start_new_session=True, stdout=subprocess.DEVNULL
)
labels = [word for name, value in run_labels(run).items() for word in ("--label", f"{name}={value}")]
def docker(*words):
    subprocess.run(["docker", *words], check=True, capture_output=True)
docker("network", "create", "--internal", *labels, f"aftershock-{run}")
docker("run", "-d", *labels, "--network", f"aftershock-{run}", "--name", f"aftershock-{run}-livekit", image,
       "--dev", "--bind", "0.0.0.0", "--node-ip", "127.0.0.1")
docker("pause", f"aftershock-{run}-livekit")
print(part.pid, flush=True)
time.sleep(600)
"""


@dataclass(frozen=True)
class MadeUpRig:
    """A rig with one part, one paused container, a network and a scratch directory."""

    run: str
    process: subprocess.Popen[str]
    part: int

    def held(self) -> list[str]:
        """Return what there is of it: containers and networks by name, its part, its scratch directory."""
        label = f"label=aftershock.run={self.run}"
        asked = [["docker", "ps", "-a", "--format", "{{.Names}}"], ["docker", "network", "ls", "--format", "{{.Name}}"]]
        found = [
            name
            for words in asked
            for name in subprocess.run(
                [*words, "--filter", label], check=True, capture_output=True, text=True
            ).stdout.split()
        ]
        return found + ([f"process {self.part}"] if look_at(self.part) is not None else [])


@pytest.fixture
def environment(tmp_path):
    """Give the environment of a machine of its own: leases and directories are looked for in TMPDIR."""
    return os.environ | {"TMPDIR": str(tmp_path)}


@pytest.fixture
async def rigs(tmp_path, environment):
    """Give two rigs, each up: one to die, one to live."""
    server = await livekit_server.find_or_build(None, print)
    await images.made_ready({"livekit": images.LIVEKIT}, None, print)
    image = images.livekit_recipe(server.path).image
    both: list[MadeUpRig] = []
    started: list[tuple[str, subprocess.Popen[str]]] = []
    for number, name in enumerate(("dies", "lives")):
        run = f"clean-20260101T00000{number}.000Z-{os.getpid()}"
        (tmp_path / name).mkdir()
        process = subprocess.Popen(  # noqa: ASYNC220  instant
            [sys.executable, "-c", RIG, run, image, str(tmp_path / name)], cwd=PROJECT_ROOT, env=environment,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append((run, process))
        assert process.stdout is not None
        line = await asyncio.to_thread(process.stdout.readline)
        assert line, "the made-up rig ended: see its error above"
        both.append(MadeUpRig(run, process, int(line)))
    yield both
    for run, process in started:
        _end(run, process)


def _end(run, process):
    process.kill()
    process.wait()
    process.stdout.close()
    for pid, _ in processes_of(run):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for words in (["rm", "-f", f"aftershock-{run}-livekit"], ["network", "rm", f"aftershock-{run}"]):
        subprocess.run(["docker", *words], capture_output=True, check=False)


async def clean(environment, *words):
    """Run ``aftershock clean`` and return its exit code and lines."""
    asked = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "harness", "clean", *words], cwd=PROJECT_ROOT, env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert asked.stderr == ""
    return asked.returncode, [line for line in asked.stdout.splitlines() if not line.startswith("left alone")]


async def test_what_a_dead_run_left_is_named_and_removed(rigs, environment, tmp_path):
    """A part, a paused container, a network, a directory and a lease go; the same of the living run stay."""
    dies, lives = rigs
    before = lives.held()
    assert await clean(environment) == (0, ["nothing to clean"])
    os.kill(dies.process.pid, signal.SIGKILL)
    await until(lambda: dies.process.poll() is not None or NotYet("it lives"), what="its end", within_s=5)

    code, would = await clean(environment, "--dry-run")

    assert code == 0
    assert would == [
        f"would remove process {dies.part} of {dies.run}: sleep 600",
        f"would remove container aftershock-{dies.run}-livekit",
        f"would remove network aftershock-{dies.run}",
        f"would remove directory {tmp_path}/aftershock-{dies.run}",
        f"would remove the lease of {dies.run}, whose rig (pid {dies.process.pid}) is dead",
        "5 to remove, of 1 dead runs",
    ]
    assert len(dies.held()) == 3

    gone, said = await clean(environment)

    assert (gone, said[-1]) == (0, "5 removed, of 1 dead runs")
    assert dies.held() == []
    assert not (Path(tmp_path) / f"aftershock-{dies.run}").exists()
    assert lives.held() == before
    assert (Path(tmp_path) / f"aftershock-{lives.run}").exists()
    assert await clean(environment) == (0, ["nothing to clean"])


async def test_without_an_engine_what_remains_is_said(rigs, environment):
    """The dead run's container cannot be removed: exit 3, one sentence; with the engine back it goes."""
    dies, _ = rigs
    (rigs_dir := Path(environment["TMPDIR"]) / "dies").joinpath("remains.json").write_text(
        f'[{{"kind": "container", "name": "aftershock-{dies.run}-livekit", "id": ""}}]'
    )
    os.kill(dies.process.pid, signal.SIGKILL)
    dies.process.wait()
    deaf = environment | {"DOCKER_HOST": "unix:///nowhere/docker.sock"}

    code, said = await clean(deaf)

    assert code == 3
    assert any(f"what {dies.run} made without DOCKER_HOST; unset it" in line for line in said)
    assert len(dies.held()) == 2
    assert (rigs_dir / "remains.json").exists()
    assert (await clean(environment))[0] == 0
    assert dies.held() == []
    assert not (rigs_dir / "remains.json").exists()


async def test_a_job_killed_whole_leaves_nothing_that_clean_does_not_find(environment, tmp_path):
    """Command, rig and janitor are killed at once, as a cancelled CI job is: then ``clean`` does the janitor's work."""
    command = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "harness", "run", "baseline", "--system", "containers", "--runs", str(tmp_path / "runs"),
        cwd=PROJECT_ROOT, env=environment, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    run_dir, run = await begun(tmp_path / "runs")
    engine = Engine()

    def look() -> Holdings | NotYet:
        seen = holdings_of(run, run_dir, command.pid, engine=engine)
        # The network comes first and the containers after it: at this moment the engine is still at work.
        return seen if len(labelled(engine, run)) > 1 else NotYet("no container yet")

    held = await until(look, what="a container", within_s=40)
    for pid in sorted(held.processes, key=lambda pid: "harness.janitor" not in command_line(pid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    await command.wait()
    await asyncio.sleep(2)  # what the engine was still making is made now, and nobody asks for more

    code, said = await clean(environment)

    assert code == 0, said
    # A machine of its own has leases of its own, which these holdings do not look at.
    assert held.left() == []
    assert list((tmp_path / "aftershock-locks" / "runs").iterdir()) == []
    engine.close()
