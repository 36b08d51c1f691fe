"""The confusion matrix: what is counted, what is off the diagonal, and where the reasons come from."""

import json

import pytest

from harness.errors import MachineError
from harness.prove.confusion import confusion, own_incidents, read_reasons, write_confusion
from harness.prove.lines import append
from harness.prove.plan import Case
from harness.reference.defects import DEFECTS

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
    cells = confusion(tmp_path, [FIXED, DEFECT], "t1", reasons)
    assert [(c.diagnosed, c.runs, c.on_diagonal, c.reason) for c in cells] == [
        ("zombie-first-connect", 1, False, "one switch, two incidents"),
        ("join-refused-existing-session", 1, True, ""),
        ("UNKNOWN", 1, False, ""),
    ]
    write_confusion(tmp_path, cells, "t1")
    text = (tmp_path / "confusion.md").read_text()
    assert "| `bridge:refuse-existing-session` | **1** | 1 | 1 |" in text
    assert "1. `join-refused-existing-session`\n2. `zombie-first-connect`\n3. `UNKNOWN`" in text
    assert "| `UNKNOWN` | 1 | kill-cloud[vanish] | **not explained** |" in text
    assert json.loads((tmp_path / "confusion.json").read_text())["cells"][0]["reason"] == "one switch, two incidents"


def test_reasons_of_the_plan_name_defects_that_there_are():
    for defects, diagnosed in read_reasons():
        assert set(defects) <= set(DEFECTS)
        assert diagnosed not in own_incidents(defects), "on the diagonal nothing needs a reason"


def test_a_reason_that_cannot_be_used_says_why(tmp_path):
    (tmp_path / "plan.toml").write_text('[[confusion]]\ndefects = []\nbecause = "x"')
    with pytest.raises(MachineError, match="expected defects, diagnosed, reason in each confusion row"):
        read_reasons(tmp_path / "plan.toml")
