"""Faults of a component's own network: what they ask of it, and when they cannot be used."""

from typing import Any

import pytest

from harness.errors import FaultDidNotLand, FaultNotSupported
from harness.faults import NetDisconnect, NetDrop
from harness.rig.scene import RigScene
from harness.runtimes import Detachable, Droppable
from harness.system import load_system


class Bridge:
    """A component that can be taken off its network, and whose packets can be dropped."""

    why_not: str | None = None

    def __init__(self):
        self.asked = []

    async def detach(self):
        self.asked.append("detach")
        return "off"

    async def attach(self):
        self.asked.append("attach")
        return "on, as before"

    async def cannot_drop(self):
        return self.why_not

    async def drop(self, protocol):
        self.asked.append(f"drop {protocol}")
        return "dropping"

    async def undrop(self):
        self.asked.append("undrop")
        return "rules removed, 3 packets dropped"


class MadeUpScene:
    def __init__(self, bridge):
        self.bridge = bridge

    def why_not(self, component, *capabilities):
        return None if all(isinstance(self.bridge, one) for one in capabilities) else f"{component} cannot"

    def running(self, component):
        return self.bridge


async def test_packets_are_dropped_while_it_is_held():
    bridge = Bridge()
    scene: Any = MadeUpScene(bridge)
    fault = NetDrop("bridge", "tcp")
    assert fault.missing(scene) is None
    assert (await fault.inject(scene)).proof == "dropping"
    assert await fault.heal(scene) == "rules removed, 3 packets dropped"
    assert bridge.asked == ["drop tcp", "undrop"]
    assert (fault.target, fault.blast, fault.heals) == ("bridge", ("bridge",), True)


async def test_the_network_is_away_while_it_is_held():
    bridge = Bridge()
    scene: Any = MadeUpScene(bridge)
    fault = NetDisconnect("bridge")
    assert fault.missing(scene) is None
    assert (await fault.inject(scene)).proof == "off"
    assert await fault.heal(scene) == "on, as before"
    assert bridge.asked == ["detach", "attach"]


async def test_a_machine_that_cannot_drop_packets_is_a_skip():
    bridge = Bridge()
    bridge.why_not = "no nsenter on this machine"
    scene: Any = MadeUpScene(bridge)
    with pytest.raises(FaultNotSupported, match="packets of bridge cannot be dropped: no nsenter on this machine"):
        await NetDrop("bridge").inject(scene)
    assert bridge.asked == []


async def test_what_does_not_land_is_not_healed_away():
    class Quiet(Bridge):
        async def undrop(self):
            raise FaultDidNotLand("no udp packet of bridge came by")

    scene: Any = MadeUpScene(Quiet())
    await NetDrop("bridge").inject(scene)
    with pytest.raises(FaultDidNotLand, match="no udp packet"):
        await NetDrop("bridge").heal(scene)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (NetDrop("bridge"), "bridge runs as process: its packets cannot be dropped there"),
        (NetDisconnect("bridge"), "bridge runs as process: it cannot be taken off its network there"),
        (NetDrop("nobody"), "the system reference has no nobody"),
    ],
)
def test_a_process_is_a_visible_skip_in_words(fault, words):
    stack: Any = type("Stack", (), {"system": load_system("reference"), "live": {"bridge": object()}})()
    scene: Any = RigScene(stack, {}, None, None)  # type: ignore[arg-type]
    assert fault.missing(scene) == words


def test_the_capabilities_are_those_of_the_made_up_bridge():
    assert isinstance(Bridge(), Detachable)
    assert isinstance(Bridge(), Droppable)
    assert not isinstance(object(), Droppable)
