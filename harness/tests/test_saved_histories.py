"""Histories of real runs are kept, and must be judged for ever as they were: caught stays caught, sound stays sound."""

import shutil

import msgspec
import pytest

from harness import events as ev
from harness.checkers import judge
from harness.history import History
from harness.settings import PROJECT_ROOT

HISTORIES = PROJECT_ROOT / "fixtures" / "histories"
SILENT = {"resumes", "bounded_loss"}
DEFECTIVE = {
    "app-close-ignored": (SILENT | {"honest"}, "app-runs-but-deaf"),
    "app-not-restarted": (SILENT | {"honest"}, "apps-not-restarted-on-reconnect"),
    "bridge-back-too-late": (SILENT | {"clean"}, "bridge-restart-slower-than-retry"),
    "bridge-panics": (SILENT | {"alive", "contained"}, "bridge-panic-closed-channel"),
    "bridge-waits-at-sigterm": ({"alive"}, "bridge-sigterm-hangs"),
    "bytes-exchanged": ({"honest", "intact", "resumes"}, "pcm-byte-order"),
    "keepalives-as-health": ({"honest"}, "stt-keepalive-false-health"),
    "live-session-disposed": ({"bounded_loss", "clean", "honest"}, "old-close-disposes-live-session"),
    "livekit-away-at-join": (SILENT | {"clean"}, "sfu-down-at-join"),
    "microphone-stays-off": (SILENT, "mic-state-lost-while-away"),
    "phone-without-room": (SILENT, "phone-fails-room-rejoin"),
    "stream-ended": (SILENT | {"clean"}, "stream-end-not-retried"),
    "stt-never-opened": (SILENT | {"honest"}, "stt-down-at-subscribe"),
    "stt-not-opened-again": (SILENT, "stt-close-not-recreated"),
    "two-clients-quarrel": ({"bounded_loss"}, "orphan-client-ping-pong"),
}
"""Folder of a history with one defect: the guarantees that are BROKEN, and the only incident that may be named."""
MADE_WORSE = {"live-session-disposed": ["stt-keepalive-false-health"]}
"""What may be named besides: the cloud's health said fine while the disposed session heard nothing."""
KEPT = {
    "zombie-told-to-nobody": ("BROKEN", {"resumes", "bounded_loss", "honest"}, "zombie-first-connect"),
    "reconnect-refused": ("BROKEN", {"resumes", "bounded_loss"}, "join-refused-existing-session"),
    "mute-bridge": ("BROKEN", {"resumes"}, "silent-audio-gap"),
    "zombie-replaced": ("HOLDS", set(), None),
    **{name: ("BROKEN", broken, incident) for name, (broken, incident) in DEFECTIVE.items()},
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


@pytest.mark.parametrize("name", DEFECTIVE)
def test_no_other_incident_is_named(name):
    judgement = judge(History.load(HISTORIES / name))
    assert [d.incident for d in judgement.diagnosis] == [DEFECTIVE[name][1], *MADE_WORSE.get(name, [])]
