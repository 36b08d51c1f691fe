"""Faults of the network: what they ask of links and components, and when they cannot be used."""

from typing import Any

import pytest

from harness.errors import FaultDidNotLand, FaultNotSupported
from harness.faults import AppCrash, Cut, NetDisconnect, NetDrop, Refuse
from harness.links.front import LinkState
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


class MadeUpLinks:
    """Links with so many connections each; what was asked of them is kept."""

    def __init__(self, **connections):
        self.connections = {name.replace("_", "->"): count for name, count in connections.items()}
        self.closed = set()

    async def reset(self, name):
        count, self.connections[name] = self.connections[name], 0
        return count

    async def close_front(self, name):
        self.closed.add(name)

    async def open_front(self, name):
        self.closed.discard(name)

    async def state(self, name):
        return LinkState(self.connections[name], 0, name not in self.closed, 0, 0, 0)


class LinkedScene:
    """A scene of links, and of a captions app with so many sockets."""

    def __init__(self, sockets=1, **connections):
        self.links, self.sockets = MadeUpLinks(**connections), sockets

    def why_no_link(self, link):
        return None if link in self.links.connections else f"no link {link}"

    def why_no_ear(self, ear):
        return None if ear == "app" else f"no {ear}"

    async def ask_ears(self, verb):
        assert verb == "app_crash"
        return self.sockets


async def test_a_cut_resets_every_connection_of_its_link():
    scene: Any = LinkedScene(cloud_stt=2)
    fault = Cut("cloud->stt")
    assert fault.missing(scene) is None
    assert (await fault.inject(scene)).proof == "cloud->stt: 2 connections reset"
    assert fault.blast == ("cloud->stt",)
    with pytest.raises(FaultDidNotLand, match="no connection to cut"):
        await fault.inject(scene)
    assert Cut("app->cloud").missing(scene) == "no link app->cloud"


async def test_refused_links_are_reset_and_closed_until_healed():
    scene: Any = LinkedScene(cloud_stt=1, app_cloud=0)
    fault = Refuse("cloud->stt", "app->cloud")
    assert fault.missing(scene) is None
    proof = (await fault.inject(scene)).proof
    assert "cloud->stt: nobody listens, 1 connections reset" in proof
    assert scene.links.closed == {"cloud->stt", "app->cloud"}
    await fault.heal(scene)
    assert scene.links.closed == set()
    assert str(fault) == "Refuse('cloud->stt', 'app->cloud')"
    assert Refuse("cloud->stt", "cloud->moon").missing(scene) == "no link cloud->moon"
    with pytest.raises(ValueError, match="expected the name of a link"):
        Refuse()


async def test_when_a_later_link_cannot_be_refused_none_stays_refused():
    scene: Any = LinkedScene(cloud_stt=1, app_cloud=0)
    reset = scene.links.reset

    async def reset_one_only(link):
        if link == "app->cloud":
            raise FaultDidNotLand("no such luck")
        return await reset(link)

    scene.links.reset = reset_one_only
    with pytest.raises(FaultDidNotLand, match="no such luck"):
        await Refuse("cloud->stt", "app->cloud").inject(scene)
    assert scene.links.closed == set()


async def test_a_crashed_app_refuses_its_webhook_until_healed():
    scene: Any = LinkedScene(cloud_app=0)
    fault = AppCrash()
    assert fault.missing(scene) is None
    assert "lost 1 sockets" in (await fault.inject(scene)).proof
    assert scene.links.closed == {"cloud->app"}
    await fault.heal(scene)
    assert scene.links.closed == set()


async def test_an_app_without_a_socket_cannot_crash():
    scene: Any = LinkedScene(sockets=0, cloud_app=0)
    with pytest.raises(FaultDidNotLand, match="no open socket"):
        await AppCrash().inject(scene)
    assert scene.links.closed == set()
    assert AppCrash().missing(LinkedScene()) == "no link cloud->app"  # type: ignore[arg-type]
