"""Wrong words and damaged runs: one sentence (what was expected, what was seen, how to mend it) and no traceback."""

import pytest

from harness.cli import main
from harness.settings import PROJECT_ROOT
from harness.tests.histories import green
from harness.tests.made_up_child import save

REFERENCE = (PROJECT_ROOT / "fixtures" / "systems" / "reference.toml").read_text()


@pytest.fixture
def said(capsys, tmp_path, monkeypatch):
    """Run the command line, which must start nothing; return its exit code and its only line."""

    def nothing(*_):
        raise AssertionError("something was started")

    monkeypatch.setattr("harness.cli.run.command", nothing)

    def run(*words):
        more = ["--runs", str(tmp_path / "runs")] if words[0] == "run" else []
        code = main([*words, *more])
        shown = capsys.readouterr()
        assert shown.out == ""
        assert "Traceback" not in shown.err
        (line,) = shown.err.splitlines()
        return code, line

    return run


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["baselin"], "expected the name of a scenario; saw 'baselin'; did you mean baseline?"),
        (["baseline[x]"], "expected baseline without a variant, since it has none; saw 'baseline[x]'; write baseline"),
        (["kill-cloud[vansh]"], "expected a variant of kill-cloud; saw 'vansh'; did you mean vanish?"),
        (
            ["baseline", "--defect", "bridge:mut"],
            'expected the name of a defect; saw --defect bridge:mut; did you mean "bridge:mute"?',
        ),
        (
            ["baseline", "--defect", "bridge:mute", "--set", "bridge.process=./mine"],
            (
                "expected --defect for a part of the reference system; saw --defect bridge:mute, but bridge is not "
                "ours here; leave out what replaces bridge, or the defect"
            ),
        ),
        (
            ["baseline", "--system", "my-reference"],
            "expected the name of a system or a TOML file; saw 'my-reference'; did you mean \"reference\"?",
        ),
        (["baseline", "--system", "/"], "expected a system's TOML file; saw a directory at /; check the path"),
        (
            ["baseline", "--system", "./no.toml"],
            "expected a system's TOML file; saw no file ./no.toml; check the path",
        ),
        (
            ["baseline", "--profile", "slow"],
            "expected the name of a profile; saw 'slow'; known: real-timers, short",
        ),
        (
            ["baseline", "--set", "bridge"],
            "expected --set component.key=value; saw --set 'bridge'; write for example --set bridge.image=bridge:mine",
        ),
        (
            ["baseline", "--set", "bridgeX.image=x"],
            "expected --set to name a component; saw 'bridgeX'; did you mean \"bridge\"?",
        ),
        (
            ["baseline", "--set", "bridge.processX=x"],
            "expected a known key in [components.bridge]; saw 'processX' (by --set); did you mean \"process\"?",
        ),
        (
            ["baseline", "--set", 'bridge.process="x'],
            "expected a command line; saw --set 'bridge.process=\"x' (No closing quotation); close the quotes",
        ),
        (
            ["baseline", "--set", "bridge.ready.within_s=soon"],
            (
                'expected within_s in [components.bridge.ready] to be a number of 0 or more; saw "soon" (by --set); '
                "mend the value"
            ),
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_words_are_one_sentence_and_exit_64(words, sentence, said):
    assert said("run", *words) == (64, sentence)


@pytest.mark.parametrize(
    ("right", "wrong", "expected", "mend"),
    [
        ('needs = ["livekit"]', 'neds = ["livekit"]', "a known key in [components.bridge]", 'did you mean "needs"?'),
        ('needs = ["livekit"]', 'needs = ["livekt"]', "bridge to need a component", 'did you mean "livekit"?'),
        ("grpc = 9090", "grpc = 90900", "grpc in [components.bridge.ports] to be a port from 1 to 65535", "mend"),
        ('"{self.grpc}"', '"{self.gprc}"', "a known template", 'did you mean "self.grpc"?'),
        ("ports = { grpc = 9090 }", "ports = { grpc = }", "a TOML file", "mend that line"),
    ],
)
def test_a_wrong_system_file_is_one_sentence_with_its_line_and_exit_3(right, wrong, expected, mend, said, tmp_path):
    assert right in REFERENCE
    (tmp_path / "mine.toml").write_text(REFERENCE.replace(right, wrong, 1))
    code, line = said("run", "baseline", "--system", str(tmp_path / "mine.toml"))
    assert code == 3
    assert line.startswith(f"expected {expected}")
    assert "line " in line
    assert str(tmp_path / "mine.toml") in line
    assert mend in line


def test_a_runs_directory_that_is_a_file_is_one_sentence_and_nothing_is_started(said, tmp_path):
    (tmp_path / "runs").write_text("precious")
    code, line = said("run", "baseline")
    assert code == 3
    assert line.startswith(f"expected a writable runs directory at {tmp_path / 'runs'}; saw File exists")
    assert line.endswith("; a file is in its place: name a directory by --runs")


@pytest.fixture
def run_dir(tmp_path):
    return save(green(), tmp_path / "run")


def remove_events(run):
    for path in (run / "events").iterdir():
        path.unlink()


def spoil_an_event(run):
    path = run / "events" / "rig.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], lines[2][:20] + b"\n", *lines[3:]]))


def spoil_a_frame(run):
    path = next((run / "frames").iterdir())
    data = bytearray(path.read_bytes())
    data[-160:-144] = b"\xff" * 16
    path.write_bytes(data)


def put_something_else(run):
    next((run / "frames").iterdir()).write_bytes(b"something else entirely")


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (remove_events, "saw none; is this a run directory?"),
        (spoil_an_event, "the file is damaged in the middle, so nothing is concluded from it"),
        (spoil_a_frame, "the file is damaged in the middle, so nothing is concluded from it"),
        (put_something_else, "not a frame file"),
    ],
)
def test_a_corrupt_run_is_one_sentence_and_exit_2(harm, sentence, said, run_dir):
    harm(run_dir)
    code, line = said("check", str(run_dir))
    assert code == 2
    assert line.startswith("expected ")
    assert line.endswith(sentence)


def test_a_run_that_was_cut_short_is_unknown_and_says_so(run_dir, capsys):
    path = run_dir / "events" / "rig.jsonl"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    assert main(["check", str(run_dir)]) == 2
    shown = capsys.readouterr()
    assert "the run was cut short at" in shown.out
    assert "Traceback" not in shown.out + shown.err


def test_a_run_that_is_not_there_is_exit_64(said):
    mend = "see `ls runs/*`; the newest of each is `latest`"
    assert said("check", "no/such/run") == (64, f"expected a run directory; saw nothing at no/such/run; {mend}")
