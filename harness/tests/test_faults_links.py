"""Faults of a link as values: what they ask of it, what they call a proof, and when they did not land."""

from dataclasses import replace
from typing import Any

import pytest

from harness.errors import FaultDidNotLand, StartFailed
from harness.faults import Blackhole, CutAfter, Delay, HalfClose, Stall, Throttle, Vanish
from harness.links.hurting import Waited

LINK = "phone->cloud"


class MadeUpLinks:
    """Links that keep what was asked of them, with so much having waited or passed."""

    def __init__(self, *, connections=1, waited=None, passed=0, is_late=False):
        self.connections, self.passed, self.is_late = connections, passed, is_late
        self.waited = replace(waited or Waited(), connections=connections)
        self.asked = []

    def __getattr__(self, verb):
        async def ask(name, *words, **fields):
            assert name == LINK
            self.asked.append((verb, *words, *fields.values()))
            if verb in {"close_hole", "end_stall"}:
                return self.waited
            if verb == "unshape":
                return self.passed
            if verb in {"cut_after", "fired"} and self.is_late:
                raise StartFailed("links", "no answer")
            return {"conn": 7} if verb == "fired" else self.connections

        return ask


def scene_of(links) -> Any:
    why = staticmethod(lambda link: None if link == LINK else f"no link {link}")
    return type("Scene", (), {"links": links, "why_no_link": why})()


HELD = {
    "bytes behind a hole": (Blackhole(LINK), {"waited": Waited(bytes=5)}, "5 bytes, 0 ends and 0 dialers had waited"),
    "an end behind a hole": (Blackhole(LINK, "to-target"), {"waited": Waited(ends=1)}, "0 bytes, 1 ends"),
    "a dialer before a hole": (Blackhole(LINK), {"connections": 0, "waited": Waited(dialers=2)}, "2 dialers"),
    "a stall": (Stall(LINK, "to-dialer"), {"waited": Waited(bytes=9, windows=1)}, "9 bytes had waited, 1 windows"),
    "a delay": (Delay(LINK, 200, jitter_ms=50), {"passed": 8}, "8 bytes came late"),
    "a slow line": (Throttle(LINK, 1000), {"passed": 8}, "8 bytes came slowly"),
}


@pytest.mark.parametrize(("fault", "links", "words"), HELD.values(), ids=HELD)
async def test_a_held_fault_proves_that_it_mattered(fault, links, words):
    scene = scene_of(MadeUpLinks(**links))
    assert fault.missing(scene) is None
    assert LINK in (await fault.inject(scene)).proof
    assert words in await fault.heal(scene)
    assert (fault.target, fault.blast, fault.heals) == (LINK, (LINK,), True)
    ways = {word for verb in scene.links.asked for word in verb if word in {"to-target", "to-dialer", "both"}}
    assert ways == {fault.way}, "it is undone where it was done"


@pytest.mark.parametrize("fault", [Blackhole(LINK), Stall(LINK), Delay(LINK, 200), Throttle(LINK, 10)], ids=str)
async def test_an_idle_link_is_no_proof(fault):
    scene = scene_of(MadeUpLinks())
    await fault.inject(scene)
    with pytest.raises(FaultDidNotLand, match="idle link"):
        await fault.heal(scene)


@pytest.mark.parametrize("fault", [Stall(LINK), HalfClose(LINK, "target"), Vanish(LINK)], ids=str)
async def test_without_a_connection_nothing_lands(fault):
    links = MadeUpLinks(connections=0)
    with pytest.raises(FaultDidNotLand, match="had no connection"):
        await fault.inject(scene_of(links))
    assert links.asked[-1][0] in {"end_stall", "half_close", "silence"}, "and nothing stays"


async def test_one_shot_faults_say_what_they_did():
    links = MadeUpLinks()
    scene = scene_of(links)
    assert (await HalfClose(LINK, "dialer").inject(scene)).proof == f"{LINK}: a FIN to the dialer of 1 connections"
    proof = (await CutAfter(LINK, "to-target", bytes=64).inject(scene)).proof
    assert proof == f"{LINK}: connection 1 reset behind 64 bytes to-target"
    proof = (await CutAfter(LINK, "to-dialer", messages=3).inject(scene)).proof
    assert proof == f"{LINK}: connection 7 reset behind 3 messages to-dialer"
    assert links.asked[-1][0] == "disarm"
    assert (await Vanish(LINK).inject(scene)).proof == f"{LINK}: 1 connections gone silent"
    assert Vanish(LINK).blast == (LINK,)


@pytest.mark.parametrize("count", [{"bytes": 64}, {"messages": 3}])
async def test_a_count_that_is_never_reached_did_not_land(count):
    links = MadeUpLinks(is_late=True)
    with pytest.raises(FaultDidNotLand, match=r"no connection of phone->cloud carried .* within 2 s"):
        await CutAfter(LINK, "to-target", **count, within_s=2).inject(scene_of(links))


def test_a_cut_wants_one_count():
    for count in ({}, {"bytes": 1, "messages": 1}, {"bytes": -1}):
        with pytest.raises(ValueError, match="expected bytes or messages"):
            CutAfter(LINK, "to-target", **count)


@pytest.mark.parametrize(
    "fault",
    [Blackhole("a->b"), HalfClose("a->b", "target"), Delay("a->b", 1), CutAfter("a->b", "to-target", bytes=1)],
    ids=str,
)
def test_a_link_that_is_not_there_is_a_skip(fault):
    assert fault.missing(scene_of(MadeUpLinks())) == "no link a->b"
