"""The command line: names, exit codes, what is shown, what is printed as JSON."""

import errno
import io
import json
from collections import Counter

import msgspec
import numpy as np
import pytest
from rich.console import Console

from harness import events as ev
from harness import report
from harness.cli import child as cli_child
from harness.cli import main
from harness.cli import run as cli_run
from harness.cli.following import Following, hop_rows, stopwatch
from harness.cli.naming import chosen
from harness.cli.news import sentence
from harness.cli.outcome import Finished, summary, worst
from harness.cli.view import PlainView, picture
from harness.clock import now_ns
from harness.errors import UsageError
from harness.frames import Flag, Hop
from harness.history import Recorder
from harness.rig.options import RigOptions
from harness.story import ScenarioInfo
from harness.tests.histories import green, ns
from harness.tests.made_up_child import child, save

KEYS = ["scenario", "outcome", "guarantees", "diagnosis", "recovery", "tested", "seed", "system", "run"]


def story():
    """Captions come back."""


STORIES = {
    "baseline": ScenarioInfo("baseline", story),
    "kill-cloud": ScenarioInfo("kill-cloud", story, "way", {"vanish": 1, "kill": 2}),
}


@pytest.fixture
def stories(monkeypatch):
    for module in ("run", "listing"):
        monkeypatch.setattr(f"harness.cli.{module}.known_scenarios", lambda: STORIES)


@pytest.fixture
def plays(monkeypatch, stories):
    """Let ``aftershock run`` start these scripts, one per run, in place of pytest."""

    def play(*scripts, run_dir=None):
        left = list(scripts)
        asked = []

        def command(scenario, path, options, verdicts):
            asked.append((scenario, options))
            return child(left.pop(0), verdicts, run_dir)

        async def healthy(runs):
            return "doctor: asked"

        monkeypatch.setattr(cli_run, "command", command)
        monkeypatch.setattr(cli_run, "what_is_lacking", healthy)
        return asked

    return play


# --- names and wrong use ---


def test_a_bare_name_is_the_first_variant():
    assert [one for one, _ in chosen(["kill-cloud", "baseline", "kill-cloud[kill]"], STORIES)] == [
        "kill-cloud[vanish]", "baseline", "kill-cloud[kill]",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("word", "mend"),
    [
        ("kill-clout", "did you mean kill-cloud?"),
        ("zzz", "aftershock list shows them"),
        ("kill-cloud[kil]", "did you mean kill?"),
        ("kill-cloud[zzz]", "known: vanish, kill"),
        ("kill-cloud[kill", "did you mean kill?"),
        ("baseline[kill]", "write baseline"),
    ],
)
def test_an_unknown_name_says_what_is_near(word, mend):
    with pytest.raises(UsageError) as caught:
        chosen([word], STORIES)
    assert str(caught.value).endswith(mend)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "kill-clout"], "did you mean kill-cloud?"),
        (["run", "baseline", "--system", "refernc"], 'did you mean "reference"?'),
        (["run", "baseline", "--defect", "bridge:refuse-existing-sesion"], "refuse-existing-session"),
        (["run", "baseline", "--set", "brdge.image=x"], 'did you mean "bridge"?'),
        (["run", "baseline", "--profile", "slow"], "known: real-timers, short"),
        (["run", "baseline", "--sytem", "x"], "--system"),
        (["run", "baseline", "--repeat", "0"], "greater than or equal to 1"),
        (["run"], "SCENARIO"),
        (["rum", "baseline"], "rum"),
        (["check", "nowhere/at/all"], "expected a run directory; saw nothing at nowhere/at/all"),
        ([], ""),
    ],
)
def test_wrong_use_is_one_sentence_and_exit_64(words, said, stories, plays, capsys):
    asked = plays()
    assert main(words) == 64
    shown = capsys.readouterr()
    assert said in shown.err
    assert "Traceback" not in shown.err
    assert not asked, "something was started"


def test_a_system_file_that_is_no_toml_is_exit_3(tmp_path, stories, capsys):
    (tmp_path / "mine.toml").write_text("components = [")
    assert main(["run", "baseline", "--system", str(tmp_path / "mine.toml")]) == 3
    assert "expected a TOML file" in capsys.readouterr().err


def test_list_names_variants_and_promise(stories, capsys):
    assert main(["list"]) == 0
    assert capsys.readouterr().out == (
        "baseline\n    Captions come back.\nkill-cloud[vanish|kill]\n    Captions come back.\n"
    )
    assert main(["list", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[1]["ids"] == ["kill-cloud[vanish]", "kill-cloud[kill]"]


# --- runs ---


def test_a_run_that_holds_is_exit_0(plays, tmp_path, capsys):
    asked = plays("start(); end()", run_dir=save(green(), tmp_path / "r"))
    assert main(["run", "kill-cloud", "--seed", "7", "--runs", str(tmp_path), "--defect", "mute"]) == 0
    shown = capsys.readouterr().out
    assert "[  6.1 s] Injected Vanish(cloud): pid 11 exited -9" in shown
    assert "HOLDS    Resumes" in shown
    assert str(tmp_path / "r") in shown
    (scenario, options), = asked  # fmt: skip
    assert scenario == "kill-cloud[vanish]"
    assert (options.seed, options.runs, options.defects) == (7, tmp_path, ("mute",))


def test_json_is_one_line_per_run_and_a_summary(plays, tmp_path, capsys):
    run_dir = save(green().never_recovers(), tmp_path / "r")
    asked = plays("start(); end()", "print('SKIPPED [1] a.py:3: bridge cannot be killed')", run_dir=run_dir)
    assert main(["run", "kill-cloud", "--repeat", "2", "--seed", "5", "--json"]) == 1
    shown = capsys.readouterr()
    first, second, last = [json.loads(line) for line in shown.out.splitlines()]
    assert list(first) == list(second) == KEYS
    assert first["outcome"] == "BROKEN"
    assert first["run"] == str(run_dir)
    assert second["outcome"] == "UNKNOWN"
    assert second["guarantees"][0]["because"] == "skipped: bridge cannot be killed"
    assert last == {
        "summary": True, "outcome": "BROKEN", "runs": 2, "holds": 0, "broken": 1, "unknown": 0, "skipped": 1,
        "machine": 0, "exit": 1,
    }  # fmt: skip
    assert [options.seed for _, options in asked] == [5, 6]
    assert "Injected" in shown.err


@pytest.mark.parametrize(
    ("script", "code", "said"),
    [
        ("print('SKIPPED [1] a.py:3: bridge cannot be killed')", 2, "skipped: bridge cannot be killed"),
        ("print('no port'); sys.exit(3)", 3, "the run did not start\n  | no port"),
        ("print('ImportError'); sys.exit(2)", 3, "  | ImportError"),
        ("print('unknown defect'); sys.exit(64)", 64, "  | unknown defect"),
        ("killed()", 2, "the run was ended from outside by SIGKILL before it began"),
        ("start(); killed()", 2, "the run was ended from outside by SIGKILL; judged by what is on disk"),
        ("start(); sys.exit(1)", 2, "the run ended without a verdict (pytest exit 1)"),
        ("start(); end(); print('teardown'); sys.exit(1)", 2, "the story's own test failed (pytest exit 1)"),
    ],
)
def test_a_run_without_a_plain_verdict_never_passes(script, code, said, plays, tmp_path, capsys):
    plays(script, run_dir=save(green(), tmp_path / "r"))
    assert main(["run", "baseline"]) == code
    shown = capsys.readouterr()
    assert said in shown.out
    assert ("doctor: asked" in shown.err) is (code == 3)


def test_a_verdict_that_finds_the_disk_full_is_one_sentence(plays, tmp_path, capsys, monkeypatch):
    def full(run_dir):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(report, "write", full)
    plays("start(); killed()", run_dir=save(green(), tmp_path / "r"))
    assert main(["run", "baseline"]) == 3
    assert "saw No space left on device; free space there, or use --runs" in capsys.readouterr().out


def test_a_corrupt_run_is_exit_2_with_the_sentence(plays, tmp_path, capsys):
    run_dir = save(green(), tmp_path / "r")
    with (run_dir / "events" / "rig.jsonl").open("ab") as file:
        file.write(b"{nonsense}\n")
    plays("start(); end()", run_dir=run_dir)
    assert main(["run", "baseline"]) == 2
    assert "damaged in the middle" in capsys.readouterr().out
    assert main(["check", str(run_dir)]) == 2
    assert "damaged in the middle" in capsys.readouterr().err


def test_the_child_knows_everything_that_was_asked(tmp_path):
    options = RigOptions(
        system="mine", sets=("a.b=c d",), defects=("x:y", "z:w"), seed=9, runs=tmp_path, livekit_server="/l",
    )  # fmt: skip
    words = cli_child.command("kill-cloud[kill]", "/s/test_cloud.py", options, tmp_path / "v")
    wanted = {"--scenario=kill-cloud[kill]", "--system=mine", "--profile=short", "--seed=9", "--set=a.b=c d"}
    wanted |= {"--defect=x:y", "--defect=z:w", "--livekit-server=/l", f"--runs={tmp_path}", "/s/test_cloud.py"}
    assert wanted <= set(words)


# --- check ---


def test_check_judges_again_and_changes_nothing(tmp_path, capsys):
    run_dir = save(green().never_recovers(), tmp_path / "runs" / "x" / "1")
    (run_dir.parent / "latest").symlink_to("1")
    before = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    assert main(["check", str(run_dir.parent / "latest")]) == 1
    assert "BROKEN   Resumes" in capsys.readouterr().out
    assert main(["check", str(run_dir), "--json"]) == 1
    assert list(json.loads(capsys.readouterr().out)) == KEYS
    assert {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()} == before
    assert main(["check", str(run_dir), "--write"]) == 1
    assert json.loads((run_dir / "verdict.json").read_text())["outcome"] == "BROKEN"
    assert all(path.read_bytes() == content for path, content in before.items())


def test_check_of_a_folder_of_runs_points_at_latest(tmp_path, capsys):
    save(green(), tmp_path / "x" / "1")
    (tmp_path / "x" / "latest").symlink_to("1")
    assert main(["check", str(tmp_path / "x")]) == 64
    assert f"write for example {tmp_path / 'x' / 'latest'}" in capsys.readouterr().err


# --- what decides ---


@pytest.mark.parametrize(
    ("codes", "decides"), [([0, 0], 0), ([0, 2, 0], 2), ([2, 1, 0], 1), ([1, 3, 2], 3), ([2, 0], 2), ([], 0)]
)
def test_the_worst_decides(codes, decides):
    assert worst(codes) == decides


def test_the_summary_counts_every_run_once():
    runs = [Finished("x", code, "", {}) for code in (0, 0, 1, 2, 3)] + [Finished("x", 2, "", {}, skipped=True)]
    counted = summary(runs, 3)
    assert [counted[word] for word in ("holds", "broken", "unknown", "skipped", "machine")] == [2, 1, 1, 1, 1]
    assert (counted["runs"], counted["outcome"], counted["exit"]) == (6, "UNKNOWN", 3)


# --- the live view ---


def test_the_run_is_followed_while_it_is_written(tmp_path):
    recorder = Recorder(tmp_path, "r1", "rig")
    seen = Following(tmp_path)
    assert seen.look() == []
    start_ns = now_ns()
    started = ev.RunStarted(scenario="x", seed=1, profile="short", system="s", epoch_ns=start_ns, timers={})
    recorder.emit(started, t_ns=start_ns)
    recorder.emit(ev.Step(text="alice talks"), t_ns=start_ns + 1)
    assert [type(e) for e in seen.look()] == [ev.RunStarted, ev.Step]
    recorder.emit(ev.Injected(number=1, fault="Kill(cloud)", proof="pid 4711 exited -9"), t_ns=start_ns + 12 * 10**9)
    recorder.frames(Hop.SFU, 7, np.arange(50, dtype=np.uint32), t_ns=start_ns + 12 * 10**9)
    recorder.frames(Hop.PHONE_OUT, 7, np.arange(2, dtype=np.uint32), int(Flag.SENT), t_ns=start_ns + 12 * 10**9)
    out = io.StringIO()
    PlainView(out).update(seen, seen.look())
    assert out.getvalue() == "[ 12.0 s] Injected Kill(cloud): pid 4711 exited -9\n"
    assert seen.step == "alice talks"
    rows = {hop: (rate, total) for hop, rate, total in hop_rows(seen, start_ns + int(12.5e9))}
    assert rows["sfu"] == ("50 frames/s", "50 frames")
    assert rows["phone-out"] == ("-", "not observed"), "a second stamp of a frame is no second frame"
    assert seen.frames.per_second("sfu", start_ns + 20 * 10**9) == 0
    assert seen.look() == []


def test_the_stopwatch_stops_at_the_first_caption_for_words_spoken_after_the_anchor(tmp_path):
    seen = Following(save(green(), tmp_path / "r"))
    seen.look()
    assert seen.anchor_ns == ns(8.6)
    assert seen.back_ns == ns(10.03)
    assert stopwatch(seen, ns(14)) == "fault landed 7.9 s ago, captions back 1.43 s after the anchor"
    seen.back_ns = 0
    assert stopwatch(seen, ns(14)) == "fault landed 7.9 s ago, captions owed for 5.4 s"


def test_the_picture_shows_hops_fault_and_stopwatch(tmp_path):
    seen = Following(save(green(), tmp_path / "r"))
    seen.look()
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(picture("kill-cloud[vanish]", seen, ns(14)))
    shown = console.export_text()
    for word in ("kill-cloud[vanish]", "bridge-out", "not observed", "fault  Vanish(cloud)", "captions back"):
        assert word in shown
    assert Counter(line.split()[0] for line in shown.splitlines())["phone-display"] == 1


def test_a_damaged_file_does_not_end_the_view(tmp_path):
    run_dir = save(green(), tmp_path / "r")
    (run_dir / "events" / "links.jsonl").write_bytes(b"{nonsense}\n")
    assert len(Following(run_dir).look()) > 10


def test_what_the_teardown_ends_is_no_news():
    exited = ev.ComponentExited(component="cloud", identity="pid 1", exit_text="exited 0", by_us=True)
    assert sentence(exited) is None
    on_its_own = msgspec.structs.replace(exited, by_us=False)
    assert sentence(on_its_own) == "cloud exited 0 outside any fault"
    assert sentence(ev.Lag(lag_ms=300)) is None


def test_progress_of_the_start_is_news_and_notes_of_the_ears_are_not(tmp_path):
    assert sentence(ev.Note(text="building the LiveKit server", proc="rig")) == "building the LiveKit server"
    assert sentence(ev.Note(text="some detail", proc="ears")) is None
    Recorder(tmp_path, "r1", "rig").emit(ev.Note(text="building the LiveKit server"))
    seen = Following(tmp_path)
    seen.look()
    assert seen.step == "building the LiveKit server"
