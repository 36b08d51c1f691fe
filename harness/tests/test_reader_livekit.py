"""LiveKit's signals are named as they pass, with the reasons people leave for, and no token."""

import pytest
from livekit.protocol import models, rtc

from harness.links.readers.http import HttpReader
from harness.links.readers.livekit import is_signalling
from harness.links.reading import Conversation, Unreadable, Way
from harness.tests.wire_bytes import KEY, SWITCHING, frame, upgrade

TO: Way = "to-target"
FROM: Way = "to-dialer"
JOIN = rtc.SignalResponse(
    join=rtc.JoinResponse(
        room=models.Room(name="alice"), server_version="1.13.5",
        participant=models.ParticipantInfo(identity="alice@x", sid="PA_1"),
        other_participants=[models.ParticipantInfo(identity="cloud-agent:alice@x")],
    )
)  # fmt: skip
KICK = rtc.SignalResponse(leave=rtc.LeaveRequest(reason=models.PARTICIPANT_REMOVED, action=rtc.LeaveRequest.DISCONNECT))


def joined(path="/rtc/v1?access_token=" + KEY):
    reader = HttpReader()
    reader.feed(TO, upgrade(path))
    reader.feed(FROM, SWITCHING)
    return reader


def told(reader, way, signal):
    (one,) = reader.feed(way, frame(2, signal.SerializeToString(), masked=way == TO))
    return one


def test_a_join_tells_who_and_where():
    one = told(joined(), FROM, JOIN)
    assert (one.name, one.facts["identity"], one.facts["room"], one.facts["others"]) == ("join", "alice@x", "alice", 1)


def test_a_leave_tells_its_reason_in_words():
    one = told(joined("/rtc"), FROM, KICK)
    assert one.facts == {"reason": "PARTICIPANT_REMOVED", "action": "DISCONNECT"}
    newer = rtc.SignalResponse(leave=rtc.LeaveRequest.FromString(b"\x10\x63"))
    assert told(joined(), FROM, newer).facts["reason"] == "99"


def test_both_ways_are_read_by_their_own_message():
    reader = joined()
    sent = rtc.SignalRequest(offer=rtc.SessionDescription(type="offer", sdp="v=0" * 20_000))
    assert told(reader, TO, sent).name == "offer"
    assert told(reader, TO, rtc.SignalRequest(ping_req=rtc.Ping(timestamp=1))).quiet
    update = rtc.SignalResponse(
        update=rtc.ParticipantUpdate(
            participants=[models.ParticipantInfo(identity="bob", state=models.ParticipantInfo.DISCONNECTED)]
        )
    )
    assert told(reader, FROM, update).facts == {"participants": 1, "who": "bob DISCONNECTED"}


def test_a_token_that_is_refreshed_is_not_told():
    one = told(joined(), FROM, rtc.SignalResponse(refresh_token=KEY))
    assert one.name == "refresh_token"
    assert KEY not in repr(one)


def test_signals_in_json_are_read_too():
    (one,) = joined().feed(TO, frame(1, b'{"leave": {"reason": "CLIENT_INITIATED"}, "later": 1}', masked=True))
    assert (one.name, one.facts["reason"]) == ("leave", "CLIENT_INITIATED")


def test_a_signal_that_is_newer_than_we_are_is_unknown():
    (one,) = joined().feed(FROM, frame(2, b"\xfa\x7f\x00"))
    assert one.name == "unknown"


@pytest.mark.parametrize("broken", [frame(2, b"\x0a\xff\xff"), frame(2, b"\x00"), frame(1, b"{"), frame(1, b"\xff")])
def test_broken_signals_are_told_once_and_what_came_before_is_kept(broken):
    with pytest.raises(Unreadable, match="SignalResponse"):
        joined().feed(FROM, broken)
    conversation = Conversation()
    conversation.feed(TO, upgrade("/rtc"))
    said = conversation.feed(FROM, SWITCHING + frame(2, KICK.SerializeToString()) + broken)
    assert [s.name for s in said] == ["GET /rtc", "leave"]
    assert conversation.feed(FROM, frame(2, KICK.SerializeToString())) == []


def test_only_the_signalling_is_read_as_such():
    assert is_signalling("/rtc")
    assert is_signalling("/prefix/rtc/v1/")
    assert not is_signalling("/glasses-ws")
    assert not is_signalling("/rtc/validate")
