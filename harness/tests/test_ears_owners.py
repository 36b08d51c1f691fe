"""Whoever is heard where another one belongs is written down; nobody is accused on a guess."""

import pytest

from harness import events as ev
from harness.ears.owners import Owners
from harness.frames import Hop
from harness.history import History, Recorder
from harness.pcm_ear import PcmEar
from harness.speech import encode

ALICE, BOB = 7, 8


@pytest.fixture
def recorder(tmp_path):
    """Give a recorder of its own."""
    recorder = Recorder(tmp_path, "r1", "ears")
    yield recorder
    recorder.close()


@pytest.fixture
def owners(recorder):
    """Know alice and bob."""
    owners = Owners(recorder)
    owners.tell("alice@x", ALICE)
    owners.tell("bob@x", BOB)
    return owners


def told(tmp_path, recorder):
    """Return what was written down of strangers."""
    recorder.emit(ev.Note(text="the end"))
    return [(e.hop, e.owner, e.speaker, e.first_index) for e in History.load(tmp_path).all(ev.Misheard)]


def hear(owners, recorder, user, *speech, hop=Hop.SFU):
    """Play speech into one stream."""
    ear = PcmEar(recorder, hop, owners.stream(hop, user))
    for speaker, first, count in speech:
        ear.feed(encode(speaker, first, count))
    ear.finish()


def test_an_owner_in_the_own_room_is_no_stranger(owners, recorder, tmp_path):
    hear(owners, recorder, "alice@x", (ALICE, 100, 50))
    assert told(tmp_path, recorder) == []


def test_a_stranger_is_told_at_once_and_then_once_a_second(owners, recorder, tmp_path):
    hear(owners, recorder, "alice@x", (ALICE, 100, 20), (BOB, 120, 20), (BOB, 140, 20))
    assert told(tmp_path, recorder) == [("sfu", "alice@x", BOB, 120)]


def test_a_recognisers_stream_belongs_to_whom_it_heard_first(owners, recorder, tmp_path):
    hear(owners, recorder, "", (BOB, 100, 20), hop=Hop.STT_IN)
    hear(owners, recorder, "", (BOB, 100, 20), (ALICE, 120, 20), hop=Hop.STT_IN)
    assert told(tmp_path, recorder) == [("stt-in", "bob@x", ALICE, 120)]


def test_two_phones_of_one_user_are_no_strangers(owners, recorder, tmp_path):
    owners.tell("alice@x", 9)
    hear(owners, recorder, "alice@x", (ALICE, 100, 20), (9, 120, 20))
    assert told(tmp_path, recorder) == []


def test_a_voice_nobody_told_of_is_not_accused(owners, recorder, tmp_path):
    hear(owners, recorder, "alice@x", (ALICE, 100, 20), (4711, 120, 20))
    assert told(tmp_path, recorder) == []


def test_words_of_a_stranger_in_an_apps_session_are_told(owners, recorder, tmp_path):
    owners.words("app-in", "alice@x", ALICE, [10, 11])
    owners.words("app-in", "alice@x", BOB, [10, 11])
    owners.words("app-in", "alice@x", 0, [])
    assert told(tmp_path, recorder) == [("app-in", "alice@x", BOB, 140)]
