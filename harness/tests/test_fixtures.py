"""What scenarios are given: who is skipped, who fails in CI, and which processes are an engine's own."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from fixtures import rig
from fixtures.engines import OwnEngine
from fixtures.kill_moments import Moment
from fixtures.leftovers import mentions
from harness.errors import FaultNotSupported, MachineError
from harness.processes import command_line
from harness.rig import RigOptions
from harness.runtimes.container import engine as container_engine
from harness.settings import PROJECT_ROOT


@pytest.fixture
def in_ci(monkeypatch):
    """Give a switch for CI."""
    return lambda yes: monkeypatch.setattr(rig, "settings", lambda: SimpleNamespace(in_ci=yes))


def call(marked):
    item: Any = SimpleNamespace(get_closest_marker=lambda name: pytest.mark.container if marked else None)
    running = rig.pytest_runtest_call(item)
    next(running)
    running.throw(FaultNotSupported("bridge runs as process: its packets cannot be dropped there"))


@pytest.mark.parametrize(("marked", "ci", "outcome"), [
    (True, True, pytest.fail.Exception),
    (True, False, pytest.skip.Exception),
    (False, True, pytest.skip.Exception),
])  # fmt: skip
def test_a_fault_that_cannot_be_used_skips_but_fails_a_container_test_in_ci(in_ci, marked, ci, outcome):
    in_ci(ci)
    with pytest.raises(outcome, match="its packets cannot be dropped there"):
        call(marked)


def test_an_engine_is_asked_by_its_socket_and_not_by_a_program(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(container_engine, "Engine", lambda: SimpleNamespace(close=lambda: None))
    assert rig.engine_lacks() == ""


def test_what_an_engine_lacks_is_told(monkeypatch):
    def none():
        raise MachineError("a Docker engine that answers", "Connection refused", "start it")

    monkeypatch.setattr(container_engine, "Engine", none)
    assert "saw Connection refused" in rig.engine_lacks()


def test_a_process_is_known_by_words_however_far_behind(tmp_path):
    words = [sys.executable, "-c", "print(flush=True); input()", "x" * 300, f"{tmp_path}/containerd.sock"]
    own = OwnEngine(tmp_path, "172.31.128.0/22", "172.31.132.1")
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as shim:
        assert shim.stdout is not None
        shim.stdout.readline()
        assert mentions(shim.pid, str(tmp_path))
        assert own._of_the_engine() == [shim.pid]
        assert str(tmp_path) not in command_line(shim.pid)  # cut, for people
        shim.kill()
    assert not mentions(shim.pid, str(tmp_path))


def test_an_own_engine_has_one_bridge_and_leaves_docker0_alone(tmp_path, monkeypatch):
    said: list[list[str]] = []

    def noted(words, **_):
        said.append([str(word) for word in words])
        return SimpleNamespace(returncode=0, stdout="", poll=lambda: None)

    monkeypatch.setattr(subprocess, "run", noted)
    monkeypatch.setattr(subprocess, "Popen", noted)
    own = OwnEngine(tmp_path, "172.31.128.0/22", "172.31.132.1")
    own.start()
    dockerd = next(words for words in said if words[0] == "dockerd")
    made = [words[3] for words in said if words[:3] == ["ip", "link", "add"]]
    assert made == [own.bridge]
    assert dockerd[dockerd.index("--bridge") + 1] == own.bridge
    assert "--live-restore" in dockerd
    assert len(own.bridge) < 16  # IFNAMSIZ


def test_what_is_kept_of_a_kill_names_no_place_of_this_machine(tmp_path):
    left = f"{PROJECT_ROOT}/.venv/bin/python -m harness.ears {tmp_path}/killed/x"
    moment = Moment("reference", "command", 1, 1.0, {}, 0.1, (left,), 2, f"cut short: {left}", 0, "HOLDS")
    kept = moment.without_places(tmp_path)
    assert kept.left == (".venv/bin/python -m harness.ears {runs}/killed/x",)
    assert kept.check_says == f"cut short: {kept.left[0]}"
    assert kept.beside_says == "HOLDS"


WINDOW = "cloud.env.REFERENCE_GRPC_WINDOW_BYTES=65536"


def test_what_a_story_needs_is_added_to_what_was_asked_for():
    asked = RigOptions(sets=("bridge.env.LOG_LEVEL=debug",))
    assert rig.needed(asked, ()) is asked
    assert rig.needed(asked, [WINDOW]).sets == ("bridge.env.LOG_LEVEL=debug", WINDOW)


def test_a_story_that_needs_something_of_a_part_of_ours_is_skipped_where_that_is_somebody_elses():
    with pytest.raises(FaultNotSupported, match="it does not know"):
        rig.needed(RigOptions(sets=("cloud.process=/bin/true",)), [WINDOW])
