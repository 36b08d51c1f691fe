"""``aftershock clean``: a dead run's things go, a living run's and a stranger's stay; an engine is made up or real."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness import firewall, run_lease
from harness.cli import cleaning, dead_runs
from harness.errors import MachineError
from harness.janitor.ending import Known
from harness.processes import look_at
from harness.remains import Remain, add_remains, read_remains
from harness.run_lease import FoundLease, RunLease, found_leases, machine_id
from harness.runtimes.container.sweeping import Labelled
from harness.settings import child_environment, scratch_dir


class MadeUpEngine:
    """An engine that has these; what resists stays."""

    def __init__(self, *held, resists=()):
        self.held, self.resists = list(held), set(resists)

    def close(self):
        pass


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A machine with no leases but ours; ``engine`` may be replaced by one that has something."""

    class World:
        engine: MadeUpEngine | None = MadeUpEngine()
        says = ""
        run = f"test-clean-20260101T000000.000Z-{os.getpid()}"
        runs = tmp_path / "run"

        def clean(self, *, dry_run=False, **how):
            said: list[str] = []
            self.failed = cleaning.cleaned(said.append, dry_run=dry_run, **how)
            return said

        def died(self, run="", kept=False):
            """Leave the lease of a rig that is gone."""
            lease = RunLease.take(run or self.run, self.runs)
            lease.mark_kept(kept)
            os.close(lease._lock)

    def clear(engine, wanted, within_s=0):
        engine.held = [one for one in engine.held if one not in wanted or one.id in engine.resists]
        return [one for one in wanted if one.id in engine.resists]

    world = World()
    world.runs.mkdir()
    monkeypatch.setattr(run_lease, "leases_dir", lambda: tmp_path / "locks" / "runs")
    monkeypatch.setattr(
        dead_runs, "_scratch_dirs", lambda: [path for path in [scratch_dir(world.run)] if path.exists()]
    )
    monkeypatch.setattr(dead_runs, "runs_carried", lambda: {world.run} if processes(world.run) else set())
    monkeypatch.setattr(dead_runs, "labelled", lambda engine: list(engine.held))
    monkeypatch.setattr(cleaning, "connected", lambda: (world.engine, world.says))
    monkeypatch.setattr(cleaning, "clear", clear)
    yield world
    shutil.rmtree(scratch_dir(world.run), ignore_errors=True)


def processes(run):
    return Known(run).find()


@contextlib.contextmanager
def part_of(run):
    process = subprocess.Popen(
        [sys.executable, "-c", "print(1, flush=True); import time; time.sleep(60)"],
        env=child_environment(run, "part", {}), start_new_session=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def held(run, kind="container", machine=None, name="bridge"):
    number = f"{kind}-{run}-{name}"
    return Labelled(kind, f"aftershock-{run}-{name}", number, run, machine_id() if machine is None else machine)


def test_nothing_to_clean(world):
    assert world.clean() == ["nothing to clean"]
    assert world.failed == []


def test_a_dead_run_s_things_go_and_a_dry_run_only_names_them(world):
    world.died()
    container, network = held(world.run), held(world.run, "network")
    world.engine = MadeUpEngine(container, network)
    scratch_dir(world.run).mkdir()
    add_remains(world.runs, [Remain("container", container.name)])
    with part_of(world.run) as part:
        os.kill(part.pid, signal.SIGSTOP)
        would = world.clean(dry_run=True)
        assert [line.partition(":")[0] for line in would] == [
            f"would remove process {part.pid} of {world.run}",
            f"would remove container {container.name}",
            f"would remove network {network.name}",
            f"would remove directory {scratch_dir(world.run)}",
            f"would remove the lease of {world.run}, whose rig (pid {os.getpid()}) is dead",
            "5 to remove, of 1 dead runs",
        ]
        assert look_at(part.pid) is not None
        assert scratch_dir(world.run).exists()
        assert len(world.engine.held) == 2
        said = world.clean()
        assert [line.replace("would remove", "removed") for line in would][:-1] == said[:-1]
        assert said[-1] == "5 removed, of 1 dead runs"
        assert look_at(part.pid) is None
    assert not scratch_dir(world.run).exists()
    assert world.engine.held == []
    assert read_remains(world.runs) == []
    assert found_leases() == []
    assert world.clean() == ["nothing to clean"]


def test_a_living_run_is_never_touched(world):
    lease = RunLease.take(world.run, world.runs)
    world.engine = MadeUpEngine(held(world.run))
    scratch_dir(world.run).mkdir()
    with part_of(world.run) as part:
        assert world.clean() == ["nothing to clean"]
        assert look_at(part.pid) is not None
    assert scratch_dir(world.run).exists()
    assert world.engine.held
    lease.close()


def test_without_a_lease_only_what_is_surely_dead_goes(world):
    """A process that carries the id, or another machine's label: the run may live."""
    other = f"{world.run}1"
    world.engine = MadeUpEngine(held(world.run), held(other, machine="elsewhere"), held(f"{world.run}2"))
    with part_of(world.run) as part:
        said = world.clean()
        assert look_at(part.pid) is not None
    assert said == [
        f"removed container aftershock-{world.run}2-bridge",
        f"left alone: container aftershock-{other}-bridge: of another machine, or of an earlier start of this one",
        f"left alone: processes of {world.run}: it has no lease here, so it may live",
        "1 removed, of 1 dead runs",
    ]
    assert [one.run for one in world.engine.held] == [world.run, other]


def test_what_resists_is_said_and_stays_findable(world):
    world.died()
    one = held(world.run)
    world.engine = MadeUpEngine(one, resists=[one.id])
    assert world.clean() == [f"could not remove container {one.name}", "0 removed, of 1 dead runs, 1 not possible"]
    assert world.failed
    assert [lease.run for lease in found_leases()] == [world.run]


def test_a_docker_host_that_names_no_engine_is_told_whatever_is_there(world):
    world.engine, world.says = None, "DOCKER_HOST=tcp://1:abc (no port)"
    assert world.clean() == ["no Docker engine was looked at: DOCKER_HOST=tcp://1:abc (no port)", "nothing to clean"]
    assert not world.failed


def test_no_engine_matters_only_when_it_may_have_something(world):
    world.engine, world.says = None, "connection refused"
    world.died()
    assert world.clean()[-1] == "1 removed, of 1 dead runs"
    world.died()
    add_remains(world.runs, [Remain("network", "aftershock-net", "abc")])
    said = world.clean()
    assert said[0].startswith("could not remove network aftershock-net: no Docker engine answers (connection refused)")
    assert world.failed
    assert read_remains(world.runs)
    world.engine, world.says = MadeUpEngine(), ""
    assert world.clean()[-1] == "1 removed, of 1 dead runs"
    assert read_remains(world.runs) == []


def test_another_engine_s_remains_are_not_forgotten(world, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///other.sock")
    world.died()
    add_remains(world.runs, [Remain("network", "aftershock-net", "abc")])
    monkeypatch.delenv("DOCKER_HOST")
    assert f"could not remove what {world.run} made with DOCKER_HOST=unix:///other.sock; set it" in world.clean()[0]
    assert read_remains(world.runs)


KEPT = """
import signal, sys, time
from pathlib import Path
from harness import run_lease
run_lease.leases_dir = lambda: Path(sys.argv[2])
signal.signal(signal.SIGINT, lambda *_: (lease.close(), sys.exit()))
lease = run_lease.RunLease.take(sys.argv[1], Path("/nowhere"))
lease.mark_kept(True)
print("up", flush=True)
time.sleep(60)
"""


def test_a_kept_stack_is_ended_as_by_ctrl_c(world):
    argv = [sys.executable, "-c", KEPT, world.run, str(run_lease.leases_dir())]
    rig = subprocess.Popen(argv, stdout=subprocess.PIPE)
    assert rig.stdout is not None
    with rig.stdout as lines:
        lines.readline()
        named = f"the stack of {world.run}, kept by pid {rig.pid} (/nowhere)"
        assert world.clean(dry_run=True) == [f"would end {named}", "1 to remove"]
        assert world.clean() == [f"ended {named}", "1 removed"]
    assert rig.wait() == 0


def test_a_pid_that_came_again_is_not_asked_to_end(world, monkeypatch):
    asked: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, _: asked.append(pid))
    lease = FoundLease(
        world.run, Path("/x"), os.getpid(), 1, kept=True, alive=True, path=Path("/y"), owner=os.geteuid()
    )
    said: list[str] = []
    tally = cleaning.Tally(said.append, dry_run=False)
    assert not cleaning._end_kept(lease, tally)
    assert (asked, said) == ([], [])  # nobody holds the lease any more
    monkeypatch.setattr(cleaning, "found_leases", lambda: [lease])
    assert not cleaning._end_kept(lease, tally)
    assert asked == []
    assert said[0].endswith("it lives, but that pid is not its rig here (another container's?)")
    assert tally.failed


@pytest.mark.parametrize("dry_run", [False, True])
def test_another_user_s_kept_stack_is_left_alone(world, monkeypatch, dry_run):
    """Root could end it, and who is not root would get an error."""
    asked: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, _: asked.append(pid))
    lease = RunLease.take(world.run, world.runs)
    lease.mark_kept(True)
    os.chown(lease.path, 12345, 12345) if os.geteuid() == 0 else monkeypatch.setattr(os, "geteuid", lambda: -2)
    said = world.clean(dry_run=dry_run)
    what = f"the stack of {world.run}, kept by pid {os.getpid()} ({world.runs})"
    assert said == [f"left alone: {what}: another user's", "nothing to clean"]
    assert (asked, world.failed) == ([], [])
    lease.close()


def test_a_kept_stack_that_leaves_something_is_cleaned_up_after(world):
    """Its rig ends and lists what it could not remove: the same `clean` tries that."""
    code = KEPT.replace("lease.close(), sys.exit()", "lease.leave(), sys.exit()")
    rig = subprocess.Popen(
        [sys.executable, "-c", code, world.run, str(run_lease.leases_dir())], stdout=subprocess.PIPE
    )  # fmt: skip
    assert rig.stdout is not None
    with rig.stdout as lines:
        lines.readline()
        said = world.clean()
    rig.wait()
    assert said[0].startswith(f"ended the stack of {world.run}")
    assert said[1].startswith(f"removed the lease of {world.run}")
    assert found_leases() == []


def test_a_listed_process_that_is_still_the_same_is_ended(world):
    """It does not carry the run's id; a pid that is another process by now is not touched."""
    world.died()
    with part_of("another") as part, part_of("another") as other:
        start, began = look_at(part.pid), look_at(other.pid)
        assert start is not None
        assert began is not None
        add_remains(world.runs, [
            Remain("process", "sleeps", str(part.pid), start_ticks=start.start_ticks),
            Remain("process", "sleeps", str(other.pid), start_ticks=began.start_ticks - 1),
        ])  # fmt: skip
        said = world.clean()
        assert look_at(part.pid) is None
        assert look_at(other.pid) is not None
    assert said[0].startswith(f"removed process {part.pid} of {world.run}")
    assert said[-1] == "2 removed, of 1 dead runs"
    assert read_remains(world.runs) == []


def test_a_listed_directory_goes_wherever_it_is(world, tmp_path):
    world.died()
    (elsewhere := tmp_path / f"aftershock-{world.run}").mkdir()
    (foreign := tmp_path / "mine").mkdir()
    add_remains(world.runs, [Remain("directory", str(elsewhere)), Remain("directory", str(foreign))])
    assert world.clean()[0] == f"removed directory {elsewhere}"
    assert not elsewhere.exists()
    assert foreign.exists()


@pytest.mark.parametrize(
    ("there", "says"), [(True, "remove it by hand, as root"), (None, "perhaps; only root may look"), (False, "")]
)
def test_a_listed_rule_is_forgotten_only_when_it_is_gone(world, monkeypatch, there, says):
    world.died()
    add_remains(world.runs, [Remain("rule", "-A X -i tap1 -j DROP")])
    monkeypatch.setattr(cleaning, "is_there", lambda rule: there)
    said = world.clean()
    if says:
        assert said[0] == f"could not remove the firewall rule of {world.run}: -A X -i tap1 -j DROP ({says})"
    assert bool(read_remains(world.runs)) == bool(found_leases()) == bool(says)


def test_rules_are_looked_for_by_the_interface_of_a_network(world, monkeypatch):
    world.died()
    world.engine = MadeUpEngine(replace(held(world.run, "network"), interface="tap77"))
    add_remains(world.runs, [Remain("network", "n", "1", interface="tap78")])
    monkeypatch.setattr(cleaning, "rules_naming", lambda *words: [f"-A X {word}" for word in words[1:]])
    said = world.clean()
    assert [line for line in said if "rule" in line] == [
        f"could not remove the firewall rule of {world.run}: -A X {tap} (remove it by hand, as root)"
        for tap in ("tap77", "tap78")
    ]


def test_a_command_that_failed_is_named_until_it_is_forgotten(world):
    world.died()
    add_remains(world.runs, [Remain("command", "pm2 stop bridge")])
    said = world.clean()
    assert said[0] == (
        f"left alone: `pm2 stop bridge` failed when {world.run} ended; run it yourself, "
        f"then `aftershock clean --forget {world.run}`"
    )
    assert world.failed
    assert found_leases()
    assert world.clean(forget=world.run)[-1] == "2 removed, of 1 dead runs"
    assert found_leases() == []
    assert world.clean(forget="nobody")[0].startswith("could not remove the failed commands of nobody: there is no")


def test_images_go_only_when_asked_for_and_no_run_lives(world, monkeypatch):
    removed: list[str] = []
    world.engine.client = SimpleNamespace(images=SimpleNamespace(remove=removed.append))
    monkeypatch.setattr(cleaning, "ours_unused", lambda: ["aftershock/bridge:0"])
    assert world.clean() == ["nothing to clean"]
    lease = RunLease.take(world.run, world.runs)
    assert world.clean(with_images=True)[0] == f"could not remove images: {world.run} may need them; end that first"
    lease.close()
    assert world.clean(with_images=True, dry_run=True)[0] == "would remove image aftershock/bridge:0"
    assert removed == []
    assert world.clean(with_images=True)[0] == "removed image aftershock/bridge:0"
    assert removed == ["aftershock/bridge:0"]

    def refuses():
        raise MachineError("a list of images", "no answer", "look")

    monkeypatch.setattr(cleaning, "ours_unused", refuses)
    assert "could not remove images: " in world.clean(with_images=True)[0]
    assert world.failed
    world.engine, world.says = None, "connection refused"
    assert "no Docker engine answers (connection refused)" in world.clean(with_images=True)[0]


def test_a_rule_is_the_same_whatever_it_has_counted(monkeypatch):
    monkeypatch.setattr(firewall, "_rules", lambda: ["iifname tap1 counter packets 7 bytes 99 drop"])
    assert firewall.is_there("iifname tap1 counter packets 0 bytes 0 drop")
    assert firewall.is_there("iifname tap2 drop") is False
    monkeypatch.setattr(firewall, "_rules", lambda: None)
    assert firewall.is_there("iifname tap2 drop") is None
