"""The recorder loses nothing that returned; the history reads it back, cuts torn ends, refuses corrupt middles."""

import numpy as np
import pytest

from harness import events as ev
from harness import frames as fr
from harness.errors import CorruptRun
from harness.history import History, Recorder


@pytest.fixture
def run_dir(tmp_path):
    recorder = Recorder(tmp_path, "r1", "rig")
    recorder.emit(ev.Step(text="alice starts talking"), t_ns=5)
    recorder.emit(ev.Note(text='token=secretvalue and {"token":"abcdef"}'), t_ns=3)
    recorder.frames(fr.Hop.SFU, 7, np.arange(3, dtype="u4"), t_ns=9)
    recorder.frames(fr.Hop.PHONE_OUT, 7, np.arange(3, dtype="u4"), int(fr.Flag.SENT), t_ns=4)
    recorder.close()
    return tmp_path


def test_reads_back_in_order_of_time(run_dir):
    history = History.load(run_dir)
    assert [type(e) for e in history.events] == [ev.Note, ev.Step]
    assert list(history.frames["t_ns"]) == [4] * 3 + [9] * 3
    assert list(history.at_hop(fr.Hop.SFU, 7)["index"]) == [0, 1, 2]
    assert len(history.at_hop(fr.Hop.PHONE_OUT)) == 0


def test_masks_secrets(run_dir):
    text = (run_dir / "events" / "rig.jsonl").read_text()
    assert "secretvalue" not in text
    assert "abcdef" not in text


def test_cuts_a_torn_end_with_a_note(run_dir):
    with (run_dir / "events" / "rig.jsonl").open("ab") as file:
        file.write(b'{"kind":"st')
    with (run_dir / "frames" / "rig.bin").open("ab") as file:
        file.write(b"12345")
    history = History.load(run_dir)
    assert len(history.events) == 2
    assert len(history.frames) == 6
    assert len(history.notes) == 2


def test_refuses_a_corrupt_middle(run_dir):
    path = run_dir / "events" / "rig.jsonl"
    path.write_bytes(b"garbage\n" + path.read_bytes())
    with pytest.raises(CorruptRun, match=r"rig\.jsonl line 1"):
        History.load(run_dir)


def test_refuses_corrupt_frames(run_dir):
    path = run_dir / "frames" / "rig.bin"
    data = bytearray(path.read_bytes())
    data[16 + 14] = 200
    path.write_bytes(bytes(data))
    with pytest.raises(CorruptRun, match="hop 200"):
        History.load(run_dir)


def test_refuses_an_empty_directory(tmp_path):
    with pytest.raises(CorruptRun, match="saw none"):
        History.load(tmp_path)


def test_kinds_come_in_order_of_time_and_at_one_moment_in_order_of_the_record():
    told: list[ev.AnyEvent] = [
        ev.Note(text="b", t_ns=2), ev.Step(text="c", t_ns=2), ev.Anchor(person="p", name="x", moment_ns=1, t_ns=2),
        ev.Note(text="d", t_ns=2), ev.Step(text="a", t_ns=1),
    ]  # fmt: skip
    history = History.of(told)
    assert [getattr(e, "text", "") for e in history.iter(ev.Step, ev.Note)] == ["a", "b", "c", "d"]
    assert list(history.iter(ev.Event)) == list(history.events)
    assert [e.text for e in history.all(ev.Note)] == ["b", "d"]
    assert history.all(ev.Gate) == ()


def test_asked_again_the_same_is_answered(run_dir):
    history = History.load(run_dir)
    for speaker in (None, 7, 8):
        assert list(history.at_hop(fr.Hop.SFU, speaker)) == list(history.at_hop(fr.Hop.SFU, speaker))
    assert [len(history.at_hop(fr.Hop.SFU, speaker)) for speaker in (7, 8, None, 7)] == [3, 0, 3, 3]
    with pytest.raises(ValueError, match="read-only"):
        history.at_hop(fr.Hop.SFU)["index"] = 5
