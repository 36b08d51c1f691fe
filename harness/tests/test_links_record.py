"""What is written down of a link's conversations, and what is kept for it: no more than is still going on."""

from harness.events import WireUnreadable
from harness.links.reading import Said
from harness.links.record import WireRecord
from harness.speech import encode
from harness.tests.links_world import Kept

SPEECH = encode(1, 0, 20)


def audio(stream, pcm):
    return Said("to-dialer", "message", "AudioChunk", 0, 1, stream=stream, pcm=pcm, quiet=True)


def ended(stream):
    return Said("to-dialer", "status", "StreamAudio", 0, 1, stream=stream)


def test_what_a_stream_still_held_is_heard_when_it_ends():
    kept = Kept()
    record = WireRecord("cloud->bridge", kept)
    record.write(1, [audio(3, SPEECH[:-200]), audio(5, SPEECH)], "", 1000)
    record.write(1, [ended(3)], "", 2000)
    assert {t_ns for *_, t_ns in kept.heard} == {1000, 2000}
    before = len(kept.heard)
    record.write(1, [ended(3), ended(7)], "", 3000)
    assert len(kept.heard) == before


def test_nothing_is_kept_of_streams_that_ended_and_connections_that_are_gone():
    kept = Kept()
    record = WireRecord("cloud->bridge", kept)
    for stream in range(1, 201, 2):
        record.write(1, [audio(stream, SPEECH), ended(stream)], "", stream)
    assert record.streams == 0
    record.write(1, [audio(1, SPEECH)], "noise", 1000)
    record.write(1, [], "noise", 1001)
    assert (record.streams, len([e for e in kept.events if isinstance(e, WireUnreadable)])) == (1, 1)
    record.forget(1)
    record.write(1, [], "noise", 1002)
    assert (record.streams, len([e for e in kept.events if isinstance(e, WireUnreadable)])) == (0, 2)
