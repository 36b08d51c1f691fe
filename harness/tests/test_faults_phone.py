"""Faults of the phone: what they do to it and in which order, and what proves it; several faults as one."""

import asyncio
import sys
from typing import Any

import pytest

from harness.errors import FaultDidNotLand
from harness.faults import Asleep, Flapping, Landed, SecondSocket, Together
from harness.processes import look_at


def state_of(pid):
    """Return the state letter of a process that is there."""
    found = look_at(pid)
    assert found is not None
    return found.state


class MadeUpPhone:
    """A phone that answers as told and keeps what it was asked."""

    name, user_id, proc = "alice", "alice@example.com", "phone-1"

    def __init__(self, **answers):
        self.answers, self.asked, self.pid = answers, [], 0

    async def ask(self, verb, **fields):
        fields.pop("within_s", None)
        self.asked.append(f"{verb} {fields}" if fields else verb)
        return self.answers.get(verb, {})

    async def socket_opens(self, *, after_ns):
        self.asked.append("opens")
        return f"open after {after_ns > 0}"


class MadeUpScene:
    def __init__(self, phone):
        self.phone, self.waited = phone, []

    def person(self, name):
        assert name == "alice"
        return self.phone

    async def let_time_pass(self, seconds, why):
        self.waited.append((round(seconds, 1), why))


async def test_asleep_a_phone_is_stopped_and_its_lateness_excused():
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE)
    phone = MadeUpPhone()
    phone.pid = process.pid
    scene: Any = MadeUpScene(phone)
    try:
        landed = await Asleep("alice").inject(scene)
        assert state_of(process.pid) == "T"
        assert landed.stops == ("phone-1",)
        assert "stopped (state T)" in landed.proof
        assert "running again" in await Asleep("alice").heal(scene)
        assert state_of(process.pid) != "T"
    finally:
        process.kill()
        await process.wait()


async def test_a_second_socket_and_the_late_close_of_the_first():
    phone = MadeUpPhone(**{"connect-twice": {"apart_ms": 36.0}, "close-older": {"was_open": True}})
    scene: Any = MadeUpScene(phone)
    fault = SecondSocket("alice", after_ms=34, close_first_after_s=2)
    await fault.inject(scene)
    proof = await fault.heal(scene)
    assert [word.partition(" ")[0] for word in phone.asked] == ["close", "connect-twice", "close-older"]
    assert phone.asked[1] == "connect-twice {'after_ms': 34}"
    assert [seconds for seconds, _ in scene.waited] == [2]
    assert proof == "a second socket 36.0 ms after the first, which was closed 2 s later"


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ({"connect-twice": {"apart_ms": None}}, "could not open a second socket"),
        ({"connect-twice": {"apart_ms": 36.0}, "close-older": {"was_open": False}}, "closed by somebody else"),
    ],
)
async def test_without_two_open_sockets_nothing_is_proven(answers, why):
    scene: Any = MadeUpScene(MadeUpPhone(**answers))
    with pytest.raises(FaultDidNotLand, match=why):
        await SecondSocket("alice").heal(scene)


async def test_flapping_closes_so_often_and_stays_open_at_last():
    phone = MadeUpPhone()
    scene: Any = MadeUpScene(phone)
    fault = Flapping("alice", times=3, within_s=30)
    assert (await fault.inject(scene)).proof.startswith("3 closes with 1001")
    await fault.heal(scene)
    assert [word.partition(" ")[0] for word in phone.asked] == ["close", "connect", "opens"] * 3
    assert [seconds for seconds, _ in scene.waited] == [10, 20]  # of a made-up time that does not pass


class Noted:
    """A fault that notes what is done with it."""

    def __init__(self, name, did, *, heals=True, lands=True):
        self.name, self.did, self.heals, self.lands = name, did, heals, lands
        self.target, self.blast = name, (name,)

    def missing(self, scene):
        return None if scene is None else f"{self.name} is missing"

    async def inject(self, scene):
        if not self.lands:
            raise FaultDidNotLand(f"{self.name} did nothing")
        self.did.append(f"+{self.name}")
        return Landed(f"{self.name} landed", (f"phone of {scene}",))

    async def heal(self, scene):
        self.did.append(f"-{self.name}")
        return f"{self.name} healed in {scene}"


async def test_together_they_heal_in_the_other_order():
    did: list[str] = []
    scene: Any = "scene"
    fault = Together((Noted("a", did), Noted("b", did, heals=False), Noted("c", did)))
    assert (fault.target, fault.blast) == ("a, b, c", ("a", "b", "c"))
    assert fault.missing(scene) == "a is missing"
    assert (await fault.inject(scene)).proof == "a landed; b landed; c landed"
    assert await fault.heal(scene) == "c healed in scene; a healed in scene"
    assert did == ["+a", "+b", "+c", "-c", "-a"]


async def test_when_one_does_not_land_the_others_are_healed():
    did: list[str] = []
    scene: Any = "scene"
    with pytest.raises(FaultDidNotLand, match="b did nothing"):
        await Together((Noted("a", did), Noted("b", did, lands=False), Noted("c", did))).inject(scene)
    assert did == ["+a", "-a"]
