"""Waiting is polling for a reason; the reason ends up in the error."""

import asyncio

import pytest

from harness.errors import NotReached
from harness.waiting import NotYet, pause, until, within


async def test_gives_the_value_as_soon_as_it_is_there():
    answers = iter([NotYet("one"), NotYet("two"), 7])
    assert await until(lambda: next(answers), what="seven", within_s=1, every_s=0.001) == 7


async def test_the_last_reason_is_in_the_sentence():
    with pytest.raises(NotReached, match=r"waited 0\.0 s for captions; last seen: 2 of 3"):
        await until(lambda: NotYet("2 of 3"), what="captions", within_s=0.01, every_s=0.001)


async def test_a_probe_that_hangs_is_given_up():
    async def hang():
        await asyncio.Event().wait()

    with pytest.raises(NotReached, match="hung"):
        await until(hang, what="an answer", within_s=0.02)


async def test_a_falsy_value_is_a_value():
    assert await until(lambda: 0, what="zero", within_s=0.1) == 0


async def test_a_pause_needs_a_reason():
    with pytest.raises(ValueError, match="reason"):
        await pause(0, why="")


async def test_a_cancellation_that_comes_with_the_result_is_not_lost():
    answer = asyncio.get_running_loop().create_future()
    asking = asyncio.create_task(within(answer, 5))
    await asyncio.sleep(0)
    answer.set_result("here")
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_within_gives_the_result_or_says_that_the_time_is_up():
    assert await within(asyncio.sleep(0, "here"), 5) == "here"
    with pytest.raises(TimeoutError):
        await within(asyncio.get_running_loop().create_future(), 0.01)
