"""A run's lease tells the living from the dead, whoever asks."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness import run_lease
from harness.errors import MachineError
from harness.processes import all_processes
from harness.run_lease import RunLease, drop_dead, found_leases, machine_id


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(run_lease, "leases_dir", lambda: tmp_path / "locks" / "runs")
    return tmp_path / "locks" / "runs"


def test_a_living_run_is_found_with_its_rig(tmp_path):
    lease = RunLease.take("baseline{1}", tmp_path)
    (found,) = found_leases()
    assert (found.run, found.run_dir, found.alive, found.kept) == ("baseline{1}", tmp_path, True, False)
    assert (found.pid, found.start_ticks) == (os.getpid(), all_processes()[os.getpid()].start_ticks)
    assert json.loads(found.path.read_text())["run"] == "baseline{1}"
    assert machine_id() == machine_id() != ""
    lease.close()
    lease.close()
    assert found_leases() == []


def test_kept_and_back(tmp_path):
    lease = RunLease.take("one", tmp_path)
    lease.mark_kept(True)
    assert found_leases()[0].kept
    lease.mark_kept(False)
    assert not found_leases()[0].kept
    assert not drop_dead("one")  # it lives
    lease.close()


def test_the_rig_s_death_frees_it(tmp_path, folder):
    code = f"""
from pathlib import Path
import time
from harness import run_lease
from harness.errors import MachineError
run_lease.leases_dir = lambda: Path({str(folder)!r})
lease = run_lease.RunLease.take("dies", Path({str(tmp_path)!r}))
print("up", flush=True)
time.sleep(60)
"""
    rig = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert rig.stdout is not None
    assert rig.stdout.readline() == "up\n"
    assert found_leases()[0].alive
    os.kill(rig.pid, signal.SIGKILL)
    rig.wait()
    rig.stdout.close()
    (found,) = found_leases()
    assert not found.alive
    assert found.pid == rig.pid
    assert drop_dead("dies")
    assert found_leases() == []


def test_two_who_look_at_once_see_the_same(tmp_path, folder):
    RunLease.take("two", tmp_path).close()
    folder.joinpath("dead.json").write_text(
        '{"run": "dead", "run_dir": "/x", "pid": 1, "start_ticks": 2, "kept": true}'
    )
    folder.joinpath("odd.json").write_text("{")
    folder.joinpath("odder.json").write_text("[]")
    file = os.open(folder / "dead.json", os.O_RDONLY)
    fcntl.flock(file, fcntl.LOCK_SH)  # somebody else is looking
    (found,) = found_leases()
    os.close(file)
    assert found == run_lease.FoundLease("dead", Path("/x"), 1, 2, True, False, folder / "dead.json", owner=os.getuid())


def test_a_directory_that_cannot_be_made_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(run_lease, "leases_dir", lambda: tmp_path / "file" / "runs")
    with pytest.raises(MachineError, match="lease of a run"):
        RunLease.take("one", tmp_path)
