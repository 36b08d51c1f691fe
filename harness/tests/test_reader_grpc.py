"""The gRPC reader says what a call was, however its bytes are cut; it gives up on anything else, and never breaks."""

import asyncio
import contextlib
import time
from random import Random
from typing import Any

import grpc
import hpack
import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import events as ev
from harness.bridge_client import OPTIONS
from harness.frames import Hop
from harness.links.front import Front
from harness.links.readers.grpc import BRIDGE, Grpc
from harness.links.readers.http2 import PREFACE
from harness.links.reading import Conversation, Unreadable, Way
from harness.links.tcp import ResetWatch
from harness.links.triggers import Trigger
from harness.moments import reply
from harness.reference.proto import bridge_pb2 as pb
from harness.speech import encode
from harness.tests.links_world import HOST, Kept, free_address
from harness.waiting import NotYet, until

TOKEN = "eyJhbGciOiJIUzI1NiJ9.e30.sig"
FAST = settings(max_examples=60, deadline=None, derandomize=True)


# -- a real conversation, through a link ----------------------------------------------------------------------


class Bridge(grpc.GenericRpcHandler):
    def service(self, details):
        name = details.method.rpartition("/")[2]
        make = {
            "JoinRoom": lambda: _unary(self.join, pb.JoinRoomRequest),
            "StreamAudio": lambda: grpc.stream_stream_rpc_method_handler(
                self.stream, pb.AudioChunk.FromString, pb.AudioChunk.SerializeToString
            ),
            "Strange": lambda: grpc.unary_unary_rpc_method_handler(self.strange),
        }.get(name)
        return make() if make else None

    async def join(self, request, context):
        if request.user_id == "carol":
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no room for carol ✗")
        return pb.JoinRoomResponse(success=False, error=f"no, {request.token}", participant_count=2)

    async def stream(self, requests, context):
        first = await anext(requests)
        for chunk in chunks(first.user_id):
            yield pb.AudioChunk(pcm_data=chunk, sample_rate=16000, channels=1)

    async def strange(self, request, context):
        return request[::-1]


def _unary(call, kind):
    return grpc.unary_unary_rpc_method_handler(call, kind.FromString, pb.JoinRoomResponse.SerializeToString)


def chunks(user):
    samples = encode(1 if user == "alice" else 2, 0, 50)
    return [samples[i : i + 1280] for i in range(0, len(samples), 1280)]


class Tap:
    """A link to a gRPC bridge, whose bytes are kept."""

    async def __aenter__(self):
        self.recorder = Kept()
        self.bytes: list[tuple[Way, bytes]] = []
        self.server = grpc.aio.server(handlers=[Bridge()])
        port = self.server.add_insecure_port(f"{HOST}:0")
        await self.server.start()
        self.resets = ResetWatch(asyncio.get_running_loop())
        self.front = Front("a->b", [free_address()], (HOST, port), self.resets, self.recorder)
        self.front.listen()
        host, port = self.front.addresses[0]
        self.channel = grpc.aio.insecure_channel(f"{host}:{port}", options=OPTIONS)
        return self

    async def __aexit__(self, *_):
        await self.channel.close()
        await self.server.stop(0)
        self.front.close()
        self.front.reset()
        self.resets.close()

    def said(self, kind, name):
        return [e for e in self.recorder.events if isinstance(e, ev.WireSaid) and (e.what, e.name) == (kind, name)]

    async def status(self, name, count=1):
        def probe():
            found = self.said("status", name)
            return found[-1] if len(found) == count else NotYet(f"{self.recorder.events}")

        return await until(probe, what=f"status {name}", within_s=2)

    def unary(self, method, request):
        call: Any = self.channel.unary_unary(f"/{BRIDGE}/{method}", lambda m: m.SerializeToString(), lambda raw: raw)
        return call(request, timeout=5)


@pytest.fixture
async def tap(monkeypatch):
    async with Tap() as made:
        feed = Conversation.feed

        def keep(self, way, data):
            made.bytes.append((way, data))
            return feed(self, way, data)

        monkeypatch.setattr(Conversation, "feed", keep)
        yield made


async def test_a_join_is_told_with_its_small_facts_and_without_its_token(tap):
    await tap.unary("JoinRoom", pb.JoinRoomRequest(user_id="alice", room_name="r1", token=TOKEN))
    over = await tap.status("JoinRoom")
    told = [(e.way, e.what, e.name) for e in tap.recorder.events if isinstance(e, ev.WireSaid)]
    assert told == [
        ("to-target", "request", "JoinRoom"), ("to-target", "message", "JoinRoomRequest"),
        ("to-dialer", "reply", "JoinRoom"), ("to-dialer", "message", "JoinRoomResponse"),
        ("to-dialer", "status", "JoinRoom"),
    ]  # fmt: skip
    assert tap.said("message", "JoinRoomRequest")[0].facts == {"user": "alice", "room_name": "r1"}
    answer = tap.said("message", "JoinRoomResponse")[0]
    assert answer.facts == {"user": "alice", "success": False, "error": "no, ***", "participant_count": 2}
    assert answer.stream == over.stream == 1
    assert {**over.facts, "took_ms": 0} == {
        "user": "alice", "code": "OK", "requests": 1, "replies": 1, "half_closed": True, "took_ms": 0,
    }  # fmt: skip
    assert TOKEN not in str(tap.recorder.events)


async def test_a_refused_call_and_an_unknown_method_are_told_by_their_status(tap):
    with pytest.raises(grpc.aio.AioRpcError):
        await tap.unary("JoinRoom", pb.JoinRoomRequest(user_id="carol"))
    assert (await tap.status("JoinRoom")).facts["code"] == "RESOURCE_EXHAUSTED"
    assert tap.said("status", "JoinRoom")[0].facts["message"] == "no room for carol ✗"
    with pytest.raises(grpc.aio.AioRpcError):
        await tap.unary("GetStatus", pb.BridgeStatusRequest(user_id="alice"))
    assert (await tap.status("GetStatus")).facts["code"] == "UNIMPLEMENTED"
    assert tap.said("reply", "GetStatus")
    call = tap.channel.unary_unary("/other.Things/Strange")
    assert await call(b"\xff\xfe", timeout=5) == b"\xfe\xff"
    over = await tap.status("Strange")
    assert (over.facts["service"], over.facts["code"]) == ("other.Things", "OK")
    assert len(tap.said("message", "message")) == 2


async def test_two_streams_of_audio_are_heard_apart_at_bridge_out(tap):
    async def listen(user):
        call = tap.channel.stream_stream(
            f"/{BRIDGE}/StreamAudio", pb.AudioChunk.SerializeToString, pb.AudioChunk.FromString
        )(timeout=5)
        await call.write(pb.AudioChunk(user_id=user))
        return [chunk.pcm_data async for chunk in call]

    got = await asyncio.gather(listen("alice"), listen("bob"))
    assert list(got) == [chunks("alice"), chunks("bob")]
    over = await tap.status("StreamAudio", 2)
    assert (over.facts["code"], over.facts["requests"], over.facts["replies"]) == ("OK", 1, len(got[0]))
    first = [(e.way, e.facts["user"]) for e in tap.said("message", "AudioChunk")]
    assert sorted(first) == [(way, user) for way in ("to-dialer", "to-target") for user in ("alice", "bob")]
    heard: dict[int, list[int]] = {}
    for hop, speakers, index, _flags, _t_ns in tap.recorder.heard:
        assert hop is Hop.BRIDGE_OUT
        for speaker, one in zip(speakers, index, strict=True):
            heard.setdefault(int(speaker), []).append(int(one))
    assert set(heard) == {1, 2}
    assert all(indices == sorted(set(indices)) and len(indices) >= 48 for indices in heard.values())


async def test_a_call_that_the_dialer_gives_up_is_cancelled(tap):
    call = tap.channel.stream_stream(f"/{BRIDGE}/StreamAudio", pb.AudioChunk.SerializeToString)()
    await until(lambda: tap.said("request", "StreamAudio") or NotYet("none"), what="request", within_s=2)
    call.cancel()
    over = await tap.status("StreamAudio")
    assert (over.way, over.facts["code"], over.facts["reset"]) == ("to-target", "CANCELLED", "CANCEL")


async def test_a_reply_is_held_before_its_first_byte_and_goes_on_whole(tap):
    fired = asyncio.get_running_loop().create_future()
    tap.front.arm(Trigger(1, reply("JoinRoom"), before=True, hold=True, act="tell", fired=fired))
    joining = asyncio.ensure_future(tap.unary("JoinRoom", pb.JoinRoomRequest(user_id="alice")))
    assert (await asyncio.wait_for(fired, 2))["said"] == "reply JoinRoom"
    assert (await asyncio.wait([joining], timeout=0.05))[0] == set()
    tap.front.disarm(1)
    assert pb.JoinRoomResponse.FromString(await joining).participant_count == 2


async def test_however_a_real_conversation_is_cut_the_same_is_said(tap):
    await tap.unary("JoinRoom", pb.JoinRoomRequest(user_id="alice", token=TOKEN))
    call = tap.channel.stream_stream(f"/{BRIDGE}/StreamAudio", pb.AudioChunk.SerializeToString)(timeout=5)
    await call.write(pb.AudioChunk(user_id="alice"))
    assert len([chunk async for chunk in call]) == len(chunks("alice"))
    await tap.status("StreamAudio")
    whole = said_of(tap.bytes)
    assert len(whole) > len(chunks("alice"))

    @FAST
    @given(st.integers(0, 2**32).map(Random))
    def cut_anywhere(random):
        assert said_of(cut(tap.bytes, random)) == whole

    @FAST
    @given(st.integers(0, 2**32).map(Random))
    def hurt_anywhere(random):
        hurt = [(way, bytearray(data)) for way, data in cut(tap.bytes, random)]
        for _ in range(random.randint(1, 5)):
            _way, data = random.choice(hurt)
            data[random.randrange(len(data))] = random.randrange(256)
        reader = Grpc(clock=lambda: 0)
        with contextlib.suppress(Unreadable):
            for way, data in hurt:
                reader.feed(way, bytes(data))

    cut_anywhere()
    hurt_anywhere()


def said_of(parts):
    reader = Grpc(clock=lambda: 0)
    return [said for way, data in parts for said in reader.feed(way, data)]


def cut(parts, random):
    for way, data in parts:
        at = 0
        while at < len(data):
            size = random.choice((1, 3, 9, 100, 5000))
            yield way, data[at : at + size]
            at += size


# -- conversations made by hand --------------------------------------------------------------------------------


class Spoken:
    """A reader, and both ends as a test writes them."""

    def __init__(self):
        self.reader = Grpc(clock=lambda: 0)
        self.encoders = {"to-target": hpack.Encoder(), "to-dialer": hpack.Encoder()}
        self.fed = {"to-target": 0, "to-dialer": 0}
        self.raw("to-target", PREFACE)
        for way in self.fed:
            self.frame(way, SettingsFrame())

    def raw(self, way, data):
        self.fed[way] += len(data)
        return self.reader.feed(way, data)

    def frame(self, way, frame):
        return self.raw(way, frame.serialize())

    def headers(self, way, stream, *pairs, last=False):
        flags = ["END_HEADERS", "END_STREAM"] if last else ["END_HEADERS"]
        block = self.encoders[way].encode(list(pairs))
        return self.frame(way, HeadersFrame(stream, block, flags=flags))

    def call(self, method="JoinRoom", stream=1):
        return self.headers("to-target", stream, (":path", f"/{BRIDGE}/{method}"))

    def data(self, way, data, stream=1):
        return self.frame(way, DataFrame(stream, data))


def framed(message):
    body = message.SerializeToString()
    return b"\0" + len(body).to_bytes(4, "big") + body


JOIN = framed(pb.JoinRoomRequest(user_id="alice"))


def test_a_message_starts_where_its_first_frame_does_and_is_kept_back_from_there():
    spoken = Spoken()
    spoken.call()
    start = spoken.fed["to-target"]
    assert spoken.reader.settled("to-target") == start
    assert spoken.data("to-target", JOIN[:3]) == []
    assert spoken.frame("to-target", PingFrame(0, b"12345678"))[0].quiet
    assert spoken.reader.settled("to-target") == start
    half = DataFrame(1, JOIN[3:]).serialize()
    assert spoken.raw("to-target", half[:-1]) == []
    assert spoken.reader.settled("to-target") == start
    (said,) = spoken.raw("to-target", half[-1:])
    assert (said.name, said.start, said.end) == ("JoinRoomRequest", start, spoken.fed["to-target"])
    assert spoken.reader.settled("to-target") == spoken.fed["to-target"]


def test_headers_with_their_continuations_are_one_thing():
    spoken = Spoken()
    block = spoken.encoders["to-target"].encode([(":path", f"/{BRIDGE}/JoinRoom"), ("x", "y" * 50)])
    start = spoken.fed["to-target"]
    assert spoken.frame("to-target", HeadersFrame(1, block[:5])) == []
    assert spoken.reader.settled("to-target") == start
    (said,) = spoken.frame("to-target", ContinuationFrame(1, block[5:], flags=["END_HEADERS"]))
    assert (said.kind, said.name, said.start, said.end) == ("request", "JoinRoom", start, spoken.fed["to-target"])


def test_padding_is_no_message():
    spoken = Spoken()
    spoken.call()
    frame = DataFrame(1, JOIN, pad_length=7, flags=["PADDED"])
    assert [s.name for s in spoken.frame("to-target", frame)] == ["JoinRoomRequest"]


def test_an_answer_of_trailers_only_is_a_reply_and_a_status():
    spoken = Spoken()
    spoken.call("LeaveRoom")
    pairs = ((":status", "200"), ("grpc-status", "5"), ("grpc-message", "no%20such user"))
    said = spoken.headers("to-dialer", 1, *pairs, last=True)
    assert [(s.kind, s.name) for s in said] == [("reply", "LeaveRoom"), ("status", "LeaveRoom")]
    assert (said[1].facts["code"], said[1].facts["message"]) == ("NOT_FOUND", "no such user")
    assert spoken.data("to-target", JOIN) == []  # was on its way when the call was over


def test_a_reset_and_a_goaway_are_told_by_their_codes():
    spoken = Spoken()
    spoken.call("StreamAudio")
    (said,) = spoken.frame("to-dialer", RstStreamFrame(1, 2))
    assert (said.kind, said.facts["code"], said.facts["reset"]) == ("status", "INTERNAL", "INTERNAL_ERROR")
    (said,) = spoken.frame("to-dialer", GoAwayFrame(0, 1, 11, b"too_many_pings"))
    assert (said.name, said.facts) == (
        "GOAWAY", {"code": "ENHANCE_YOUR_CALM", "last_stream": 1, "message": "too_many_pings"},
    )  # fmt: skip


def test_a_compressed_message_is_named_so():
    spoken = Spoken()
    spoken.call()
    assert [s.name for s in spoken.data("to-target", b"\1" + JOIN[1:])] == ["compressed"]


def test_a_very_long_message_is_named_and_not_stored():
    spoken = Spoken()
    spoken.frame("to-dialer", SettingsFrame(settings={SettingsFrame.MAX_FRAME_SIZE: 1 << 22}))
    spoken.call()
    long = b"\0" + (3 << 20).to_bytes(4, "big") + bytes(3 << 20)
    frame = DataFrame(1, long + JOIN, pad_length=9, flags=["PADDED"]).serialize()
    said = []
    for at in range(0, len(frame), 60_000):
        said += spoken.raw("to-target", frame[at : at + 60_000])
        assert len(spoken.reader._calls[1].to_target.left) < 100_000
        assert spoken.reader.settled("to-target") >= at  # the sender may need an answer to go on
    assert [(s.name, dict(s.facts)) for s in said] == [("JoinRoomRequest", {}), ("JoinRoomRequest", {"user": "alice"})]


def test_messages_that_are_never_finished_are_not_stored_for_ever():
    spoken = Spoken()
    part = b"\0" + (1 << 20).to_bytes(4, "big")
    with pytest.raises(Unreadable, match="to be finished"):
        for number in range(12):
            spoken.call(stream=2 * number + 1)
            spoken.data("to-target", part, stream=2 * number + 1)
            for _ in range(60):
                spoken.data("to-target", bytes(16_384), stream=2 * number + 1)
    assert number > 6


@pytest.mark.parametrize(
    ("way", "raw", "why"),
    [
        ("to-target", DataFrame(1, b"\7nonsense").serialize(), "flag 7"),
        ("to-target", DataFrame(1, b"\0\0\0\0\2\xff\xff").serialize(), "seen 2 bytes that are none"),
        ("to-target", DataFrame(9, b"x").serialize(), "stream 9"),
        ("to-target", DataFrame(1, bytes(20_000)).serialize(), "up to 16384 bytes"),
        ("to-target", HeadersFrame(3, b"\xff\xff\xff\xff\xff\xff", flags=["END_HEADERS"]).serialize(), "HPACK"),
        ("to-target", HeadersFrame(3, b"\x80").serialize() + PingFrame(0, b"12345678").serialize(), "in one piece"),
        ("to-target", b"\0\0\1\3\0\0\0\0\1a", "InvalidFrame"),
        ("to-dialer", b"\0\0\0\5\4\0\0\0\1", "PUSH_PROMISE"),
    ],
)
def test_what_is_no_grpc_is_given_up_with_a_reason(way, raw, why):
    spoken = Spoken()
    spoken.call()
    with pytest.raises(Unreadable, match=why):
        spoken.raw(way, raw)


def test_a_connection_joined_in_the_middle_is_given_up():
    with pytest.raises(Unreadable, match="preface"):
        Grpc().feed("to-target", DataFrame(1, JOIN).serialize())
    with pytest.raises(Unreadable, match="expected SETTINGS"):
        Grpc().feed("to-dialer", DataFrame(1, JOIN).serialize())


@FAST
@given(st.binary(max_size=200), st.booleans())
def test_garbage_never_breaks_it(data, begun):
    reader = Spoken().reader if begun else Grpc()
    with contextlib.suppress(Unreadable):
        reader.feed("to-target", data)


def test_many_short_frames_in_one_piece_take_no_longer_than_each_for_itself():
    window_updates = [b"\0\0\4\x08\0\0\0\0\0\0\0\0\1"] * 20_000

    def took_s(pieces):
        reader = Grpc()
        reader.feed("to-target", PREFACE + b"\0\0\0\4\0\0\0\0\0")
        began = time.process_time()
        for piece in pieces:
            reader.feed("to-target", piece)
        return time.process_time() - began

    assert took_s([b"".join(window_updates)]) < 3 * took_s(window_updates)
