"""HTTP/1 and WebSocket are understood as they pass, however the bytes are cut."""

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.links.readers.http import HttpReader
from harness.links.reading import Conversation, Said, Unreadable, Way
from harness.tests.wire_bytes import ACK, KEY, PHONE, SWITCHING, WEB, deflated, frame, post, talk, text, upgrade

TO: Way = "to-target"
FROM: Way = "to-dialer"


PHONE_SAID = [
    (TO, "request", "GET /glasses-ws"),
    (FROM, "reply", "GET /glasses-ws"),
    (FROM, "message", "connection_ack"),
    (TO, "message", "connection_init"),
    (TO, "message", "ping"),
    (FROM, "message", "pong"),
    (TO, "message", "binary"),
    (FROM, "message", "display_event"),
    (FROM, "message", "audio_status"),
    (TO, "message", "pong"),
    (TO, "message", "VAD"),
    (FROM, "close", "1001"),
]
WEB_SAID = [
    (TO, "request", "POST /webhook"),
    (TO, "message", "session_request"),
    (TO, "request", "GET /health"),
    (FROM, "reply", "POST /webhook"),
    (FROM, "message", "error"),
    (FROM, "reply", "GET /health"),
    (TO, "request", "HEAD /x"),
    (TO, "request", "GET /y"),
    (FROM, "reply", "HEAD /x"),
    (FROM, "reply", "GET /y"),
]


@pytest.mark.parametrize(("steps", "said"), [(PHONE, PHONE_SAID), (WEB, WEB_SAID)], ids=["phone", "web"])
def test_what_was_said_is_named_in_its_order(steps, said):
    assert talk(HttpReader(), steps) == said


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_cuts_do_not_matter(data):
    for steps in (PHONE, WEB):
        whole, cut = HttpReader(), HttpReader()
        expected: dict[Way, list[Said]] = {TO: [], FROM: []}
        found: dict[Way, list[Said]] = {TO: [], FROM: []}
        for way, chunk in steps:
            expected[way] += whole.feed(way, chunk)
            at = 0
            while at < len(chunk):
                size = data.draw(st.integers(1, 40)) if len(chunk) < 2000 else 7001
                found[way] += cut.feed(way, chunk[at : at + size])
                at += size
        assert found == expected


def test_byte_by_byte_and_one_way_after_the_other_is_the_same():
    for steps in (PHONE, WEB):
        whole, cut = HttpReader(), HttpReader()
        expected: dict[Way, list[Said]] = {TO: [], FROM: []}
        for way, chunk in steps:
            expected[way] += whole.feed(way, chunk)
        for way, wanted in expected.items():
            stream = b"".join(chunk for w, chunk in steps if w == way)
            assert [s for i in range(len(stream)) for s in cut.feed(way, stream[i : i + 1])] == wanted
            assert cut.settled(way) == len(stream)


def test_offsets_are_those_of_the_messages():
    reader = HttpReader()
    reader.feed(TO, upgrade())
    first, second = text({"type": "a"}), text({"type": "b"})
    said = reader.feed(FROM, SWITCHING + first + second)
    at = len(SWITCHING)
    assert [(s.start, s.end) for s in said] == [
        (0, at), (at, at + len(first)), (at + len(first), at + len(first) + len(second)),
    ]  # fmt: skip


def test_settled_is_where_the_first_incomplete_thing_begins():
    reader = HttpReader()
    request = upgrade()
    reader.feed(TO, request[:20])
    assert reader.settled(TO) == 0
    reader.feed(TO, request[20:])
    reader.feed(FROM, SWITCHING)
    for part in (frame(1, b"{", last=False), frame(9, b"x"), frame(0, b"}")[:2]):
        reader.feed(FROM, part)
        assert reader.settled(FROM) == len(SWITCHING)


def test_no_secret_is_in_what_is_said():
    reader = HttpReader()
    said = [s for way, chunk in PHONE for s in reader.feed(way, chunk)]
    said += reader.feed(TO, text({"type": "connection_error", "code": "X", "message": f"?token={KEY}"}, masked=True))
    assert KEY not in repr(said)
    assert said[-1].facts == {"code": "X", "message": "?token=***"}


def test_facts_are_the_few_that_count():
    reader = HttpReader()
    facts = {s.name: dict(s.facts) for way, chunk in PHONE for s in reader.feed(way, chunk)}
    assert facts["connection_ack"] == {"session": "a", "livekit": True}
    assert facts["audio_status"] == {"status": "unavailable", "message": "no audio"}
    assert facts["1001"] == {"reason": "going away"}


@pytest.mark.parametrize(
    ("said", "name", "quiet"),
    [
        ({"api_key": KEY, "model": "m"}, "config", False),
        ({"tokens": [{"text": "a"}], "total_audio_proc_ms": 1}, "tokens", True),
        ({"tokens": [], "error_code": 503, "error_message": "later"}, "error", False),
        ({"tokens": [], "finished": True}, "finished", False),
        ({"type": "data_stream", "data": {"isFinal": False}}, "data_stream", True),
        ({"type": "data_stream", "data": {"isFinal": True}}, "data_stream", False),
        ({"a": 1}, "json", False),
        ([1], "json", False),
    ],
)
def test_messages_have_names(said, name, quiet):
    reader = HttpReader()
    reader.feed(TO, upgrade("/stt"))
    reader.feed(FROM, SWITCHING)
    (one,) = reader.feed(TO, text(said, masked=True))
    assert (one.name, one.quiet) == (name, quiet)


def test_deflated_messages_are_read():
    reader = HttpReader()
    reader.feed(TO, upgrade())
    reader.feed(FROM, SWITCHING)
    first, second = deflated([b'{"type": "tpa_connection_ack"}', b'{"type": "tpa_connection_ack", "x": 1}'])
    wire = frame(1, first, deflated=True) + frame(1, second[:4], deflated=True, last=False) + frame(0, second[4:])
    assert [s.name for s in reader.feed(FROM, wire)] == ["tpa_connection_ack"] * 2


def test_a_bomb_is_not_inflated():
    reader = HttpReader()
    reader.feed(TO, upgrade())
    reader.feed(FROM, SWITCHING)
    (bomb, after) = deflated([bytes(30_000_000), b'{"type": "a"}'])
    said = reader.feed(FROM, frame(1, bomb, deflated=True) + frame(1, after, deflated=True) + text({"type": "b"}))
    assert [s.name for s in said] == ["compressed", "a", "b"]  # it leans on nothing of the bomb


def test_compressed_audio_leaves_its_direction_readable():
    reader = HttpReader()
    talk(reader, [(TO, upgrade()), (FROM, SWITCHING)])
    word = {"type": "a", "text": "the same words again and again"}
    audio, first, second = deflated([b"pcm" * 900, json.dumps(word).encode(), json.dumps(word).encode()])
    wire = frame(2, audio, deflated=True) + frame(1, first, deflated=True) + frame(1, second, deflated=True)
    assert [(s.name, s.quiet) for s in reader.feed(FROM, wire)] == [("binary", True), ("a", False), ("a", False)]


def test_a_lost_context_is_told_once_and_what_leans_on_nothing_is_read_again():
    reader = HttpReader()
    talk(reader, [(TO, upgrade()), (FROM, SWITCHING)])
    word = json.dumps({"type": "a", "text": "the same words again and again"}).encode()
    first, leaning, leaning_too = deflated([word, word, word])
    (alone,) = deflated([word])  # its peer begins anew with each message
    noise = frame(2, b"\xff\xff\xff", deflated=True)
    said = reader.feed(FROM, noise + frame(1, leaning, deflated=True) + noise + frame(1, leaning_too, deflated=True))
    assert [(s.name, s.quiet) for s in said] == [
        ("binary", False), ("compressed", True), ("binary", True), ("compressed", True),
    ]  # fmt: skip
    assert "context" in str(said[0].facts["lost"])
    assert [s.name for s in reader.feed(FROM, frame(1, alone, deflated=True) * 2)] == ["a", "a"]
    assert first == alone


def test_a_refused_upgrade_goes_on_as_http():
    reader = HttpReader()
    steps: list[tuple[Way, bytes]] = [
        (TO, upgrade() + b"GET /health HTTP/1.1\r\n\r\n"),
        (FROM, b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ]
    assert talk(reader, steps)[2:] == [(FROM, "reply", "GET /glasses-ws"), (FROM, "reply", "GET /health")]


def test_big_text_is_counted_and_not_kept():
    reader = HttpReader()
    reader.feed(TO, upgrade())
    reader.feed(FROM, SWITCHING)
    said = reader.feed(FROM, frame(1, b"x" * 3_000_000) + text({"type": "a"}))
    assert [(s.name, dict(s.facts)) for s in said] == [("big", {"bytes": 3_000_000}), ("a", {})]


@pytest.mark.parametrize(
    "hostile",
    [
        b"\xff\x00", frame(1, b"x", masked=True), frame(3), frame(0), b"\x82\x7f" + b"\x7f" * 8, frame(9, b"x" * 126),
        frame(9, last=False), frame(8, b"x"), frame(1, last=False) + frame(1),
    ],
)  # fmt: skip
def test_what_is_no_websocket_is_unreadable_and_what_came_before_is_not_lost(hostile):
    reader = HttpReader()
    reader.feed(TO, upgrade())
    with pytest.raises(Unreadable) as caught:
        reader.feed(FROM, SWITCHING + text(ACK) + hostile)
    assert [s.name for s in caught.value.said] == ["GET /glasses-ws", "connection_ack"]


@pytest.mark.parametrize(
    "hostile", [b"\x16\x03\x01", b"GET / SMTP\r\n\r\n", b"x" * 70_000, post()[:-20] + b"a\r\n\r\n"]
)
def test_what_is_no_http_is_unreadable(hostile):
    with pytest.raises(Unreadable, match="expected"):
        HttpReader().feed(TO, hostile)


def test_a_conversation_finds_the_reader():
    conversation = Conversation()
    assert conversation.feed(TO, b"GE") == []
    assert [s.name for s in conversation.feed(TO, b"T /x HTTP/1.1\r\n\r\n")] == ["GET /x"]
    said = conversation.feed(FROM, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n???")
    assert [s.name for s in said] == ["GET /x"]
    assert "expected an HTTP/1 reply" in conversation.unreadable


def test_a_token_tells_whose_it_is_and_is_not_told():
    claims = base64.urlsafe_b64encode(b'{"sub": "1", "email": "alice@x"}').decode().rstrip("=")
    token = f"eyJhbGci.{claims}.c2lnbmF0dXJl"
    (one,) = HttpReader().feed(TO, upgrade("/glasses-ws?token=" + token))
    assert one.facts == {"upgrade": "websocket", "user": "alice@x"}
    (one,) = HttpReader().feed(TO, f"GET /rtc HTTP/1.1\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    assert one.facts == {"identity": "alice@x"}
    assert HttpReader().feed(TO, upgrade("/glasses-ws?token=eyJhbGci.!!!.x"))[0].facts == {"upgrade": "websocket"}
