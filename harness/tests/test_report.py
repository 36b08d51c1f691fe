"""The run directory's verdict.json and report.md, the summary line and the exit codes."""

import json

import pytest

from harness import events as ev
from harness import report
from harness.checkers import judge
from harness.errors import CorruptRun
from harness.frames import MAGIC
from harness.tests.histories import GUARANTEES, at, green, log

SUMMARY_KEYS = ["scenario", "outcome", "guarantees", "diagnosis", "recovery", "tested", "seed", "system", "run"]


def save(draft, tmp_path):
    """Write a draft as the run directory that the recorder would have left."""
    run_dir = tmp_path / "runs" / "kill-cloud[vanish]" / "20260101T000000.000Z"
    history = draft.history()
    (run_dir / "events").mkdir(parents=True)
    (run_dir / "frames").mkdir()
    (run_dir / "events" / "rig.jsonl").write_bytes(b"".join(ev.encode(e) for e in history.events))
    (run_dir / "frames" / "ears.bin").write_bytes(MAGIC + history.frames.tobytes())
    return run_dir


def test_verdict_json_of_a_green_run(tmp_path):
    run_dir = save(green().declare(*GUARANTEES, checklist=True), tmp_path)
    judgement = report.write(run_dir)
    verdict = json.loads((run_dir / "verdict.json").read_text())
    assert report.exit_code(judgement) == 0
    assert verdict["schema"] == report.SCHEMA
    assert verdict["outcome"] == "HOLDS"
    assert verdict["run"] == "runs/kill-cloud[vanish]/20260101T000000.000Z"
    assert [g["name"] for g in verdict["guarantees"]] == [
        "Resumes", "Honest", "Bounded loss", "Ordered", "Unique", "Intact", "Alive", "Clean",
    ]  # fmt: skip
    assert verdict["guarantees"][3]["sentence"] == "words come in the order spoken"
    assert verdict["tested"]["bridge"] == {"runtime": "process", "sha256": "ab12", "version": "1"}
    assert len(verdict["checklist"]) == 6
    assert verdict["timings"]["stack_start_s"] == 1.0
    assert verdict["timings"]["fault_s"] == pytest.approx(0.05)
    assert verdict["timings"]["overhead_s"] == pytest.approx(15.5 - 1.0 - 3.0 - 0.05 - 1.43)


def test_judging_twice_gives_the_same_bytes(tmp_path):
    run_dir = save(green().never_recovers(), tmp_path)
    report.write(run_dir)
    first = [(run_dir / name).read_bytes() for name in ("verdict.json", "report.md")]
    report.write(run_dir)
    assert [(run_dir / name).read_bytes() for name in ("verdict.json", "report.md")] == first
    assert not list(run_dir.glob("*.part"))


def test_summary_has_exactly_the_published_keys():
    draft = green().never_recovers().add(log(8.7, "bridge", "session already exists for this user", 9))
    line = report.summary_json(judge(draft.history()))
    assert "\n" not in line
    summary = json.loads(line)
    assert list(summary) == SUMMARY_KEYS
    assert list(summary["guarantees"][0]) == ["name", "outcome", "because", "evidence"]
    assert list(summary["diagnosis"][0]) == ["incident", "because", "evidence"]
    assert all(key.endswith("_s") for key in summary["recovery"].keys() - {"steps", "longest"})


@pytest.mark.parametrize(
    ("draft", "code"),
    [
        (green(), 0),
        (green().never_recovers(), 1),
        (green().drop(ev.Injected), 2),
        (green().add(at(5, ev.StoryRaised(error="port 9090 is taken", machine=True))), 3),
    ],
)
def test_exit_codes(draft, code):
    assert report.exit_code(judge(draft.history())) == code


def test_json_says_why_a_run_is_unknown():
    row = json.loads(report.summary_json(judge(green().drop(ev.Injected).history())))["guarantees"][0]
    why = "Vanish(cloud) began at 6.0 s and never proved that it landed"
    assert row == {"name": "preconditions", "outcome": "UNKNOWN", "because": why, "evidence": []}
    names = [g["name"] for g in json.loads(report.summary_json(judge(green().history())))["guarantees"]]
    assert "preconditions" not in names


def test_report_says_at_once_that_the_machine_is_at_fault():
    failed = green().add(at(5, ev.StoryRaised(error="port 9090 is taken", machine=True)))
    assert report.markdown(judge(failed.history())).startswith("# UNKNOWN (machine or set-up): kill-cloud[vanish]\n")
    assert report.markdown(judge(green().drop(ev.Injected).history())).startswith("# UNKNOWN: kill-cloud[vanish]\n")


def test_report_is_one_screen_with_verdict_clue_and_rerun(tmp_path):
    draft = green().never_recovers().add(log(8.7, "bridge", "session already exists for this user", 9))
    run_dir = save(draft, tmp_path)
    report.write(run_dir)
    text = (run_dir / "report.md").read_text()
    assert text.startswith("# BROKEN: kill-cloud[vanish]\n")
    assert "First clue: 8.700 s  logs/bridge.log:9  session already exists for this user" in text
    assert "injected Vanish(cloud): pid 11 exited -9" in text
    assert "rerun: `run it`" in text
    assert "logs/<component>.log" in text
    assert len(text.splitlines()) < 90


def test_terminal_text_of_each_outcome():
    assert report.text(judge(green().history())).startswith("HOLDS ")
    broken = report.text(judge(green().never_recovers().history()))
    assert "BROKEN   Resumes: no final caption of alice within 6.0 s of socket open" in broken
    unknown = report.text(judge(green().drop(ev.Injected).history()))
    assert "because      Vanish(cloud) began at 6.0 s and never proved that it landed" in unknown


def test_torn_run_is_judged_and_says_so(tmp_path):
    run_dir = save(green(), tmp_path)
    path = run_dir / "events" / "rig.jsonl"
    path.write_bytes(path.read_bytes()[:-30])
    judgement = report.write(run_dir)
    assert report.exit_code(judgement) == 2
    assert "cut short" in (run_dir / "report.md").read_text()
    assert "torn last line" in (run_dir / "report.md").read_text()


def test_run_without_a_beginning_is_corrupt(tmp_path):
    with pytest.raises(CorruptRun, match="run-started"):
        report.write(save(green().drop(ev.RunStarted), tmp_path))
