"""What a fault does to a link's connections, per direction, and what proves that it mattered."""

import asyncio
import contextlib
import random
import socket
import time

import pytest

from harness import events as ev
from harness.links import hurting
from harness.links.kernel import is_window_closed, waiting_bytes
from harness.links.reading import Said
from harness.links.triggers import Trigger
from harness.moments import message, nth
from harness.tests.links_world import Bench
from harness.waiting import NotYet, until

QUIET_S = 0.05


@pytest.fixture
async def bench():
    made = Bench()
    yield made
    made.close()


@pytest.fixture(params=["to-target", "to-dialer"])
async def ways(request, bench):
    """(direction, who speaks in it, who hears it)."""
    dialer, target = await bench.pair()
    return (request.param, dialer, target) if request.param == "to-target" else (request.param, target, dialer)


async def hears_nothing(side):
    with pytest.raises(TimeoutError):
        await side.get(within_s=QUIET_S)


def waited(bench, way="both"):
    return hurting.close_hole(bench.front, {"way": way})


# -- holes ---------------------------------------------------------------------------------------------------------


async def test_nothing_passes_a_hole_and_all_goes_on_behind_it(bench):
    dialer, target = await bench.pair()
    assert hurting.hole(bench.front, {"way": "both"}) == 1
    await dialer.send(b"there")
    await target.send(b"back again")
    dialer.finish()
    await asyncio.gather(hears_nothing(dialer), hears_nothing(target))
    late = await bench.dial()  # the kernel shakes hands, nobody accepts
    await late.send(b"hello")
    await hears_nothing(late)
    assert bench.front.state().accepted == 1
    assert waited(bench) == {"bytes": 15, "ends": 1, "dialers": 1, "windows": 0, "connections": 1}
    assert await target.get_all() == b"there"
    assert await dialer.get() == b"back again"
    sock, _ = await asyncio.wait_for(bench.loop.sock_accept(bench.listener), 2)
    sock.setblocking(False)
    assert await asyncio.wait_for(bench.loop.sock_recv(sock, 99), 2) == b"hello"
    sock.close()


async def test_a_hole_of_one_direction_lets_the_other_pass(ways, bench):
    way, one, other = ways
    hurting.hole(bench.front, {"way": way})
    await one.send(b"lost?")
    await other.send(b"heard")
    assert await one.get() == b"heard"
    await hears_nothing(other)
    assert waited(bench, way)["bytes"] == 5
    assert await other.get() == b"lost?"


async def test_a_reset_does_not_pass_a_hole_until_it_is_closed(ways, bench):
    way, one, other = ways
    hurting.hole(bench.front, {"way": way})
    one.reset()
    await hears_nothing(other)
    await other.send(b"to nobody")  # whose delivery fails, and still nothing comes back
    await hears_nothing(other)
    assert bench.front.state().open == 1
    assert waited(bench, way)["ends"] >= 1
    with pytest.raises(ConnectionResetError):
        await other.get()


async def test_an_idle_hole_says_so(bench):
    await bench.pair()
    hurting.hole(bench.front, {"way": "both"})
    assert waited(bench) == {"bytes": 0, "ends": 0, "dialers": 0, "windows": 0, "connections": 1}


async def test_what_a_delay_has_on_its_way_is_stopped_by_a_hole(ways, bench):
    way, one, other = ways
    delay(bench, way, 20)
    await one.send(b"late")
    await asyncio.sleep(0.005)
    hurting.hole(bench.front, {"way": way})
    await hears_nothing(other)
    waited(bench, way)
    assert await other.get() == b"late"


async def test_what_was_under_way_is_stopped_by_a_hole(bench):
    """Also what the link had read and the other end not yet taken."""
    dialer, target = await bench.pair()
    taken = 0
    while bench.front.live()[0].to_target._kept == b"":
        taken += dialer.fill()
        await asyncio.sleep(0)
    hurting.hole(bench.front, {"way": "both"})
    got = 0
    with contextlib.suppress(TimeoutError):
        while True:
            got += len(await target.get(within_s=QUIET_S))
    assert got < taken
    waited(bench)
    while got < taken:
        got += len(await target.get())


# -- stalls --------------------------------------------------------------------------------------------------------


async def test_what_waited_in_a_stalled_connection_that_was_reset_is_told(ways, bench):
    way, one, other = ways
    hurting.stall(bench.front, {"way": way})
    await one.send(b"nobody reads it")
    source = bench.front.live()[0].pump(way).source

    async def come():
        while waiting_bytes(source) == 0:
            await asyncio.sleep(0)

    await asyncio.wait_for(come(), 2)
    other.reset()
    with pytest.raises(ConnectionResetError):
        await one.get()
    told = hurting.end_stall(bench.front, {"way": way})
    assert (told["bytes"], told["connections"]) == (len(b"nobody reads it"), 0)
    assert hurting.stall(bench.front, {"way": way}) == 0
    assert hurting.end_stall(bench.front, {"way": way})["bytes"] == 0


async def test_a_stall_closes_the_window_and_blocks_the_sender(ways, bench):
    way, one, other = ways
    hurting.stall(bench.front, {"way": way})
    source = bench.front.live()[0].pump(way).source
    sent = one.fill()

    def blocked():
        nonlocal sent
        sent += one.fill()
        return is_window_closed(source) or NotYet(f"{waiting_bytes(source)} of {sent} bytes")

    await until(blocked, what="a closed window", within_s=2)
    await other.send(b"on")
    assert await one.get() == b"on"
    found = hurting.end_stall(bench.front, {"way": way})
    assert (found["windows"], found["connections"]) == (1, 1)
    assert 0 < found["bytes"] <= sent
    got = 0
    while got < sent:
        got += len(await other.get())


async def test_a_reset_passes_a_stall(ways, bench):
    way, one, other = ways
    hurting.stall(bench.front, {"way": way})
    await one.send(b"never mind")
    one.reset()
    with pytest.raises(ConnectionResetError):
        while await other.get():
            pass


# -- half closes ---------------------------------------------------------------------------------------------------


async def test_a_half_close_ends_one_direction_only(ways, bench):
    way, one, other = ways
    await one.send(b"last words")
    assert await other.get() == b"last words"
    assert hurting.half_close(bench.front, {"towards": way.removeprefix("to-")}) == 1
    assert await other.get() == b""
    await one.send(b"to nobody")
    await other.send(b"still here")
    assert await one.get() == b"still here"
    assert hurting.half_close(bench.front, {"towards": way.removeprefix("to-")}) == 0, "it has had one"
    other.finish()
    assert await one.get() == b""
    one.finish()
    assert ((await bench.event(ev.LinkClosed)).how, bench.front.state().open) == ("fin", 0)


# -- shapes --------------------------------------------------------------------------------------------------------


def delay(bench, way, ms, jitter_ms=0.0):
    values = {"delay_ms": ms, "jitter_ms": jitter_ms}
    return hurting.shape(bench.front, {"way": way, "part": "delay", "values": values, "seed": "7"})


def throttle(bench, way, bytes_per_s):
    return hurting.shape(bench.front, {"way": way, "part": "rate", "values": {"bytes_per_s": bytes_per_s}, "seed": ""})


async def test_a_delay_makes_bytes_and_their_end_late(ways, bench):
    way, one, other = ways
    assert delay(bench, way, 60) == 1
    began = time.monotonic()
    await one.send(b"late")
    await other.send(b"at once")
    assert await one.get() == b"at once"
    assert time.monotonic() - began < 0.05
    assert await other.get() == b"late"
    assert time.monotonic() - began >= 0.058
    began = time.monotonic()
    one.finish()
    assert await other.get() == b""
    assert time.monotonic() - began >= 0.058
    assert hurting.unshape(bench.front, {"way": way, "part": "delay"}) == 4


async def test_a_reset_travels_as_late_as_bytes_do(ways, bench):
    way, one, other = ways
    delay(bench, way, 60)
    began = time.monotonic()
    await one.send(b"before")
    await asyncio.sleep(0.01)
    one.reset()
    assert await other.get() == b"before"
    with pytest.raises(ConnectionResetError):
        await other.get()
    assert time.monotonic() - began >= 0.067
    assert (await bench.event(ev.LinkClosed)).how == "reset"


async def test_a_delay_that_ends_lets_all_go_at_once_in_order(ways, bench):
    way, one, other = ways
    delay(bench, way, 60_000)
    for number in range(5):
        await one.send(bytes([number]))
        await asyncio.sleep(0.001)
    hurting.unshape(bench.front, {"way": way, "part": "delay"})
    found = b""
    while len(found) < 5:
        found += await other.get()
    assert found == bytes(range(5))


async def test_a_slow_line_carries_so_much_and_no_more(ways, bench):
    way, one, other = ways
    throttle(bench, way, 100_000)
    await one.send(bytes(30_000))
    began, found = time.monotonic(), 0
    while found < 30_000:
        found += len(await other.get())
    took = time.monotonic() - began
    assert 0.25 < took < 0.6
    assert one.fill() > 0
    assert hurting.unshape(bench.front, {"way": way, "part": "rate"}) >= 30_000


async def test_a_slow_line_makes_the_sender_block(ways, bench):
    way, one, _other = ways
    throttle(bench, way, 1000)
    assert one.fill() < 8_000_000, "the link buffers without bound"
    assert bench.front.live()[0].pump(way).shaper.room() <= 40


async def test_a_shape_is_for_new_connections_too(bench):
    delay(bench, "both", 60)
    dialer, target = await bench.pair()
    began = time.monotonic()
    await dialer.send(b"late")
    assert await target.get() == b"late"
    assert time.monotonic() - began >= 0.058


@pytest.mark.parametrize("shape", ["delay", "throttle", "both"])
async def test_a_million_random_bytes_pass_a_shape_unchanged(bench, shape):
    dialer, target = await bench.pair()
    dice = random.Random(11)
    data = dice.randbytes(1_000_000)
    if shape != "throttle":
        delay(bench, "both", 5, 5)
    if shape != "delay":
        throttle(bench, "both", 5_000_000)

    async def talk(side):
        at = 0
        while at < len(data):
            size = dice.choice([1, 7, 640, 4096, 65536, 200_000])
            await side.send(data[at : at + size])
            at += size
        side.finish()

    async with asyncio.TaskGroup() as tasks:
        heard = [tasks.create_task(side.get_all()) for side in (target, dialer)]
        for side in (dialer, target):
            tasks.create_task(talk(side))
    assert [task.result() == data for task in heard] == [True, True]


# -- cuts at a count -----------------------------------------------------------------------------------------------


async def test_exactly_so_many_bytes_arrive_before_the_cut(ways, bench):
    way, one, other = ways
    cutting = asyncio.create_task(hurting.cut_after(bench.front, {"way": way, "bytes": 100_001}))
    await asyncio.sleep(0)
    with contextlib.suppress(ConnectionError):
        await one.send(bytes(300_000))
    found = 0
    with contextlib.suppress(ConnectionResetError):
        while True:
            found += len(await other.get())
    assert found == 100_001
    assert await asyncio.wait_for(cutting, 2) == 1
    assert (await bench.event(ev.LinkClosed)).first == "link"


async def test_a_cut_waits_for_a_slow_reader_to_have_all_that_came_before(ways, bench):
    way, one, other = ways
    other.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    cutting = asyncio.create_task(hurting.cut_after(bench.front, {"way": way, "bytes": 500_000}))
    await asyncio.sleep(0)
    sending = asyncio.create_task(one.send(bytes(600_000)))
    found = 0
    with contextlib.suppress(ConnectionResetError):
        while True:
            found += len(await other.get())
            await asyncio.sleep(0)
    assert found == 500_000
    assert await asyncio.wait_for(cutting, 2) == 1
    await asyncio.gather(sending, return_exceptions=True)


async def test_only_the_first_that_carries_so_many_is_cut(bench):
    pairs = [await bench.pair() for _ in range(2)]
    cutting = asyncio.create_task(hurting.cut_after(bench.front, {"way": "to-target", "bytes": 10}))
    await asyncio.sleep(0)
    await pairs[1][0].send(bytes(9))
    await pairs[0][0].send(bytes(10))
    assert await asyncio.wait_for(cutting, 2) == 1
    await pairs[1][0].send(bytes(10))
    found = b""
    while len(found) < 19:
        found += await pairs[1][1].get()
    assert bench.front.state().open == 1


async def test_nothing_is_cut_when_it_is_no_longer_counted(bench):
    dialer, target = await bench.pair()
    cutting = asyncio.create_task(hurting.cut_after(bench.front, {"way": "to-target", "bytes": 10}))
    await asyncio.sleep(0)
    hurting.stop_counting(bench.front, {})
    await dialer.send(bytes(20))
    assert len(await target.get()) == 20
    with pytest.raises(asyncio.CancelledError):
        await cutting


class Letters:
    """A reader of capital letters."""

    unreadable = ""

    def __init__(self):
        self.read = {"to-target": 0, "to-dialer": 0}

    def feed(self, way, data):
        at = self.read[way]
        self.read[way] += len(data)
        return [Said(way, "message", chr(one), at + i, at + i + 1) for i, one in enumerate(data)]

    def settled(self, way, *_):
        return self.read[way]


async def test_a_cut_behind_a_message_delivers_that_message(ways, bench):
    way, one, other = ways
    bench.front.live()[0].conversation = Letters()
    moment = nth(message("B"), 2)
    bench.front.arm(Trigger(1, moment, before=False, hold=False, act="cut", way=way, fired=bench.loop.create_future()))
    await other.send(b"BBBB")  # said in the other direction
    assert await one.get() == b"BBBB"
    await one.send(b"ABABAB")
    assert await other.get() == b"ABAB"
    with pytest.raises(ConnectionResetError):
        await other.get()
