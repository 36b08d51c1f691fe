"""The hidden listener keeps each phone's stream whole, also while LiveKit does not say who speaks."""

import pytest

from harness import events as ev
from harness.ears.hearing import Hearing
from harness.ears.sfu_listener import RoomListener
from harness.frames import Hop
from harness.history import History, Recorder
from harness.speech import encode

PACKET_BYTES = 320
"""10 ms: half a frame of the speech code."""


@pytest.fixture
def heard(tmp_path):
    """Give a function that takes who sent each packet of one stream, and gives the history of it."""
    recorder = Recorder(tmp_path, "r1", "ears")
    recorder.emit(ev.Note(text="so that there is an event"))

    def hear(senders):
        listener = RoomListener(recorder, Hearing(recorder, "sfu"), "r", "ws://127.0.0.1:9", "no-token")
        audio = encode(3, 0, (len(senders) + 1) // 2)
        for at, sender in enumerate(senders):
            listener._hear(sender, audio[at * PACKET_BYTES : (at + 1) * PACKET_BYTES])
        listener._finish_ears()
        return History.load(tmp_path)

    yield hear
    recorder.close()


@pytest.mark.parametrize(
    "senders",
    [
        ["alice"] * 20,
        [""] * 20,
        [""] * 7 + ["alice"] * 13,  # the name comes in the middle of a frame
        ["alice"] * 7 + [""] * 6 + ["alice"] * 7,  # she left and came back; LiveKit tells her name late again
    ],
)
def test_one_phone_is_one_stream(heard, senders):
    history = heard(senders)
    frames = history.at_hop(Hop.SFU, 3)
    assert frames["index"].tolist() == list(range(10))
    assert frames["flags"].tolist() == [0] * 10
    assert history.all(ev.Damaged) == ()


def test_two_phones_are_two_streams(tmp_path):
    recorder = Recorder(tmp_path, "r1", "ears")
    listener = RoomListener(recorder, Hearing(recorder, "sfu"), "r", "ws://127.0.0.1:9", "no-token")
    streams = {"alice": encode(3, 0, 10), "bob": encode(4, 0, 10)}
    for at in range(0, 6400, PACKET_BYTES):
        for identity, audio in streams.items():
            listener._hear(identity, audio[at : at + PACKET_BYTES])
    listener._finish_ears()
    recorder.emit(ev.Note(text="so that there is an event"))
    history = History.load(tmp_path)
    for speaker in (3, 4):
        assert history.at_hop(Hop.SFU, speaker)["index"].tolist() == list(range(10))
    assert history.all(ev.Damaged) == ()
    recorder.close()
