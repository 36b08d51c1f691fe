"""Faults at a moment: what they arm, what they prove, and that nothing said is nothing shown."""

from typing import Any

import pytest

from harness.errors import FaultDidNotLand
from harness.faults import Cut, Hang, Hold, Restart, When
from harness.moments import closed, reply, request


class Links:
    def __init__(self, acted):
        self.acted, self.did = acted, []

    async def arm(self, name, moment, *, before=True, hold=True, act="tell", label=""):
        self.did.append(f"arm {name} {moment} {act} {'before' if before else 'behind'}")
        self.label = label
        return 1

    async def let_go(self, name, label, *, drop=False):
        assert label == self.label
        self.did.append(f"let go {name} drop={drop}")
        return 1

    async def disarm(self, name, label):
        assert label == self.label
        self.did.append(f"disarm {name}")
        return self.acted, self.acted


class Scene:
    def __init__(self, acted=1, links=("cloud->bridge",)):
        self.links, self.known = Links(acted), links

    def why_no_link(self, link):
        return None if link in self.known else f"no link {link}"


@pytest.mark.parametrize(
    ("fault", "did"),
    [
        (Hang("JoinRoom"), ["arm cloud->bridge reply JoinRoom hang before", "disarm cloud->bridge"]),
        (Hang("JoinRoom", at="request"), ["arm cloud->bridge request JoinRoom hang before", "disarm cloud->bridge"]),
        (Hold("cloud->bridge", closed()), ["arm cloud->bridge close tell before", "disarm cloud->bridge"]),
        (
            Hold("cloud->bridge", request("LeaveRoom"), before=False, drop=True),
            [
                "arm cloud->bridge request LeaveRoom tell behind",
                "let go cloud->bridge drop=True",
                "disarm cloud->bridge",
            ],
        ),
    ],
)
async def test_it_keeps_back_and_lets_go(fault, did):
    scene = Scene()
    assert fault.missing(scene) is None
    await fault.inject(scene)
    assert "kept back 1 times" in await fault.heal(scene)
    assert scene.links.did == did


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Hang("JoinRoom"), "nobody called JoinRoom"),
        (Hold("cloud->bridge", reply("JoinRoom")), "no reply JoinRoom passed cloud->bridge"),
    ],
)
async def test_what_nobody_said_did_not_land(fault, why):
    scene = Scene(acted=0)
    await fault.inject(scene)
    with pytest.raises(FaultDidNotLand, match=why):
        await fault.heal(scene)


def test_without_the_link_it_is_missing():
    for fault in (Hang("JoinRoom"), Hold("cloud->bridge", closed()), When("cloud->bridge", closed(), Cut("x"))):
        nowhere: Any = Scene(links=())
        assert fault.missing(nowhere) == "no link cloud->bridge"


def test_a_when_touches_what_its_fault_does_and_its_link():
    when = When("cloud->bridge", reply("JoinRoom"), Restart("cloud", signal="KILL"))
    assert when.target == "cloud"
    assert when.blast == ("cloud", "cloud->bridge")
