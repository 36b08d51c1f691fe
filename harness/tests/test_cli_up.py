"""A stack left standing: what is said of it, how its end is heard, and how a kept run is shown."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from harness import events as ev
from harness.cli import keeping, main
from harness.cli import run as cli_run
from harness.history import History, Recorder
from harness.rig.options import RigOptions
from harness.rig.standing import Front, Hold, Standing, StandingPart
from harness.story import ScenarioInfo
from harness.tests.histories import green
from harness.tests.made_up_child import child, save


def story():
    """Captions come back."""


STANDING = Standing(
    run="up-1", run_dir="/runs/up/1", system="reference",
    parts=(
        StandingPart("cloud", "process", "4711", None, {"http": "127.1.2.3:80"}, "/runs/up/1/logs/cloud.log"),
        StandingPart("bridge", "container", "abc", "aftershock-up-1-bridge", {"grpc": "172.18.0.2:9090"}, "/b.log"),
    ),
    links={"phone->cloud": Front("127.1.2.3:8001", "cloud.http")},
    phone="aftershock phone --stack up-1 --user alice@example.com",
)  # fmt: skip
"""What `up` could have started."""
FACTS = json.dumps(STANDING.facts())


@pytest.mark.parametrize(
    "said",
    [
        "/runs/up/1\n", "http 127.1.2.3:80", "process 4711, log /runs/up/1/logs/cloud.log",
        "container aftershock-up-1-bridge, log /b.log", "phone->cloud  127.1.2.3:8001  (to cloud.http)",
        "\n    aftershock phone --stack up-1 --user alice@example.com\n", "Ctrl-C ends it",
    ],
)  # fmt: skip
def test_every_address_log_and_the_phones_command_are_told(said):
    assert said in STANDING.text()


def test_what_a_child_tells_as_json_is_shown_the_same():
    assert Standing.from_facts(json.loads(FACTS)) == STANDING


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_hold_tells_what_ends_by_itself_and_ends_with_a_signal(tmp_path, number):
    recorder = Recorder(tmp_path, "r", "rig")
    recorder.emit(ev.ComponentExited(component="old", identity="1", exit_text="exited 0", by_us=False))
    hold = Hold(recorder, list)
    told: list[str] = []
    waiting = asyncio.create_task(hold.wait(told.append))
    try:
        recorder.emit(ev.ComponentExited(component="bridge", identity="12", exit_text="exited -9", by_us=False))
        recorder.emit(ev.ComponentExited(component="cloud", identity="13", exit_text="exited -9", by_us=True))
        await asyncio.sleep(0.25)
        assert told == [f"bridge (12) exited -9; its log: {tmp_path}/logs/bridge.log"]
        assert not waiting.done()
        os.kill(os.getpid(), number)
        await asyncio.wait_for(waiting, 1)
    finally:
        hold.close()


def test_what_comes_after_a_kept_runs_verdict_is_not_judged(tmp_path):
    run_dir = save(green(), tmp_path / "run")
    before = History.load(run_dir)
    recorder = Recorder(run_dir, "r", "after")
    recorder.emit(ev.Kept(), t_ns=before.end_ns + 1)
    recorder.emit(
        ev.ComponentExited(component="bridge", identity="1", exit_text="exited 1", by_us=False), t_ns=before.end_ns + 2
    )
    after = History.load(run_dir)
    assert after.events[:-1] == before.events
    assert isinstance(after.events[-1], ev.Kept)
    assert len(after.frames) == len(before.frames)


def test_a_file_of_verdicts_gets_one_line_a_word(tmp_path):
    options = RigOptions(verdicts=tmp_path / "v")
    options.tell("start", tmp_path)
    options.tell("news", "two\nlines")
    assert (tmp_path / "v").read_text() == f"start {tmp_path}\nnews two lines\n"


# --- run --keep ---


@pytest.fixture
def keeps(monkeypatch, tmp_path):
    """Let ``aftershock run baseline --keep`` start a script whose run holds, in place of pytest."""
    stories = {"baseline": ScenarioInfo("baseline", story), "other": ScenarioInfo("other", story)}
    monkeypatch.setattr("harness.cli.run.known_scenarios", lambda: stories)
    run_dir = save(green(), tmp_path / "run")

    def start(script):
        stand = f"open(sys.argv[1], 'a').write({'standing ' + FACTS + chr(10)!r})"

        def command(scenario, path, options, verdicts):
            assert options.keep
            return [*child(script.replace("stand()", stand), verdicts, run_dir), str(verdicts)]

        monkeypatch.setattr(cli_run, "command", command)
        return run_dir

    return start


WAITS = """
got = []
signal.signal(signal.SIGINT, lambda *_: got.append(1))
start(); end(); stand()
while not got: time.sleep(0.01)
"""


def interrupt_once_standing(monkeypatch):
    """Send ourselves SIGINT as soon as the addresses were printed."""
    standing = keeping.KeptRun.standing

    def then_interrupt(self, run_dir: Path, facts: str):
        standing(self, run_dir, facts)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(keeping.KeptRun, "standing", then_interrupt)


def test_a_kept_runs_verdict_comes_first_and_its_end_is_no_interruption(keeps, monkeypatch, capsys):
    keeps(WAITS)
    interrupt_once_standing(monkeypatch)
    assert main(["run", "baseline", "--keep"]) == 0
    shown = capsys.readouterr()
    assert shown.out.index("HOLDS") < shown.out.index("standing  reference")
    assert shown.out.count("HOLDS    Unique") == 1
    assert "interrupted" not in shown.err


def test_a_kept_run_as_json_is_three_lines(keeps, monkeypatch, capsys):
    keeps(WAITS)
    interrupt_once_standing(monkeypatch)
    assert main(["run", "baseline", "--keep", "--json"]) == 0
    verdict, standing, summary = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (verdict["outcome"], standing["phone"], summary["exit"]) == ("HOLDS", STANDING.phone, 0)


@pytest.mark.parametrize(
    ("after", "code", "said"),
    [
        ("open(sys.argv[1], 'a').write('left process 12\\n')", 0, "process 12\n"),
        ("killed()", 0, "the run's janitor ends what is left"),
        ("print('boom'); sys.exit(1)", 2, "the story's own test failed (pytest exit 1)\n  | boom"),
    ],
    ids=["left-over", "killed", "test-fails-later"],
)
def test_what_happens_to_a_kept_stack_is_told_once_its_verdict_was(keeps, capsys, after, code, said):
    keeps(f"start(); end(); stand()\ntime.sleep(0.3)\n{after}")
    assert main(["run", "baseline", "--keep"]) == code
    assert said in capsys.readouterr().err


def test_a_story_that_was_not_kept_is_shown_as_ever(keeps, capsys):
    keeps("start(); end()")
    assert main(["run", "baseline", "--keep"]) == 0
    assert capsys.readouterr().out.count("HOLDS    Unique") == 1


@pytest.mark.parametrize("words", [["baseline", "other"], ["baseline", "--repeat", "2"]])
def test_only_one_run_can_be_kept(keeps, capsys, words):
    assert main(["run", *words, "--keep"]) == 64
    assert "expected one run to keep; saw 2 of them" in capsys.readouterr().err


# --- up ---


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--system", "refernc"], 64, 'did you mean "reference"?'),
        (["--set", "brdge.image=x"], 64, 'did you mean "bridge"?'),
        (["--runs", "/dev/null/runs"], 3, "expected a writable runs directory"),
        (["baseline"], 64, "baseline"),
    ],
)
def test_up_that_cannot_start_is_one_sentence(capsys, words, code, said):
    assert main(["up", *words]) == code
    shown = capsys.readouterr().err
    assert said in shown
    assert "Traceback" not in shown
