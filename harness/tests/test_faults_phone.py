"""Faults of the phone: what they do to it and in which order, and what proves it; several faults as one."""

import asyncio
import sys
from typing import Any

import pytest

from harness.control import ControlError
from harness.errors import FaultDidNotLand, StartFailed
from harness.faults import Asleep, Flapping, ForceQuit, Landed, SecondSocket, SocketClosed, SocketDropped, Together
from harness.processes import look_at

OPEN, SHUT = {"was_open": True, "code": 1001}, {"was_open": False}


def state_of(pid):
    """Return the state letter of a process that is there."""
    found = look_at(pid)
    assert found is not None
    return found.state


class MadeUpPhone:
    """A phone that answers as told (a list: one after the other; an error is raised) and keeps what it was asked."""

    name, user_id, proc = "alice", "alice@example.com", "phone-1"

    def __init__(self, **answers):
        self.answers, self.asked, self.pid, self.there = {"close": OPEN, "drop": OPEN, **answers}, [], 0, True

    def is_there(self):
        return self.there

    async def ask(self, verb, **fields):
        fields.pop("within_s", None)
        self.asked.append(f"{verb} {fields}" if fields else verb)
        answer = self.answers.get(verb, {})
        answer = answer.pop(0) if isinstance(answer, list) else answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def socket_opens(self, *, after_ns):
        self.asked.append("opens")
        return f"open after {after_ns > 0}"


class MadeUpScene:
    def __init__(self, phone):
        self.phone, self.waited, self.others = phone, [], ()

    def person(self, name):
        assert name == "alice"
        return self.phone

    def sharing_process(self, name):
        assert name == "alice"
        return self.others

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
    assert phone.asked[1] == "connect-twice {'after_ms': 34, 'both_within_s': 20.0}"
    assert [seconds for seconds, _ in scene.waited] == [2]
    assert proof == "a second socket 36.0 ms after the first, which was closed 2 s later"


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ({"connect-twice": {"apart_ms": None}}, "could not open a second socket"),
        ({"connect-twice": StartFailed("phone-1", "no answer to 'connect-twice' within 25 s")}, "no answer"),
        ({"connect-twice": ControlError("phone-1 is gone")}, "phone-1 is gone"),
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
    assert (await fault.inject(scene)).proof.startswith("3 of 3 closes with 1001")
    await fault.heal(scene)
    assert [word.partition(" ")[0] for word in phone.asked] == ["close", "connect", "opens"] * 3
    assert [seconds for seconds, _ in scene.waited] == [10, 20]  # of a made-up time that does not pass


@pytest.mark.parametrize("fault", [SocketClosed("alice"), SocketDropped("alice"), SecondSocket("alice")])
async def test_a_socket_that_was_not_open_cannot_be_ended(fault):
    phone = MadeUpPhone(close=SHUT, drop=SHUT)
    scene: Any = MadeUpScene(phone)
    with pytest.raises(FaultDidNotLand, match="alice's phone had no open socket"):
        await fault.inject(scene)
    assert phone.asked[-1] == "connect"  # it goes on dialing: nobody heals what did not land


async def test_flapping_claims_only_the_closes_that_were_some():
    scene: Any = MadeUpScene(MadeUpPhone(close=[OPEN, SHUT, OPEN]))
    assert (await Flapping("alice", times=3).inject(scene)).proof.startswith("2 of 3 closes with 1001")
    for answers in ([SHUT, SHUT], [OPEN, SHUT]):
        scene = MadeUpScene(MadeUpPhone(close=answers))
        with pytest.raises(FaultDidNotLand, match="alice's phone had no open socket"):
            await Flapping("alice", times=2).inject(scene)


@pytest.mark.parametrize("fault", [Asleep("alice"), ForceQuit("alice"), SocketClosed("alice"), SecondSocket("alice")])
async def test_nothing_lands_on_a_phone_whose_process_is_gone(fault):
    phone = MadeUpPhone()
    phone.there = False
    scene: Any = MadeUpScene(phone)
    with pytest.raises(FaultDidNotLand, match="the process of alice's phone is gone"):
        await fault.inject(scene)


async def test_a_process_that_ends_before_its_signal_is_gone():
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await process.wait()
    phone = MadeUpPhone()
    phone.pid = process.pid
    scene: Any = MadeUpScene(phone)
    with pytest.raises(FaultDidNotLand, match="the process of alice's phone is gone"):
        await Asleep("alice").heal(scene)


async def test_a_phone_that_shares_its_process_does_not_sleep_alone(monkeypatch):
    sent: list[int] = []
    monkeypatch.setattr("os.kill", lambda pid, number: sent.append(number))
    scene: Any = MadeUpScene(MadeUpPhone())
    scene.others = ("bob", "carol")
    with pytest.raises(FaultDidNotLand, match="the phone of alice shares its process with bob, carol"):
        await Asleep("alice").inject(scene)
    assert sent == []


class Noted:
    """A fault that notes what is done with it."""

    def __init__(self, name, did, *, heals=True, lands=True, breaks=None):
        self.name, self.did, self.heals, self.lands, self.breaks = name, did, heals, lands, breaks
        self.target, self.blast = name, (name,)

    def missing(self, scene):
        return None if scene is None else f"{self.name} is missing"

    async def inject(self, scene):
        if isinstance(self.lands, BaseException):
            raise self.lands
        if not self.lands:
            raise FaultDidNotLand(f"{self.name} did nothing")
        self.did.append(f"+{self.name}")
        return Landed(f"{self.name} landed", (f"phone of {scene}",))

    async def heal(self, scene):
        self.did.append(f"-{self.name}")
        if self.breaks is not None:
            raise self.breaks
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


@pytest.mark.parametrize("error", [asyncio.CancelledError(), RuntimeError("a bug"), StartFailed("cloud", "not ready")])
async def test_however_one_fails_the_others_are_healed(error):
    did: list[str] = []
    scene: Any = "scene"
    parts = (Noted("a", did), Noted("b", did, breaks=RuntimeError("b stays")), Noted("c", did, lands=error))
    with pytest.raises(type(error)) as raised:
        await Together(parts).inject(scene)
    assert did == ["+a", "+b", "-b", "-a"]
    assert raised.value.__notes__ == ["undoing the others: RuntimeError('b stays')"]


async def test_all_are_healed_and_the_first_error_is_told():
    did: list[str] = []
    scene: Any = "scene"
    broken = Noted("b", did, breaks=StartFailed("cloud", "not ready"))
    with pytest.raises(StartFailed, match="not ready"):
        await Together((Noted("a", did, breaks=RuntimeError("later")), broken, Noted("c", did))).heal(scene)
    assert did == ["-c", "-b", "-a"]
