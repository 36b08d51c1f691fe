"""A trigger acts at its message, to the byte: before it or behind it, holding, letting go, dropping."""

import asyncio

import pytest

from harness import events as ev
from harness.links.reading import Said
from harness.links.triggers import Trigger
from harness.moments import closed, message, nth, opened
from harness.tests.links_world import Bench

LINE = b"\n"


class Lines:
    """A reader of a protocol of our own: each line is a message, named by its text."""

    unreadable = ""

    def __init__(self):
        self.at = {"to-target": 0, "to-dialer": 0}
        self.rest = {"to-target": b"", "to-dialer": b""}

    def feed(self, way, data):
        said = []
        *lines, self.rest[way] = (self.rest[way] + data).split(LINE)
        for line in lines:
            end = self.at[way] + len(line) + 1
            said.append(Said(way, "message", line.decode(), self.at[way], end))
            self.at[way] = end
        return said

    def settled(self, way, *_):
        return self.at[way]


@pytest.fixture
async def bench(monkeypatch):
    monkeypatch.setattr("harness.links.front.Conversation", Lines)
    made = Bench()
    yield made
    made.close()


def arm(bench, moment, number=1, *, before=True, hold=True, act="tell"):
    trigger = Trigger(number, moment, before, hold, act, asyncio.get_running_loop().create_future(), label=f"t{number}")
    bench.front.arm(trigger)
    return trigger


async def fired(trigger):
    return await asyncio.wait_for(asyncio.shield(trigger.fired), 2)


async def silent(side):
    """Nothing more comes: as far as 50 ms can tell."""
    with pytest.raises(TimeoutError):
        await side.get(within_s=0.05)


@pytest.mark.parametrize(("before", "comes", "rest"), [(True, b"a\n", b"b\nc\n"), (False, b"a\nb\n", b"c\n")])
async def test_it_holds_before_the_message_or_behind_it(bench, before, comes, rest):
    dialer, target = await bench.pair()
    trigger = arm(bench, message("b"), before=before)
    await dialer.send(b"a\nb\nc\n")
    assert (await fired(trigger))["said"] == "message b"
    assert await target.get() == comes
    await silent(target)
    assert trigger.let_go(drop=False) == 1
    assert await target.get() == rest
    await dialer.send(b"b\n")
    assert await target.get() == b"b\n", "it acts once"


async def test_it_tells_without_holding(bench):
    dialer, target = await bench.pair()
    trigger = arm(bench, message("a"), hold=False)
    await dialer.send(b"a\n")
    assert await target.get() == b"a\n"
    assert (await fired(trigger))["way"] == "to-target"


async def test_the_other_direction_goes_on(bench):
    dialer, target = await bench.pair()
    trigger = arm(bench, message("a"))
    await dialer.send(b"a\n")
    await fired(trigger)
    await target.send(b"x\n")
    assert await dialer.get() == b"x\n"


async def test_what_is_dropped_never_arrives(bench):
    dialer, target = await bench.pair()
    trigger = arm(bench, message("b"))
    await dialer.send(b"a\nb\n")
    await fired(trigger)
    assert await target.get() == b"a\n"
    trigger.let_go(drop=True)
    for side in (target, dialer):
        with pytest.raises(ConnectionResetError):
            await side.get()
    assert (await bench.event(ev.LinkClosed)).first == "link"


async def test_a_cut_resets_in_front_of_the_message(bench):
    dialer, target = await bench.pair()
    trigger = arm(bench, message("b"), act="cut")
    await dialer.send(b"a\nb\n")
    await fired(trigger)
    with pytest.raises(ConnectionResetError):
        await target.get_all()
    with pytest.raises(ConnectionResetError):
        await dialer.get()


async def test_the_nth_is_counted_over_all_connections(bench):
    one, target_of_one = await bench.pair()
    other, target_of_other = await bench.pair()
    trigger = arm(bench, nth("a", 3))
    await one.send(b"a\n")
    assert await target_of_one.get() == b"a\n"
    await other.send(b"a\n")
    assert await target_of_other.get() == b"a\n"
    await one.send(b"a\n")
    assert (await fired(trigger))["conn"] == 1
    await silent(target_of_one)


async def test_a_hang_holds_every_time_and_counts(bench):
    one, target_of_one = await bench.pair()
    other, target_of_other = await bench.pair()
    trigger = arm(bench, message("a"), act="hang")
    for side in (one, other):
        await side.send(b"a\n")
    await silent(target_of_one)
    await silent(target_of_other)
    assert bench.front.disarm("t1") is trigger
    assert (trigger.seen, trigger.acted) == (2, 2)
    for side in (target_of_one, target_of_other):
        assert await side.get() == b"a\n"


async def test_a_message_that_comes_in_pieces_is_held_from_its_first_byte(bench):
    dialer, target = await bench.pair()
    trigger = arm(bench, message("long"))
    await dialer.send(b"a\nlo")
    assert await target.get() == b"a\n"
    await silent(target)
    await dialer.send(b"ng\n")
    await fired(trigger)
    await silent(target)
    bench.front.disarm(1)
    assert await target.get() == b"long\n"


async def test_armed_in_mid_message_it_holds_the_rest(bench):
    dialer, target = await bench.pair()
    await dialer.send(b"lo")
    assert await target.get() == b"lo"
    trigger = arm(bench, message("long"))
    await dialer.send(b"ng\n")
    await fired(trigger)
    await silent(target)
    trigger.let_go(drop=False)
    assert await target.get() == b"ng\n"


async def test_disarmed_in_mid_message_nothing_stays_behind(bench):
    dialer, target = await bench.pair()
    arm(bench, message("long"))
    await dialer.send(b"lo")
    await silent(target)
    bench.front.disarm(1)
    assert await target.get() == b"lo"


async def test_two_at_one_message_act_in_their_order(bench):
    dialer, target = await bench.pair()
    first, second = arm(bench, message("a"), 1), arm(bench, message("a"), 2)
    await dialer.send(b"a\n")
    await fired(first)
    assert not second.fired.done()
    first.let_go(drop=False)
    await fired(second)
    await silent(target)
    second.let_go(drop=False)
    assert await target.get() == b"a\n"


async def test_one_that_is_disarmed_while_another_holds_never_acts(bench):
    dialer, target = await bench.pair()
    first, second = arm(bench, message("a"), 1), arm(bench, message("a"), 2)
    await dialer.send(b"a\n")
    await fired(first)
    bench.front.disarm(2)
    first.let_go(drop=False)
    assert await target.get() == b"a\n"
    assert second.acted == 0


async def test_a_new_connection_is_held(bench):
    trigger = arm(bench, opened())
    dialer, target = await bench.pair()
    await dialer.send(b"a\n")
    await fired(trigger)
    await silent(target)
    trigger.let_go(drop=False)
    assert await target.get() == b"a\n"


async def test_the_second_connection_is_cut(bench):
    trigger = arm(bench, nth(opened(), 2), act="cut")
    one, target_of_one = await bench.pair()
    await one.send(b"a\n")
    assert await target_of_one.get() == b"a\n"
    other = await bench.dial()
    with pytest.raises(ConnectionResetError):
        await other.get()
    assert (await fired(trigger))["conn"] == 2


async def test_a_fin_is_held_and_let_go_late(bench):
    dialer, target = await bench.pair()
    trigger = arm(bench, closed("fin"))
    await dialer.send(b"a\n")
    dialer.finish()
    await fired(trigger)
    assert await target.get() == b"a\n"
    await silent(target)
    trigger.let_go(drop=False)
    assert await target.get() == b""


async def test_a_reset_is_held_and_let_go_late(bench):
    dialer, target = await bench.pair()
    trigger = arm(bench, closed("reset"))
    dialer.reset()
    await fired(trigger)
    await silent(target)
    trigger.let_go(drop=False)
    with pytest.raises(ConnectionResetError):
        await target.get()


async def test_a_reset_waits_behind_what_is_held(bench):
    dialer, target = await bench.pair()
    trigger = arm(bench, message("b"))
    await dialer.send(b"a\nb\n")
    await fired(trigger)
    assert await target.get() == b"a\n"
    dialer.reset()
    await silent(target)
    await target.send(b"x\n")
    await silent(target)
    bench.front.disarm(1)
    with pytest.raises(ConnectionResetError):
        await target.get_all()


async def test_a_connection_that_dies_of_its_other_end_takes_what_is_held_with_it(bench):
    dialer, target = await bench.pair()
    trigger = arm(bench, message("b"))
    await dialer.send(b"b\n")
    await fired(trigger)
    target.reset()
    with pytest.raises(ConnectionResetError):
        await dialer.get()
    assert trigger.let_go(drop=False) == 1
    assert bench.front.state().open == 0


async def test_a_fin_of_the_held_direction_comes_behind_what_was_held(bench):
    dialer, target = await bench.pair()
    trigger = arm(bench, message("b"))
    await dialer.send(b"b\n")
    dialer.finish()
    await fired(trigger)
    await silent(target)
    trigger.let_go(drop=False)
    assert await target.get_all() == b"b\n"
