"""What an armed trigger must not do to a connection: keep the others waiting, lose bytes, forget what it waits for."""

import asyncio
import struct

import pytest
from hpack import Encoder

from harness import events as ev
from harness.links import hurting, pump
from harness.links.readers.grpc import BRIDGE
from harness.links.readers.http2 import PREFACE
from harness.links.triggers import Trigger
from harness.moments import closed, message, nth, opened, reply, request
from harness.tests.links_world import Bench
from harness.tests.wire_bytes import SWITCHING, frame, upgrade
from harness.waiting import NotYet, until

ASK = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\n\r\n"
SOON_S = 0.15
"""Sooner than anything is let go for having waited too long."""


@pytest.fixture
async def bench():
    made = Bench()
    yield made
    made.close()


def arm(bench, moment, number=1, *, before=True, hold=True, act="tell", way=None):
    trigger = Trigger(number, moment, before, hold, act, bench.loop.create_future(), way=way)
    bench.front.arm(trigger)
    return trigger


async def fired(trigger):
    return await asyncio.wait_for(asyncio.shield(trigger.fired), 2)


async def silent(side):
    with pytest.raises(TimeoutError):
        await side.get(within_s=0.05)


async def until_reset(side):
    """Return what came before the reset."""
    got = bytearray()
    try:
        while True:
            got += await side.get()
    except ConnectionResetError:
        return bytes(got)


def h2(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def headers(encoder, stream, fields, *, is_last=False):
    return h2(1, 5 if is_last else 4, stream, encoder.encode(fields))


def called(encoder, method):
    return [(":method", "POST"), (":scheme", "http"), (":path", f"/{BRIDGE}/{method}"), (":authority", "a")]


async def two_calls(bench):
    """Begin StreamAudio and JoinRoom on one connection; the first's reader stops in the middle of a message."""
    dialer, target = await bench.pair()
    asks, answers = Encoder(), Encoder()
    await dialer.send(
        PREFACE + h2(4, 0, 0, b"") + headers(asks, 1, called(asks, "StreamAudio"))
        + headers(asks, 3, called(asks, "JoinRoom"))
    )  # fmt: skip
    await target.get()
    await target.send(h2(4, 0, 0, b"") + headers(answers, 1, [(":status", "200")]))
    await dialer.get()
    await target.send(h2(0, 0, 1, b"\0" + struct.pack(">I", 3000) + bytes(995)))
    answer = (
        headers(answers, 3, [(":status", "200")]) + h2(0, 0, 3, b"\0" + struct.pack(">I", 2) + b"\x08\x01")
        + headers(answers, 3, [("grpc-status", "0")], is_last=True)
    )  # fmt: skip
    return dialer, target, answer


async def test_an_unfinished_message_nobody_waits_for_holds_no_other_call_back(bench):
    arm(
        bench,
        message(
            "JoinRoomResponse",
        ),
        act="hang",
    )
    bench.front.disarm(1)
    arm(bench, reply("LeaveRoom"))
    dialer, target, answer = await two_calls(bench)
    await target.send(answer)
    got = b""
    while not got.endswith(answer):
        got += await dialer.get(within_s=SOON_S)


async def test_an_unfinished_message_somebody_waits_for_holds_the_others_back_for_a_moment_only(bench):
    trigger = arm(bench, nth(message("AudioChunk"), 9))
    dialer, target, answer = await two_calls(bench)
    await target.send(answer)
    await silent(dialer)
    got = b""
    while not got.endswith(answer):
        got += await dialer.get()
    ping = h2(6, 0, 0, bytes(8))
    await target.send(ping)
    assert await dialer.get(within_s=SOON_S) == ping, "once it went on it holds nobody back again"
    assert not trigger.fired.done()


async def test_of_a_message_that_is_long_in_coming_the_rest_is_stopped(bench):
    trigger = arm(bench, message("binary"))
    dialer, target = await bench.pair()
    whole = frame(2, bytes(100), masked=True)
    await dialer.send(upgrade())
    await target.get()
    await target.send(SWITCHING)
    await dialer.get()
    await dialer.send(whole[:40])
    await silent(target)
    assert await target.get() == whole[:40]
    await dialer.send(whole[40:])
    await fired(trigger)
    await silent(target)
    trigger.let_go(drop=False)
    assert await target.get() == whole[40:]


async def test_a_trigger_that_fired_keeps_nothing_back(bench):
    trigger = arm(bench, request("GET /a"), hold=False)
    dialer, target = await bench.pair()
    await dialer.send(ASK)
    await fired(trigger)
    assert await target.get() == ASK
    await dialer.send(b"GET /b")
    assert await target.get(within_s=SOON_S) == b"GET /b"


async def test_what_no_reader_knows_goes_on_at_once(bench):
    arm(bench, message("never"))
    dialer, target = await bench.pair()
    await dialer.send(b"hello\n")
    assert await target.get(within_s=SOON_S) == b"hello\n"
    assert "hello" in (await bench.event(ev.WireUnreadable)).reason


@pytest.mark.parametrize("is_armed", [False, True], ids=["", "armed"])
async def test_what_is_not_complete_goes_on_before_a_reset(bench, is_armed):
    dialer, target = await bench.pair()
    if is_armed:
        arm(bench, message("never"))
    await dialer.send(ASK)
    assert await target.get() == ASK
    await dialer.send(b"GET /part")
    dialer.reset()
    assert await until_reset(target) == b"GET /part"


async def test_what_comes_right_before_a_reset_is_read_along_and_can_be_held(bench):
    dialer, target = await bench.pair()
    trigger = arm(bench, request("GET /last"))
    long = b"GET /a HTTP/1.1\r\nX: ".ljust(1020, b"y") + b"\r\n\r\n"
    dialer.sock.send(long * 64 + LAST + b"GET /pa")  # more than is read at once
    dialer.reset()
    await fired(trigger)
    got = b""
    while len(got) < 65_536:
        got += await target.get()
    assert got == long * 64
    await silent(target)
    trigger.let_go(drop=False)
    assert await until_reset(target) == LAST + b"GET /pa"
    assert sum(isinstance(event, ev.WireSaid) for event in bench.events) == 65


async def test_a_reset_that_is_held_lets_what_is_delayed_go_on(bench):
    dialer, target = await bench.pair()
    values = {"delay_ms": 60.0, "jitter_ms": 0.0}
    hurting.shape(bench.front, {"way": "to-target", "part": "delay", "values": values, "seed": "1"})
    trigger = arm(bench, closed("reset"))
    await dialer.send(ASK)
    dialer.reset()
    await fired(trigger)
    assert await target.get() == ASK
    await silent(target)
    trigger.let_go(drop=False)
    assert await until_reset(target) == b""


async def test_a_half_close_goes_behind_what_is_held(bench):
    dialer, target = await bench.pair()
    trigger = arm(bench, request("GET /a"))
    await dialer.send(ASK)
    await fired(trigger)
    assert hurting.half_close(bench.front, {"towards": "target"}) == 1
    await silent(target)
    trigger.let_go(drop=False)
    assert await target.get_all() == ASK


async def test_a_trigger_whose_turn_never_came_takes_the_next(bench):
    dialer, _target = await bench.pair()
    first, second = arm(bench, request("GET /a")), arm(bench, request("GET /a"), 2, hold=False)
    await dialer.send(ASK)
    await fired(first)
    first.let_go(drop=True)
    assert not second.fired.done()
    dialer, _target = await bench.pair()
    await dialer.send(ASK)
    assert (await fired(second))["conn"] == 2


async def cut_behind_unread(bench):
    """Return a cut that waits for its reader, the reader, and how many bytes he is to get."""
    dialer, target = await bench.pair()
    trigger = arm(bench, message("binary"), before=False, hold=False, act="cut", way="to-target")
    await dialer.send(upgrade())
    await target.get()
    await target.send(SWITCHING)
    await dialer.get()
    data = frame(2, bytes(12 << 20), masked=True)
    sending = asyncio.create_task(dialer.send(data + bytes([0x82])))
    left = len(data)
    while left > 400_000:
        left -= len(await target.get())
    return trigger, target, left, sending


def is_read(bench, left):
    def probe():
        live = bench.front.live()
        return not live or "held" in live[0].to_target._stops or NotYet("not all was read")

    return until(probe, what=f"a link that has read all, {left} bytes before its reader", within_s=3)


async def test_a_cut_is_told_when_it_was_done(bench):
    trigger, target, left, sending = await cut_behind_unread(bench)
    await is_read(bench, left)
    assert bench.front.live() == [] or not trigger.fired.done()
    assert len(await until_reset(target)) == left
    await fired(trigger)
    assert bench.front.live() == []
    await asyncio.gather(sending, return_exceptions=True)


async def test_a_cut_that_cannot_arrive_is_given_up(bench, monkeypatch):
    monkeypatch.setattr(pump, "TAKES_NOTHING_S", 0.05)
    monkeypatch.setattr(pump, "undelivered_bytes", lambda _sock: 7)
    dialer, target = await bench.pair()
    trigger = arm(bench, request("GET /a"), act="cut")
    await dialer.send(ASK)
    await asyncio.sleep(0.15)
    assert (trigger.fired.done(), trigger.taken) == (False, 0)
    assert await target.get() == ASK, "its connection goes on"


async def test_a_cut_that_is_disarmed_meanwhile_is_not_made(bench, monkeypatch):
    monkeypatch.setattr(pump, "undelivered_bytes", lambda _sock: 7)
    dialer, target = await bench.pair()
    arm(bench, request("GET /a"), act="cut")
    await dialer.send(ASK)
    await silent(target)
    bench.front.disarm(1)
    assert await target.get() == ASK


async def test_a_cut_at_the_beginning_is_told_when_it_was_done(bench):
    trigger = arm(bench, opened(), act="cut")
    seen = []
    fire = trigger.fire

    def telling(conn, said):
        seen.append(len(bench.front.live()))
        fire(conn, said)

    vars(trigger)["fire"] = telling
    await bench.dial()
    await fired(trigger)
    assert seen == [0]
