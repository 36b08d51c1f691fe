"""Faults on packets: what the phone is asked, what proves that they landed, and how they are told."""

from typing import Any

import pytest

from harness.control import ControlError
from harness.errors import FaultDidNotLand
from harness.faults import Burst, Corrupt, Drop, Duplicate, Reorder, Together
from harness.phone.packets import read_hurt
from harness.tests.test_faults_phone import MadeUpPhone, MadeUpScene


class Phone(MadeUpPhone):
    """Keeps the requests as fields."""

    def __init__(self, packets):
        super().__init__(hurt={"seed": "11/alice/1"}, heal={"packets": packets})
        self.requests = []

    async def ask(self, verb, **fields):
        self.requests.append((verb, {k: v for k, v in fields.items() if k != "within_s"}))
        return await super().ask(verb, **fields)


@pytest.mark.parametrize(
    ("fault", "wanted"),
    [
        (Drop("alice", share=0.05), {"how": "drop", "share": 0.05}),
        (Duplicate("alice", every=3, copies=2), {"how": "duplicate", "every": 3, "copies": 2}),
        (Reorder("alice", pattern="10", by=4), {"how": "reorder", "pattern": "10", "by": 4}),
        (Corrupt("alice", every=9, how="odd-byte"), {"how": "odd-byte", "every": 9}),
        (Corrupt("alice", every=9), {"how": "bytes", "every": 9}),
        (Burst("alice", held_s=0.5), {"how": "hold"}),
    ],
)
async def test_a_fault_asks_for_what_it_says_and_proves_it(fault, wanted):
    phone = Phone(packets=4)
    scene: Any = MadeUpScene(phone)
    assert "seed 11/alice/1" in (await fault.inject(scene)).proof
    assert "4 of alice's packets" in await fault.heal(scene)
    (verb, asked), (healed, named) = phone.requests
    assert (verb, healed) == ("hurt", "heal")
    assert asked["name"] == named["name"] == str(fault)
    request = read_hurt(asked)  # as the phone reads it
    assert {name: getattr(request, name) for name in wanted} == wanted
    assert fault.target == "packets of alice"
    assert fault.blast == ("alice",)


async def test_a_burst_is_held_for_so_long():
    scene: Any = MadeUpScene(Phone(packets=1))
    await Burst("alice", held_s=6).heal(scene)
    assert [seconds for seconds, _ in scene.waited] == [6]


async def test_a_fault_that_met_no_packet_did_not_land():
    scene: Any = MadeUpScene(Phone(packets=0))
    fault = Drop("alice", pattern="0")
    await fault.inject(scene)
    with pytest.raises(FaultDidNotLand, match="none of alice's packets"):
        await fault.heal(scene)


async def test_a_phone_that_refuses_or_is_gone_did_not_land():
    phone = MadeUpPhone(hurt=ControlError("exactly one of share, every and pattern"))
    scene: Any = MadeUpScene(phone)
    with pytest.raises(FaultDidNotLand, match="exactly one"):
        await Drop("alice").inject(scene)
    phone.there = False
    with pytest.raises(FaultDidNotLand, match="is gone"):
        await Drop("alice", every=2).inject(scene)


def test_a_long_pattern_is_told_in_short_and_all_targets_are_packets():
    both = Together((Drop("alice", pattern="1" + "0" * 999), Reorder("alice", every=2)))
    assert len(str(both)) < 120
    assert both.target == "packets of alice, packets of alice"
