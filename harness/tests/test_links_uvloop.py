"""The tests of links once more on uvloop, on which the links process runs where it can be had."""

import asyncio
import inspect

import pytest

from harness.links import front
from harness.links.__main__ import fast_loop
from harness.tests import (
    test_links,
    test_links_armed,
    test_links_faults,
    test_links_fidelity,
    test_links_proofs,
    test_reader_held,
    test_triggers,
)
from harness.tests.links_world import Bench

uvloop = pytest.importorskip("uvloop")
MODULES = (
    test_links, test_links_faults, test_triggers, test_links_armed, test_links_proofs, test_reader_held,
    test_links_fidelity,
)  # fmt: skip
WORLD = {"bench", "ends", "ways", "worlds"}


def played(test):
    """Yield (test, direction, its other arguments) for every way to play it that needs no more than a world."""
    names = list(inspect.signature(test).parameters)
    more: list[dict[str, object]] = [{}]
    for mark in getattr(test, "pytestmark", ()):
        if mark.name != "parametrize":
            return
        keys, values = mark.args[0], list(mark.args[1])
        keys = [key.strip() for key in keys.split(",")] if isinstance(keys, str) else list(keys)
        rows = [value if len(keys) > 1 else (value,) for value in values]
        more = [{**one, **dict(zip(keys, row, strict=True))} for one in more for row in rows]
    world = set(names) - set(more[0])
    if not world or not world <= WORLD:
        return
    for turn in ("to-target", "to-dialer") if world & {"ends", "ways"} else ("",):
        for one in more:
            yield test, turn, one


TESTS = [
    case
    for module in MODULES
    for name, test in vars(module).items()
    if name.startswith("test_") and inspect.iscoroutinefunction(test) and test.__module__ == module.__name__
    for case in played(test)
]  # fmt: skip


@pytest.mark.parametrize(
    ("test", "turn", "more"), TESTS, ids=[f"{test.__name__}-{turn}".rstrip("-") for test, turn, _more in TESTS]
)
def test_on_uvloop(test, turn, more, monkeypatch, tmp_path):
    if test.__module__ == test_triggers.__name__:
        monkeypatch.setattr(front, "Conversation", test_triggers.Lines)

    async def play():
        assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
        bench, files = Bench(), Bench(tmp_path)
        try:
            world = {"bench": bench, "worlds": {"tcp": bench, "unix": files}, **more}
            wants = inspect.signature(test).parameters
            if turn:
                both = await bench.pair()
                one, other = both if turn == "to-target" else both[::-1]
                world |= {"ends": (one, other), "ways": (turn, one, other)}
            await test(**{name: world[name] for name in wants})
        finally:
            bench.close()
            files.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(play())


def test_the_links_process_takes_it():
    assert fast_loop() == (uvloop.new_event_loop, "")


def test_without_it_the_links_process_says_so(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "uvloop", None)
    factory, why = fast_loop()
    assert factory is None
    assert why.startswith("links run on asyncio's own loop: ")
