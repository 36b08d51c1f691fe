"""The tests of links once more on uvloop, on which the links process runs where it can be had."""

import asyncio
import inspect

import pytest

from harness.links.__main__ import fast_loop
from harness.tests import test_links, test_links_faults
from harness.tests.links_world import Bench

uvloop = pytest.importorskip("uvloop")
WORLD = {"bench", "ends", "ways"}
TESTS = [
    (test, turn)
    for module in (test_links, test_links_faults)
    for name, test in vars(module).items()
    if name.startswith("test_") and inspect.iscoroutinefunction(test)
    and (wants := set(inspect.signature(test).parameters)) <= WORLD and wants
    for turn in (("to-target", "to-dialer") if wants != {"bench"} else ("",))
]  # fmt: skip


@pytest.mark.parametrize(("test", "turn"), TESTS, ids=[f"{test.__name__}-{turn}".rstrip("-") for test, turn in TESTS])
def test_on_uvloop(test, turn):
    async def play():
        assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
        bench = Bench()
        try:
            world = {"bench": bench}
            wants = inspect.signature(test).parameters
            if turn:
                both = await bench.pair()
                one, other = both if turn == "to-target" else both[::-1]
                world |= {"ends": (one, other), "ways": (turn, one, other)}
            await test(**{name: world[name] for name in wants})
        finally:
            bench.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(play())


def test_the_links_process_takes_it():
    assert fast_loop() == (uvloop.new_event_loop, "")


def test_without_it_the_links_process_says_so(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "uvloop", None)
    factory, why = fast_loop()
    assert factory is None
    assert why.startswith("links run on asyncio's own loop: ")
