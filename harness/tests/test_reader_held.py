"""What the readers of HTTP, WebSocket and LiveKit name can be stopped on a link before its first byte goes on."""

import asyncio

import pytest

from harness.links.triggers import Trigger
from harness.moments import closed, message, nth, reply, request
from harness.tests.links_world import Bench
from harness.tests.wire_bytes import ACK, SWITCHING, close, frame, post, signals, text, upgrade

ACKED = text(ACK)


@pytest.fixture
async def bench():
    bench = Bench()
    yield bench
    bench.close()


def armed(bench, moment, *, before=True, act="tell"):
    fired = asyncio.get_running_loop().create_future()
    trigger = Trigger(1, moment, before=before, hold=True, act=act, fired=fired)
    bench.front.arm(trigger)
    return trigger


async def upgraded(bench):
    dialer, target = await bench.pair()
    await dialer.send(upgrade())
    assert await target.get() == upgrade()
    return dialer, target


async def holds_back(dialer, passes):
    """Take what went on; prove that nothing follows."""
    assert await dialer.get() == passes
    with pytest.raises(TimeoutError):
        await dialer.get(within_s=0.05)


async def test_the_ack_is_held_and_then_goes_on_whole(bench):
    trigger = armed(bench, message("connection_ack"))
    dialer, target = await upgraded(bench)
    await target.send(SWITCHING + ACKED[:30])
    await holds_back(dialer, SWITCHING)
    await target.send(ACKED[30:] + text({"type": "app_started"}))
    told = await asyncio.wait_for(trigger.fired, 2)
    assert (told["said"], told["way"]) == ("message connection_ack", "to-dialer")
    with pytest.raises(TimeoutError):
        await dialer.get(within_s=0.05)
    trigger.let_go(drop=False)
    assert await dialer.get() == ACKED + text({"type": "app_started"})


async def test_behind_the_ack_means_that_it_went_on(bench):
    trigger = armed(bench, message("connection_ack"), before=False)
    dialer, target = await upgraded(bench)
    await target.send(SWITCHING + ACKED + text({"type": "app_started"}))
    await asyncio.wait_for(trigger.fired, 2)
    await holds_back(dialer, SWITCHING + ACKED)


async def test_a_close_by_its_code_is_dropped(bench):
    trigger = armed(bench, closed(1001))
    dialer, target = await upgraded(bench)
    await target.send(SWITCHING + ACKED + close(1001, "ping timeout"))
    assert (await asyncio.wait_for(trigger.fired, 2))["said"] == "close 1001"
    assert await dialer.get() == SWITCHING + ACKED
    trigger.let_go(drop=True)
    with pytest.raises(ConnectionResetError):
        await dialer.get()


async def test_another_close_is_not_the_moment(bench):
    trigger = armed(bench, closed(1001))
    dialer, target = await upgraded(bench)
    await target.send(SWITCHING + close(1000))
    assert await dialer.get() == SWITCHING + close(1000)
    assert not trigger.fired.done()


async def test_the_third_binary_message_is_told(bench):
    trigger = armed(bench, nth(message("binary"), 3))
    dialer, target = await upgraded(bench)
    await target.send(SWITCHING)
    await dialer.get()
    audio = [frame(2, bytes([n]) * 1000, masked=True) for n in range(3)]
    await dialer.send(b"".join(audio))
    await asyncio.wait_for(trigger.fired, 2)
    passed = await target.get()
    assert passed == audio[0] + audio[1]


@pytest.mark.parametrize("moment", [request("POST /webhook"), reply("POST /webhook")], ids=str)
async def test_a_webhook_hangs(bench, moment):
    trigger = armed(bench, moment, act="hang")
    dialer, target = await bench.pair()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    asked = post(b'{"type": "session_request"}')
    await dialer.send(asked)
    if moment.kinds == ("reply",):
        assert await target.get() == asked
        await target.send(answer)
    await asyncio.wait_for(trigger.fired, 2)
    bench.front.disarm(1)
    waits, wanted = (dialer, answer) if moment.kinds == ("reply",) else (target, asked)
    assert await waits.get() == wanted


async def test_a_leave_of_livekit_is_held(bench):
    trigger = armed(bench, message("leave"))
    dialer, target = await bench.pair()
    for way, data in signals():
        await (dialer if way == "to-target" else target).send(data)
        if way == "to-target":
            assert await target.get() == data
    await asyncio.wait_for(trigger.fired, 2)
    steps = [data for way, data in signals() if way == "to-dialer"]
    got = await dialer.get()
    while len(got) < len(b"".join(steps[:-2])):
        got += await dialer.get()
    assert got == b"".join(steps[:-2])
