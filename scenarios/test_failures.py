"""The set-up fails: engine, image, build, addresses, memory, disk. One sentence, the right verdict, nothing left."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.engines import own_engine
from fixtures.leftovers import holdings_of, mentions
from harness import events as ev
from harness import images
from harness.errors import MachineError
from harness.history import History
from harness.images import Recipe
from harness.processes import all_processes
from harness.settings import PROJECT_ROOT, settings
from harness.waiting import NotYet, until

LIVEKIT_IN_A_CONTAINER = ("--set", "livekit.image=aftershock/livekit")
ENDS_WITHIN_S = 90
SMALL_DISK_KB = 1024 + 60
"""The space that a run keeps back, and what the first two seconds of a run take."""


@dataclass
class Ran:
    """An ``aftershock run`` that is over."""

    code: int | None
    verdict: dict[str, object]
    told: str
    """What it wrote beside the verdict."""
    run_dir: Path

    def left(self) -> list[str]:
        """Return what is left of the run on this machine, engines aside."""
        return holdings_of(History.load(self.run_dir).run_started.run, self.run_dir).left()


async def started(runs, scenario, *words, env=None):
    """Start ``aftershock run`` as a user does."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "harness", "run", scenario, "--json", "--runs", str(runs), *words,
        cwd=PROJECT_ROOT, env=env, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def ended(command, runs, scenario):
    """Wait for its end; no run may show a traceback, whatever happens to it."""
    said, told = await asyncio.wait_for(command.communicate(), ENDS_WITHIN_S)
    assert b"Traceback" not in said + told, told.decode()
    return Ran(command.returncode, json.loads(said.splitlines()[0]), told.decode(), runs / scenario / "latest")


async def ran(runs, scenario, *words, env=None):
    """Run to the end."""
    return await ended(await started(runs, scenario, *words, env=env), runs, scenario)


async def test_no_engine_is_one_sentence_and_the_doctor_names_the_lack(tmp_path):
    """Parts given as images need an engine; without one the run is UNKNOWN, and the mend stands below."""
    env = os.environ | {"DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
    run = await ran(tmp_path, "baseline", "--system", "containers", env=env)

    assert (run.code, run.verdict["outcome"]) == (3, "UNKNOWN")
    assert "expected a Docker engine that answers, for the parts given as images; saw" in run.told
    assert "lack  Docker engine  there is no socket where the engine's should be" in run.told
    assert run.left() == []


@pytest.mark.container
@pytest.mark.usefixtures("engine")
async def test_an_image_that_is_nowhere_is_named(tmp_path):
    """The registry asked is this machine itself, where none listens."""
    run = await ran(tmp_path, "baseline", "--set", "bridge.image=127.0.0.1:9/no-such-bridge:ever")

    assert (run.code, run.verdict["outcome"]) == (3, "UNKNOWN")
    assert "expected the image 127.0.0.1:9/no-such-bridge:ever, here or in its registry; saw" in run.told
    assert "build or pull it, or mend its name" in run.told
    assert run.left() == []


@pytest.mark.container
@pytest.mark.usefixtures("engine")
async def test_a_build_that_fails_ends_with_its_last_lines(rig, verdict_of, monkeypatch, tmp_path):
    """A package that is nowhere: the sentence ends with pip's own words."""
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(
        "FROM python:3.11-slim-bookworm\nRUN python3 -m pip install --no-index no-such-package-ever\n"
    )
    broken = Recipe("aftershock/bridge", {"docker/bridge/Dockerfile": dockerfile}, "docker/bridge/Dockerfile", "broken")
    monkeypatch.setattr(images, "python_recipe", lambda _: broken)
    r = rig(sets=["bridge.image=aftershock/bridge"])
    with pytest.raises(MachineError, match=r"to build the image aftershock/bridge:.*; saw .*no-such-package-ever"):
        async with r:
            pytest.fail("it started")

    verdict = verdict_of(r)
    assert (verdict["exit_code"], verdict["outcome"]) == (3, "UNKNOWN")
    assert holdings_of(r.run, r.run_dir).left() == []


@pytest.mark.container
@pytest.mark.usefixtures("engine")
async def test_an_engine_without_addresses_is_one_sentence(tmp_path):
    """The engine's pool is used up by somebody else's network, which stays as it is."""
    with own_engine(networks=1) as engine:
        engine.docker("network", "create", "somebody-elses")
        run = await ran(tmp_path, "baseline", *LIVEKIT_IN_A_CONTAINER, env=engine.environment)

        assert (run.code, run.verdict["outcome"]) == (3, "UNKNOWN")
        assert "expected a Docker network of the run's own; saw could not find an available" in run.told
        assert "end other runs" in run.told
        assert run.left() == []
        assert engine.names() == []
        assert "somebody-elses" in engine.docker("network", "ls").stdout


@pytest.mark.container
@pytest.mark.usefixtures("engine")
async def test_a_container_that_wants_more_memory_than_its_limit_is_named_with_it(tmp_path):
    """The kernel ends LiveKit in 12 MiB; that is the limit's doing, not the server's."""
    with own_engine() as engine:
        limit = ("--set", "livekit.limits.memory_mb=12")
        run = await ran(tmp_path, "baseline", *LIVEKIT_IN_A_CONTAINER, *limit, env=engine.environment)

        assert run.verdict["outcome"] == "UNKNOWN"
        assert "limit 12 MiB" in run.told
        assert "livekit.limits.memory_mb" in run.told
        assert run.left() == []
        assert engine.names() == []


@pytest.mark.container
@pytest.mark.usefixtures("engine")
async def test_an_engine_that_dies_mid_run_leaves_a_list_and_clean_removes_it(tmp_path):
    """Containers outlive their engine; what remains is listed, and goes once the engine is back."""
    with own_engine() as engine, tempfile.TemporaryDirectory(prefix="own-") as own:
        # Leases are kept below TMPDIR: with one of its own, "clean" knows of this test's runs only.
        env = engine.environment | {"TMPDIR": own}
        command = await started(tmp_path, "baseline", *LIVEKIT_IN_A_CONTAINER, env=env)
        await until(lambda: is_steady(tmp_path / "baseline"), what="steady captions", within_s=40)
        names = engine.names()
        assert len(names) == 2
        engine.kill()
        run = await ended(command, tmp_path, "baseline")

        assert (run.code, run.verdict["outcome"]) == (3, "UNKNOWN")
        assert "Docker engine is gone" in run.told
        assert run.left() == []
        remains = json.loads((run.run_dir / "remains.json").read_text())
        listed = [(one["kind"], one["name"]) for one in remains]
        assert listed == list(zip(("container", "network"), names, strict=True))
        code, said = await clean(env)
        assert code == 3
        assert "start it and clean again" in said

        engine.start()
        assert set(engine.names()) == set(names)
        code, said = await clean(env)
        assert code == 0, said
        assert all(f"removed {kind} {name}" in said for kind, name in listed), said
        assert engine.names() == []
        assert not (run.run_dir / "remains.json").exists()
        assert await clean(env) == (0, "nothing to clean\n")


async def clean(env):
    """Run ``aftershock clean``; return its exit code and what it said of this test's runs."""
    command = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "harness", "clean", cwd=PROJECT_ROOT, env=env, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await asyncio.wait_for(command.communicate(), ENDS_WITHIN_S)
    lines = [line for line in said.decode().splitlines(keepends=True) if not line.startswith("left alone: ")]
    return command.returncode, "".join(lines)


async def test_a_full_disk_ends_the_run_in_order():
    """Everything recorded up to the end can be read, the verdict is on disk, and it says what the matter was."""
    with small_disk() as disk:
        run = await ran(disk / "runs", "baseline")

        assert (run.code, run.verdict["outcome"]) == (3, "UNKNOWN")
        assert f"expected space on the disk of {disk}/runs/baseline/" in run.told
        history = History.load(run.run_dir)
        assert history.notes == ()
        assert history.last(ev.RunEnded) is not None
        assert json.loads((run.run_dir / "verdict.json").read_text())["exit_code"] == 3
        assert run.left() == []
        assert not list(run.run_dir.glob(".*"))


async def test_a_disk_that_was_full_before_is_one_sentence():
    """Nothing is started then."""
    with small_disk() as disk:
        (disk / "hog").write_bytes(bytes(SMALL_DISK_KB * 1024 - 100_000))
        command = await started(disk / "runs", "baseline")
        said, told = await asyncio.wait_for(command.communicate(), ENDS_WITHIN_S)

        assert command.returncode == 3
        sentence = f"a writable runs directory at {disk}/runs; saw No space left on device; free space there, or"
        assert sentence in told.decode()
        assert said == b"", "no run, so no line of one"
        assert b"Traceback" not in told
        assert [pid for pid in all_processes() if mentions(pid, str(disk))] == []


def is_steady(runs):
    """Look whether the story's steady state has been reached; it goes on for some seconds from there."""
    for path in runs.glob("*/events/rig.jsonl"):
        if b'"steady-reached"' in path.read_bytes():
            return True
    return NotYet("no run is steady yet")


@contextmanager
def small_disk():
    """Give a disk with room for hardly a run; only root may make one: else skip, and fail in CI."""
    if os.geteuid():
        reason = "only root can make a small disk: the full one is left out"
        if settings().in_ci:
            pytest.fail(f"{reason}, and CI is set", pytrace=False)
        pytest.skip(reason)
    path = Path(tempfile.mkdtemp(prefix="small-disk-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_KB}k", "tmpfs", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)
        path.rmdir()
