"""``make test`` ends when it is interrupted, and nothing selected is no success; ``.ci/run`` leaves a log."""

import os
import shutil
import signal
import subprocess

import pytest

from harness.settings import PROJECT_ROOT

PYTHON = """\
#!/bin/bash
echo "$*" >> {calls}
case "$*" in
  *"scenarios -m not container"*) {processes} ;;
  *"scenarios -m container"*) {containers} ;;
esac
"""

OURS = ("CI", "ARGS", "JUNIT", "JOBS", "MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL")
"""What a ``make test`` that runs this test hands down."""


@pytest.fixture
def make_test(tmp_path):
    """Give ``make test`` with a python that only notes its words and then does as told for either part."""

    def run(processes: str, containers: str, **environment: str) -> tuple[int, list[str]]:
        calls = tmp_path / "calls"
        (tmp_path / "python").write_text(PYTHON.format(calls=calls, processes=processes, containers=containers))
        (tmp_path / "python").chmod(0o755)
        (tmp_path / "ready").touch()
        words = [f"BIN={tmp_path}", f"READY={tmp_path}/ready", "UV=/bin/true"]
        outer = {name: value for name, value in os.environ.items() if name not in OURS}
        done = subprocess.run(
            ["make", "--silent", "-C", PROJECT_ROOT, "test", *words], env=outer | environment,
            capture_output=True, text=True, check=False, timeout=20, start_new_session=True,
            # In the background of a script SIGINT is ignored, and a shell cannot trap what it began ignoring.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        parts = [line.rpartition("scenarios -m ")[2].strip() for line in calls.read_text().splitlines()[2:]]
        calls.unlink()
        return done.returncode, parts

    return run


BOTH = ["not container", "container"]


@pytest.mark.parametrize(
    ("processes", "containers", "good", "parts"),
    [
        ("exit 0", "exit 0", True, BOTH),
        ("exit 1", "exit 0", False, BOTH),
        ("exit 0", "exit 1", False, BOTH),
        ("exit 2", "exit 0", False, ["not container"]),  # pytest was interrupted
        ("exit 5", "exit 0", True, BOTH),
        ("exit 0", "exit 5", True, BOTH),
        ("exit 5", "exit 5", False, BOTH),
        ("exit 1", "exit 5", False, BOTH),
    ],
)
def test_either_part_has_a_say(make_test, processes, containers, good, parts):
    code, seen = make_test(processes, containers)
    assert (code == 0, seen) == (good, parts)


@pytest.mark.parametrize(("processes", "containers"), [("exit 5", "exit 0"), ("exit 0", "exit 5")])
def test_in_ci_a_part_with_nothing_selected_is_a_failure(make_test, processes, containers):
    assert make_test(processes, containers, CI="true")[0] != 0
    assert make_test(processes, containers, CI="false")[0] == 0


def test_two_at_once_share_no_file(tmp_path):
    """What one keeps in the tree, the other overwrites while it is read."""
    words = [f"BIN={tmp_path}", f"READY={tmp_path}/ready", "UV=/bin/true", "DEADLINE=9"]
    (tmp_path / "ready").touch()
    outer = {name: value for name, value in os.environ.items() if name not in OURS}
    done = subprocess.run(
        ["make", "--dry-run", "-C", PROJECT_ROOT, "test", *words], env=outer,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "--deadline" in done.stdout
    assert ".venv/" not in done.stdout


def test_ctrl_c_ends_all_of_it_whatever_pytest_makes_of_it(make_test):
    at_the_terminal = "trap 'exit 1' INT; kill -INT 0"  # as the terminal does it: to make, its shell and pytest
    code, seen = make_test(at_the_terminal, "exit 0")
    assert code != 0
    assert seen == ["not container"]


def test_ci_leaves_a_log_of_the_lint_that_failed(tmp_path):
    (tmp_path / ".ci").mkdir()
    script = tmp_path / ".ci" / "run"
    shutil.copy(PROJECT_ROOT / ".ci" / "run", script)
    for name, text in (("make", "echo 'E501 too long'; exit 1"), ("docker", "exit 0")):
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run([script], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, check=False)
    assert done.returncode != 0
    logs = [path.read_text() for path in (tmp_path / "runs" / "ci").iterdir()]
    assert any("E501" in log for log in logs)
