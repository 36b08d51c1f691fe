"""Histories of real runs are kept, and must be judged for ever as they were: caught stays caught, sound stays sound."""

import shutil

import msgspec
import pytest

from harness import events as ev
from harness.checkers import judge
from harness.history import History
from harness.settings import PROJECT_ROOT

HISTORIES = PROJECT_ROOT / "fixtures" / "histories"
KEPT = {
    "zombie-told-to-nobody": ("BROKEN", {"resumes", "bounded_loss", "honest"}, "zombie-first-connect"),
    "reconnect-refused": ("BROKEN", {"resumes", "bounded_loss"}, "join-refused-existing-session"),
    "mute-bridge": ("BROKEN", {"resumes"}, "silent-audio-gap"),
    "zombie-replaced": ("HOLDS", set(), None),
}
"""Folder of a history: outcome, the guarantees that are BROKEN, the incident named first."""


def test_every_kept_history_is_judged():
    assert {path.name for path in HISTORIES.iterdir()} == set(KEPT)


@pytest.mark.parametrize("name", KEPT)
def test_a_kept_history_is_judged_as_it_was(name):
    outcome, broken, incident = KEPT[name]
    judgement = judge(History.load(HISTORIES / name))
    assert str(judgement.outcome) == outcome
    assert {v.guarantee for v in judgement.verdicts if str(v.outcome) == "BROKEN"} == broken
    assert [d.incident for d in judgement.diagnosis][:1] == ([incident] if incident else [])


def test_a_history_without_its_end_is_unknown(tmp_path):
    shutil.copytree(HISTORIES / "zombie-replaced", tmp_path / "run")
    lines = (tmp_path / "run" / "events" / "rig.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "run" / "events" / "rig.jsonl").write_bytes(b"".join(lines[:-2]) + lines[-2][:20])
    judgement = judge(History.load(tmp_path / "run"))
    assert str(judgement.outcome) == "UNKNOWN"
    assert any("cut short" in why for why in judgement.preconditions)


def test_a_zombie_that_was_promised_and_not_there_is_unknown():
    history = History.load(HISTORIES / "zombie-replaced")
    nothing = ev.Gate(user="alice@example.com", outcome="none", promised=True, detail="")
    without = [msgspec.structs.replace(nothing, t_ns=e.t_ns) if isinstance(e, ev.Gate) else e for e in history.events]
    judgement = judge(History.of(without, history.frames))
    assert str(judgement.outcome) == "UNKNOWN"
    assert any("no zombie made" in why for why in judgement.preconditions)
