"""Stacks run side by side only while the machine can judge them."""

import asyncio
import time

import pytest

from harness import turns
from harness.turns import Load, Turn, measure, take_turn

QUIET, BUSY = Load(0.1, 0.0, 1.0), Load(0.95, 0.0, 1.0)


def untold(text):
    """Nobody should have to wait."""
    raise AssertionError(text)


class Machine:
    """A machine of which each look takes no time."""

    def __init__(self, *loads: Load) -> None:
        self.loads, self.looks = list(loads), 0

    async def __call__(self) -> Load:
        """Give the next load; the last one stays."""
        self.looks += 1
        await asyncio.sleep(0)
        return self.loads.pop(0) if len(self.loads) > 1 else self.loads[0]


async def test_the_first_stack_starts_at_once_even_on_a_busy_machine(tmp_path):
    """Nobody runs: nothing is measured and nothing is waited for."""
    machine = Machine(BUSY)
    with await take_turn(tmp_path, untold, look=machine) as turn:
        assert turn.waited_s < 0.5
    assert machine.looks == 0


async def test_a_second_stack_waits_until_the_machine_has_room(tmp_path, monkeypatch):
    """It says once why it waits."""
    monkeypatch.setattr(turns, "TELL_AFTER_S", 0.0)
    said: list[str] = []
    with (
        await take_turn(tmp_path, untold),
        await take_turn(tmp_path, said.append, look=Machine(BUSY, BUSY, BUSY, QUIET)) as second,
    ):
        assert second.waited_s > 0.1
    assert said == ["waiting for a turn: 95% of the cores are in use"]


async def test_no_more_than_the_ceiling(tmp_path, monkeypatch):
    """The slot that is given back is the next one's, however quiet the machine is."""
    monkeypatch.setattr(turns, "TELL_AFTER_S", 0.0)
    said: list[str] = []
    first = await take_turn(tmp_path, untold, ceiling=2)
    await take_turn(tmp_path, untold, ceiling=2, look=Machine(QUIET))
    third = asyncio.create_task(take_turn(tmp_path, said.append, ceiling=2, look=Machine(QUIET)))
    await asyncio.sleep(0.3)
    assert not third.done()
    first.close()
    assert isinstance(await asyncio.wait_for(third, 2), Turn)
    assert said == ["waiting for a turn: 2 stacks run already"]


async def test_only_one_at_a_time_is_let_in(tmp_path):
    """Of two that wait, the second measures after the first has started: both cannot go by one quiet look."""
    inside = await take_turn(tmp_path, untold)
    looking, most = 0, 0

    async def look() -> Load:
        nonlocal looking, most
        looking += 1
        most = max(most, looking)
        await asyncio.sleep(0.05)
        looking -= 1
        return QUIET

    turns_taken = await asyncio.gather(*(take_turn(tmp_path, untold, look=look) for _ in range(3)))
    assert most == 1
    for turn in (inside, *turns_taken):
        turn.close()


async def test_who_gives_up_waiting_leaves_the_door_open(tmp_path):
    """A cancelled wait holds nothing."""
    with await take_turn(tmp_path, untold):
        waiting = asyncio.create_task(take_turn(tmp_path, untold, look=Machine(BUSY)))
        await asyncio.sleep(0.2)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        with await take_turn(tmp_path, untold, look=Machine(QUIET)) as turn:
            assert turn.waited_s < 1


@pytest.mark.parametrize(
    ("load", "why"),
    [
        (Load(0.2, 0.0, 3.0), None),
        (Load(0.9, 0.0, 3.0), "90% of the cores are in use"),
        (Load(0.2, 0.2, 3.0), "the hypervisor takes 20% of the time"),
        (Load(0.2, 0.0, 240.0), "an idle loop is 240 ms late"),
    ],
)
def test_why_a_machine_has_no_room(load, why):
    """Use, steal and lag each say so in words."""
    assert load.why_not() == why


async def test_what_is_measured_is_this_machine(monkeypatch):
    """Shares lie between 0 and 1, and a loop that stood still is seen."""
    monkeypatch.setattr(turns, "WINDOW_S", 0.1)
    asyncio.get_running_loop().call_later(0.03, time.sleep, 0.08)
    load = await measure()
    assert 0 <= load.busy <= 1
    assert 0 <= load.steal <= 1
    assert load.late_ms > 40
