"""The confusion matrix: what is counted, what is off the diagonal, and where the reasons come from."""

import json
from dataclasses import replace

import pytest

from harness.errors import MachineError
from harness.prove import __main__ as prove
from harness.prove.confusion import confusion, confusion_table, own_incidents, read_reasons, write_confusion
from harness.prove.lines import append
from harness.prove.plan import Case, read_plan
from harness.reference.defects import DEFECTS
from harness.settings import PROJECT_ROOT

FIXED = Case("kill-cloud[vanish]", "HOLDS", 3)
DEFECT = Case(
    "kill-cloud[vanish]", "BROKEN", 2, ("bridge:refuse-existing-session",), ("Honest", "Resumes"),
    "zombie-first-connect",
)  # fmt: skip


def test_the_matrix_counts_what_was_named_first_and_wants_reasons_off_the_diagonal(tmp_path):
    for outcome, incident in (("BROKEN", "zombie-first-connect"), ("BROKEN", "join-refused-existing-session")):
        append(tmp_path, DEFECT, {"tree": "t1", "outcome": outcome, "diagnosis": incident})
    append(tmp_path, DEFECT, {"tree": "t1", "outcome": "UNKNOWN", "diagnosis": ""})
    append(tmp_path, DEFECT, {"tree": "t0", "outcome": "BROKEN", "diagnosis": "x"})
    append(tmp_path, FIXED, {"tree": "t1", "outcome": "HOLDS", "diagnosis": ""})
    reasons = {(DEFECT.defects, "zombie-first-connect"): "one switch, two incidents"}
    matrix = confusion(tmp_path, [FIXED, DEFECT], "t1", reasons)
    assert (matrix.cases, matrix.lacking, matrix.explained) == (1, 0, False)
    assert [(c.diagnosed, c.runs, c.on_diagonal, c.reason) for c in matrix.cells] == [
        ("zombie-first-connect", 1, False, "one switch, two incidents"),
        ("join-refused-existing-session", 1, True, ""),
        ("UNKNOWN", 1, False, ""),
    ]
    write_confusion(tmp_path, matrix)
    text = (tmp_path / "confusion.md").read_text()
    assert "| `bridge:refuse-existing-session` | **1** | 1 | 1 |" in text
    assert "1. `join-refused-existing-session`\n2. `zombie-first-connect`\n3. `UNKNOWN`" in text
    assert "| `UNKNOWN` | 1 | kill-cloud[vanish] | **not explained**: the plan expects something else of 1 |" in text
    assert json.loads((tmp_path / "confusion.json").read_text())["cells"][0]["reason"] == "one switch, two incidents"


def test_reasons_of_the_plan_name_defects_that_there_are():
    for defects, diagnosed in read_reasons():
        assert set(defects) <= set(DEFECTS)
        assert len(defects) > 1 or diagnosed not in own_incidents(defects), "on the diagonal nothing needs a reason"


def test_what_the_plan_expects_is_all_explained(monkeypatch):
    monkeypatch.setattr(
        "harness.prove.confusion.lines_of",
        lambda _, case, __: [{"outcome": case.outcome, "diagnosis": case.diagnosis}] * case.times,
    )
    matrix = confusion(PROJECT_ROOT, read_plan(), "t1", read_reasons())
    assert matrix.lacking == 0
    assert [(cell.defects, cell.diagnosed) for cell in matrix.cells if not cell.explained] == []


def test_a_reason_that_cannot_be_used_says_why(tmp_path):
    (tmp_path / "plan.toml").write_text('[[confusion]]\ndefects = []\nbecause = "x"')
    with pytest.raises(MachineError, match="expected defects, diagnosed, reason in each confusion row"):
        read_reasons(tmp_path / "plan.toml")


def kept(proof, case, *diagnoses):
    for diagnosis in diagnoses:
        append(proof, case, {"tree": "t1", "outcome": "BROKEN" if diagnosis else "HOLDS", "diagnosis": diagnosis})


def test_a_reason_excuses_only_what_the_plan_expects_of_a_case(tmp_path):
    control = replace(DEFECT, scenario="kill-cloud[kill]", outcome="HOLDS", broken=(), diagnosis="", times=1)
    reasons = {(DEFECT.defects, "zombie-first-connect"): "one switch", (DEFECT.defects, "none"): "a control"}
    kept(tmp_path, control, "")
    kept(tmp_path, DEFECT, "zombie-first-connect", "zombie-first-connect")
    matrix = confusion(tmp_path, [DEFECT, control], "t1", reasons)
    assert matrix.explained
    assert (matrix.cells[-1].runs, matrix.cells[-1].reason) == (0, "one switch; a control"), "why nothing is on it"
    kept(tmp_path, DEFECT, "")
    astray = confusion(tmp_path, [DEFECT, control], "t1", reasons)
    assert not astray.explained
    assert "| **not explained**: the plan expects something else of 1 |" in confusion_table(astray)


def test_a_0_on_the_diagonal_wants_a_reason_once_all_verdicts_are_there(tmp_path):
    both = replace(DEFECT, defects=("bridge:refuse-existing-session", "bridge:keep-session-on-stream-error"), times=2)
    row = tuple(sorted(both.defects))
    kept(tmp_path, both, "zombie-first-connect")
    assert confusion(tmp_path, [both], "t1", {}).explained, "the other may come yet"
    kept(tmp_path, both, "zombie-first-connect")
    matrix = confusion(tmp_path, [both], "t1", {})
    assert not matrix.explained
    assert "| `join-refused-existing-session` | 0 | kill-cloud[vanish] | **not explained** |" in confusion_table(matrix)
    never = {(row, "join-refused-existing-session"): "met at the first join"}
    assert confusion(tmp_path, [both], "t1", never).explained


@pytest.fixture
def plan_of(tmp_path, monkeypatch):
    """Give a switch for the plan, and let the tree be t1, its proof here."""
    monkeypatch.setattr(prove, "PROOF", tmp_path)
    monkeypatch.setattr(prove, "tree_hash", lambda _: "t1")
    return lambda *cases: monkeypatch.setattr(prove, "read_plan", lambda: cases)


def test_a_matrix_of_too_few_verdicts_is_not_done(tmp_path, plan_of, capsys):
    mute = Case("baseline", "BROKEN", 2, ("bridge:mute",), ("Resumes",), min(own_incidents(["bridge:mute"])))
    plan_of(FIXED, mute)
    assert prove.main(["--matrix"]) == 2
    assert "1 of 1 cases with defects lack verdicts of this tree. Nothing was written." in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    kept(tmp_path, mute, mute.diagnosis)
    assert prove.main(["--matrix"]) == 2
    assert "1 of 1 cases with defects lack verdicts of this tree." in (tmp_path / "confusion.md").read_text()
    kept(tmp_path, mute, mute.diagnosis)
    assert prove.main(["--matrix"]) == 0
    assert "lack verdicts" not in (tmp_path / "confusion.md").read_text()
    kept(tmp_path, mute, "")
    assert prove.main(["--matrix"]) == 1


@pytest.mark.parametrize("words", [["--only", "baseline"], ["--under-load"]])
def test_a_matrix_is_of_the_whole_plan(plan_of, words, capsys):
    plan_of(replace(DEFECT, under_load=True))
    assert prove.main(["--matrix", *words]) == 64
    assert "expected --matrix alone" in capsys.readouterr().err
