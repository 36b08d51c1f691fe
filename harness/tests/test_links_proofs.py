"""What proves a fault on a link, and what does not: nothing that waited anyway, and no fault twice."""

import asyncio

import pytest

from harness.errors import FaultDidNotLand
from harness.links import Links, hurting
from harness.links.triggers import Trigger
from harness.moments import opened
from harness.tests.links_world import Bench, free_address
from harness.waiting import NotYet, until

BOTH = {"way": "both"}
NOTHING = {"bytes": 0, "ends": 0, "dialers": 0, "windows": 0, "connections": 1}
BEGIN_AND_END = {"hole": (hurting.hole, hurting.close_hole), "stall": (hurting.stall, hurting.end_stall)}


@pytest.fixture
async def bench():
    made = Bench()
    yield made
    made.close()


def delayed(delay_ms):
    values = {"delay_ms": delay_ms, "jitter_ms": 0.0}
    return {"way": "to-target", "part": "delay", "values": values, "seed": ""}


@pytest.mark.parametrize(("begin", "end"), BEGIN_AND_END.values(), ids=BEGIN_AND_END)
async def test_a_fin_that_was_passed_on_before_proves_nothing(bench, begin, end):
    dialer, target = await bench.pair()
    dialer.finish()
    assert await target.get() == b""
    begin(bench.front, BOTH)
    assert end(bench.front, BOTH) == NOTHING


@pytest.mark.parametrize(("begin", "end"), BEGIN_AND_END.values(), ids=BEGIN_AND_END)
async def test_what_waits_for_its_reader_proves_nothing(bench, begin, end):
    dialer, _target = await bench.pair()

    def full():
        more = dialer.fill()
        return NotYet(f"{more} bytes more") if more else True

    await until(full, what="a full connection", within_s=3)
    begin(bench.front, {"way": "to-target"})
    assert end(bench.front, {"way": "to-target"})["bytes"] == 0


@pytest.mark.parametrize(("begin", "end"), BEGIN_AND_END.values(), ids=BEGIN_AND_END)
async def test_what_comes_meanwhile_proves_it(bench, begin, end):
    dialer, _target = await bench.pair()
    begin(bench.front, {"way": "to-target"})
    await dialer.send(b"there")
    dialer.finish()
    await asyncio.sleep(0.02)
    told = end(bench.front, {"way": "to-target"})
    assert (told["bytes"], told["ends"]) == (5, 1)


@pytest.mark.parametrize(("begin", "end"), BEGIN_AND_END.values(), ids=BEGIN_AND_END)
async def test_what_is_held_already_is_refused(bench, begin, end):
    begin(bench.front, {"way": "to-target"})
    with pytest.raises(FaultDidNotLand, match=r"a->b: a (hole|stall) to-target is already held"):
        begin(bench.front, BOTH)
    assert bench.front.hurts.stops["to-dialer"] == set(), "nothing of it was begun"
    end(bench.front, {"way": "to-target"})
    begin(bench.front, BOTH)


async def test_a_second_delay_is_refused_and_the_first_stays_proved(bench):
    dialer, target = await bench.pair()
    hurting.shape(bench.front, delayed(5.0))
    with pytest.raises(FaultDidNotLand, match="a delay to-target is already held"):
        hurting.shape(bench.front, delayed(10.0))
    await dialer.send(bytes(1000))
    await target.get()
    assert hurting.unshape(bench.front, delayed(0.0)) == 1000
    hurting.shape(bench.front, delayed(10.0))


async def test_who_asks_the_links_process_twice_gets_the_sentence(tmp_path):
    links = Links("r1", tmp_path)
    await links.start()
    try:
        await links.open("a->b", [free_address()], free_address())
        await links.hole("a->b", "both")
        with pytest.raises(FaultDidNotLand, match=r"a->b: a hole to-target and to-dialer is already held"):
            await links.hole("a->b", "both")
    finally:
        await links.stop()


async def test_a_hole_opened_and_closed_before_a_connection_begins_does_it_no_harm(bench):
    trigger = Trigger(1, opened(), True, True, "tell", bench.loop.create_future())
    bench.front.arm(trigger)
    dialer, target = await bench.pair()
    await asyncio.wait_for(trigger.fired, 2)
    hurting.hole(bench.front, BOTH)
    hurting.close_hole(bench.front, BOTH)
    trigger.let_go(drop=False)
    await dialer.send(b"hi")
    assert await target.get() == b"hi"


async def test_a_reset_is_watched_once_however_often_it_is_asked_for(bench):
    dialer, target = await bench.pair()
    live = bench.front.live()[0]
    heard = []
    bench.resets.add(live.dialer, lambda: heard.append("first"))
    bench.resets.add(live.dialer, lambda: live.reset("dialer"))
    dialer.reset()
    with pytest.raises(ConnectionResetError):
        await target.get()
    assert heard == []


async def test_what_came_before_a_reset_in_a_hole_goes_on_before_it(bench):
    dialer, target = await bench.pair()
    hurting.hole(bench.front, {"way": "to-target"})
    await dialer.send(b"last words")
    await asyncio.sleep(0.02)
    dialer.reset()
    await target.send(b"to nobody")  # so that the link knows of the reset
    await asyncio.sleep(0.02)
    assert hurting.close_hole(bench.front, {"way": "to-target"})["ends"] >= 1
    assert await target.get() == b"last words"
    with pytest.raises(ConnectionResetError):
        await target.get()
