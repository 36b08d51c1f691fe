"""An ear records every frame with its damage, and says when it is deaf."""

import pytest

from harness import events as ev
from harness.ears.hearing import Hearing
from harness.frames import Flag, Hop
from harness.history import History, Recorder
from harness.pcm_ear import PcmEar
from harness.speech import encode


@pytest.fixture
def recorder(tmp_path):
    recorder = Recorder(tmp_path, "r1", "ears")
    recorder.emit(ev.Note(text="so that there is an event"))
    yield recorder
    recorder.close()


def test_frames_are_recorded_as_they_come_and_damage_is_told(recorder, tmp_path):
    ear = PcmEar(recorder, Hop.SFU)
    ear.feed(encode(3, 0, 4))
    wrong = bytearray(encode(3, 4, 4))
    wrong[700] ^= 1
    ear.feed(bytes(wrong))
    ear.finish()
    history = History.load(tmp_path)
    frames = history.at_hop(Hop.SFU, 3)
    assert frames["index"].tolist() == list(range(8))
    assert frames["flags"].tolist() == [0, 0, 0, 0, 0, int(Flag.CORRUPT), 0, 0]
    damaged = history.all(ev.Damaged)
    assert [(d.hop, d.what, d.count, d.near_index) for d in damaged] == [("sfu", "corrupt", 1, 5)]


def test_a_stream_of_damage_is_few_events_that_count_all_of_it(recorder, tmp_path):
    ear = PcmEar(recorder, Hop.CLOUD_IN)
    swapped = bytearray(encode(3, 0, 100))
    swapped[0::2], swapped[1::2] = swapped[1::2], swapped[0::2]
    for at in range(0, len(swapped), 1280):
        ear.feed(bytes(swapped[at : at + 1280]))
    ear.finish()
    damaged = [d for d in History.load(tmp_path).all(ev.Damaged) if d.what == "swapped"]
    assert sum(d.count for d in damaged) == 100
    assert len(damaged) <= 3


def test_a_lost_packet_is_a_cut_and_no_damage(recorder, tmp_path):
    ear = PcmEar(recorder, Hop.SFU)
    audio = encode(3, 0, 20)
    ear.feed(audio[:3000])
    ear.feed(audio[4000:])
    ear.finish()
    history = History.load(tmp_path)
    assert set(history.at_hop(Hop.SFU)["flags"].tolist()) == {0, int(Flag.CUT)}
    assert not [d for d in history.all(ev.Damaged) if d.what != "stray"]


def test_deaf_and_hearing_are_written_once_per_change(recorder, tmp_path):
    hearing = Hearing(recorder, "cloud-in", "app-in")
    hearing.lost("a", "never was there")
    hearing.gained("a")
    hearing.gained("b")
    hearing.lost("a", "gone")
    assert len(History.load(tmp_path).all(ev.EarDeaf)) == 2
    hearing.lost("b", "gone too")
    hearing.gained("b")
    hearing.ended("a", "stopped")
    hearing.ended("b", "stopped")
    told = [e for e in History.load(tmp_path).events if isinstance(e, ev.EarDeaf | ev.EarHearing)]
    got = [(type(e).__name__, e.hop) for e in told]
    both = [("EarHearing", "cloud-in"), ("EarHearing", "app-in"), ("EarDeaf", "cloud-in"), ("EarDeaf", "app-in")]
    assert got == both * 2
