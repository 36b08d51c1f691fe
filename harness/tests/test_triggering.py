"""Triggers beside the block of a story: what is struck is healed, and what became of it is said truly."""

import asyncio
from typing import Any, cast

import pytest

from harness.control import ControlError
from harness.errors import FaultNotSupported, Inconclusive, StartFailed
from harness.events import FaultFailed, Fired, Healed, Note
from harness.faults import Landed, When
from harness.moments import request
from harness.rig import triggering
from harness.rig.injector import Injector
from harness.rig.triggering import armed, held
from harness.tests.links_world import Kept

LINK = "a->b"


class Broken:
    """A fault that does what the test wants, and writes down that it did."""

    heals, target, blast = True, "b", ("b",)

    def __init__(self, scene, *, inject=None, heal=None):
        self.scene, self.on_inject, self.on_heal = scene, inject, heal

    def __str__(self):
        return "Broken(b)"

    def missing(self, _scene):
        return None

    async def inject(self, _scene):
        self.scene.did.append("inject")
        if self.on_inject is not None:
            await self.on_inject()
        return Landed("broken")

    async def heal(self, _scene):
        self.scene.did.append("heal")
        if self.on_heal is not None:
            await self.on_heal()
        return "whole"


class Scene:
    """Stands for scene and links alike; what they were asked for is in ``did``."""

    def __init__(self, *, fires=True, let_go=None):
        self.links, self.did, self.kept, self.fires, self.on_let_go = self, [], Kept(), asyncio.Event(), let_go
        if fires:
            self.fires.set()
        self.injector = Injector(self.kept)

    def why_no_link(self, link):
        return None if link == LINK else f"there is no link {link}"

    async def arm(self, *_, **__):
        return 7

    async def fired(self, _link, number, **_):
        assert number == 7
        await self.fires.wait()
        return {"conn": 1, "said": "x", "t_ns": 5}

    async def let_go(self, *_, **__):
        self.did.append("let_go")
        if self.on_let_go is not None:
            await self.on_let_go()

    async def disarm(self, *_):
        self.did.append("disarm")

    def armed(self, fault, link=LINK, **more):
        return armed(When(link, request("x"), fault, **more), self.injector, cast("Any", self))

    def events(self, kind):
        return [event for event in self.kept.events if isinstance(event, kind)]


def raising(error):
    async def fail():
        raise error

    return fail


async def slowly():
    await asyncio.sleep(0.05)


async def for_ever():
    await asyncio.Event().wait()


async def turns(count=5):
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_fault_is_struck_then_what_was_held_let_go_then_it_is_healed():
    scene = Scene()
    async with scene.armed(Broken(scene)):
        await turns()
        assert scene.did == ["inject", "let_go", "heal"]
    assert scene.did == ["inject", "let_go", "heal", "disarm"]
    assert len(scene.events(Fired)) == len(scene.events(Healed)) == 1


async def test_a_fault_for_the_block_is_healed_at_its_end():
    scene = Scene()
    async with held(When(LINK, request("x"), Broken(scene), for_block=True), scene.injector, cast("Any", scene)):
        await turns()
        assert scene.did == ["inject", "let_go"]
    assert scene.did == ["inject", "let_go", "disarm", "heal"]


async def test_a_fault_for_the_block_is_healed_when_the_block_fails():
    scene = Scene()
    with pytest.raises(AssertionError, match="the story"):
        async with scene.armed(Broken(scene), for_block=True):
            await turns()
            raise AssertionError("the story")
    assert scene.did == ["inject", "let_go", "disarm", "heal"]


@pytest.mark.parametrize("more", [{"inject": slowly}, {"heal": slowly}])
async def test_a_strike_that_has_begun_comes_to_its_end_when_the_block_fails(more):
    scene = Scene(let_go=slowly)
    with pytest.raises(AssertionError, match="the story"):
        async with scene.armed(Broken(scene, **more)):
            await turns()
            raise AssertionError("the story")
    assert scene.did == ["inject", "let_go", "heal", "disarm"]


async def test_what_is_cancelled_between_strike_and_heal_is_healed(monkeypatch):
    monkeypatch.setattr(triggering, "STRIKES_WITHIN_S", 0.02)
    scene = Scene(let_go=for_ever)
    with pytest.raises(Inconclusive, match=r"fired, but letting go what was held took more than 0\.02 s"):
        async with scene.armed(Broken(scene)):
            await turns()
    assert scene.did == ["inject", "let_go", "disarm", "heal"]


async def test_it_is_healed_and_disarmed_though_each_fails():
    scene = Scene(let_go=raising(ControlError("gone")))
    vars(scene)["disarm"] = lambda *_: raising(ControlError("disarm"))()
    with pytest.raises(StartFailed, match="heal"):
        async with scene.armed(Broken(scene, heal=raising(StartFailed("bridge", "heal"))), for_block=True):
            await turns()
    assert scene.did == ["inject", "let_go", "heal"]


async def test_a_slow_strike_is_waited_for_and_has_fired():
    scene = Scene()
    async with scene.armed(Broken(scene, inject=slowly), within_s=0.01):
        pass
    assert scene.did == ["inject", "let_go", "heal", "disarm"]
    assert scene.events(FaultFailed) == []


async def test_a_moment_that_never_came_is_said_so():
    scene = Scene(fires=False)
    with pytest.raises(Inconclusive, match=r"never fired: no request x passed a->b within 0 s"):
        async with scene.armed(Broken(scene), within_s=0.01):
            pass
    assert scene.did == ["disarm"]
    assert len(scene.events(FaultFailed)) == 1


@pytest.mark.parametrize("error", [StartFailed("bridge", "no port"), ControlError("no answer")])
async def test_a_strike_that_failed_has_fired(error):
    scene = Scene()
    with pytest.raises(Inconclusive, match=rf"fired, but striking Broken\(b\) failed: .*{error}"):
        async with scene.armed(Broken(scene, inject=raising(error))):
            pass
    scene = Scene(let_go=raising(error))
    with pytest.raises(Inconclusive, match=f"fired, but letting go what was held failed: .*{error}"):
        async with scene.armed(Broken(scene)):
            pass
    assert scene.did == ["inject", "let_go", "disarm", "heal"]


async def test_links_that_are_gone_never_fired():
    scene = Scene()
    vars(scene)["fired"] = lambda *_, **__: raising(ControlError("the links are gone"))()
    with pytest.raises(Inconclusive, match=r"never fired: .*the links are gone"):
        async with scene.armed(Broken(scene)):
            pass


async def test_a_strike_that_failed_is_noted_when_the_block_failed_too():
    scene = Scene()
    with pytest.raises(AssertionError):
        async with scene.armed(Broken(scene, inject=raising(StartFailed("bridge", "no port")))):
            await turns()
            raise AssertionError
    assert ["striking Broken(b) failed" in note.text for note in scene.events(Note)] == [True]


async def test_what_cannot_be_used_is_a_skip():
    scene = Scene()
    with pytest.raises(FaultNotSupported, match="there is no link c->d"):
        async with scene.armed(Broken(scene), link="c->d"):
            pass
    assert scene.did == []
