"""What came out of a bridge is known from the wire: heard, silent, or not observed when nobody could read along."""

import pytest

from harness import events as ev
from harness.checkers import judge
from harness.checkers.hearing import Hearing, first_silent_hop, hop_states
from harness.frames import Hop
from harness.tests import histories
from harness.tests.histories import at, green, ns

ASKED = at(8.7, ev.WireSaid(link="cloud->bridge", conn=2, way="to-target", what="request", name="StreamAudio"), "links")
LOST = at(8.8, ev.WireUnreadable(link="cloud->bridge", conn=2, reason="expected HTTP/2"), "links")


@pytest.fixture
def read(monkeypatch):
    """Frames are heard at bridge-out, too."""
    path = {hop: histories.PATH.get(hop, 0.015) for hop in Hop}
    monkeypatch.setattr(histories, "PATH", path)


def state(draft):
    return next(s.state for s in hop_states(draft.history(), ns(8.6)) if s.hop == "bridge-out")


def test_a_silent_bridge_is_silent_only_where_it_was_read():
    draft = green().never_recovers()
    assert state(draft) is Hearing.UNOBSERVED
    assert state(draft.add(ASKED)) is Hearing.SILENT
    silent = first_silent_hop(draft.history(), ns(8.6))
    assert silent is not None
    assert silent.hop == "bridge-out"
    assert state(draft.add(LOST)) is Hearing.UNOBSERVED


def test_compressed_audio_is_not_observed():
    squeezed = ev.WireSaid(link="cloud->bridge", conn=2, way="to-dialer", what="message", name="compressed")
    assert state(green().never_recovers().add(ASKED, at(8.8, squeezed, "links"))) is Hearing.UNOBSERVED


def test_a_bridge_that_was_heard_is_not_blamed_for_the_silence_behind_it(read):
    behind = green().never_recovers("cloud-in")
    behind.drop(ev.Gate)
    assert state(behind) is Hearing.HEARD
    assert "silent-audio-gap" not in {d.incident for d in judge(behind.history()).diagnosis}
    mute = green().never_recovers("bridge-out")
    mute.drop(ev.Gate)
    assert state(mute) is Hearing.SILENT
    assert judge(mute.history()).diagnosis[0].incident == "silent-audio-gap"


def test_a_reader_that_gave_up_takes_nothing_from_what_was_heard(read):
    assert state(green().add(LOST)) is Hearing.HEARD
