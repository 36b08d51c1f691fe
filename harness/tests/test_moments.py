"""A moment is a value: what fits it, how it reads, and that it survives the way to the links process."""

import json

import pytest

from harness.moments import Moment, closed, message, nth, opened, reply, request, status


@pytest.mark.parametrize(
    ("moment", "kind", "name", "fits"),
    [
        (request("JoinRoom"), "request", "JoinRoom", True),
        (request("JoinRoom"), "reply", "JoinRoom", False),
        (request("JoinRoom"), "request", "LeaveRoom", False),
        (request(), "request", "LeaveRoom", True),
        (reply("JoinRoom"), "reply", "JoinRoom", True),
        (status("StreamAudio"), "status", "StreamAudio", True),
        (message("connection_ack"), "message", "connection_ack", True),
        (closed(), "close", "1001", True),
        (closed(), "end", "fin", True),
        (closed(1001), "close", "1001", True),
        (closed(1001), "close", "1000", False),
        (closed("reset"), "end", "fin", False),
        (opened(), "open", "", True),
        (opened(), "end", "fin", False),
    ],
)
def test_a_moment_fits_what_is_of_its_kind_and_name(moment, kind, name, fits):
    assert moment.fits(kind, name) is fits


def test_a_bare_name_counted_is_a_message():
    assert nth("AudioChunk", 3) == nth(message("AudioChunk"), 3)
    assert nth(opened(), 2).nth == 2


def test_they_are_counted_from_one():
    with pytest.raises(ValueError, match="expected a number from 1 on, seen 0"):
        nth(opened(), 0)


def test_it_reads_as_a_story_says_it():
    assert str(reply("JoinRoom")) == "reply JoinRoom"
    assert str(nth(opened(), 2)) == "open number 2"


@pytest.mark.parametrize("moment", [nth(reply("JoinRoom"), 2), closed(1001), opened()])
def test_it_survives_json(moment):
    assert Moment.of(json.loads(json.dumps(moment.fields()))) == moment
