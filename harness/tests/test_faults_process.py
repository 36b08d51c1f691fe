"""Faults of processes: which of a part's capabilities they use, and what must be shut before what."""

from typing import Any

import pytest

from harness.errors import FaultDidNotLand
from harness.faults import Kill, Restart, Terminate
from harness.history import Recorder
from harness.rig import stack as rig_stack
from harness.rig.stack import Stack
from harness.runtimes import Killable, Restartable, Stoppable
from harness.system import load_system


class Scene:
    """A scene whose only part has these capabilities."""

    def __init__(self, *capabilities):
        self.capabilities, self.did = capabilities, []

    def why_not(self, component, *capabilities):
        lacking = [capability.__name__ for capability in capabilities if capability not in self.capabilities]
        return f"{component} lacks {lacking[0]}" if lacking else None

    async def take_down(self, component, end, *, fronts_first=False):
        self.did.append(f"fronts first: {fronts_first}")
        return await end(self)

    async def restart(self):
        self.did.append("restart")
        return "restarted"

    async def stop(self, within_s):
        self.did.append("stop")
        return "stopped"

    async def kill(self, signal):
        self.did.append(f"kill {signal}")
        return "killed"


@pytest.mark.parametrize(
    ("fault", "capabilities", "did"),
    [
        (Restart("cloud"), (Stoppable, Restartable), ["fronts first: True", "restart"]),
        (Restart("cloud"), (Stoppable,), ["fronts first: False", "stop"]),
        (Restart("cloud", away_s=2), (Stoppable, Restartable), ["fronts first: False", "stop"]),
        (Restart("cloud", signal="KILL"), (Killable, Restartable), ["fronts first: False", "kill KILL"]),
    ],
)
async def test_a_restart_is_left_to_whoever_can_do_it_in_one_go(fault, capabilities, did):
    scene = Scene(*capabilities)
    assert fault.missing(scene) is None
    await fault.inject(scene)
    assert scene.did == did


@pytest.mark.parametrize(
    ("fault", "capabilities", "why"),
    [
        (Restart("cloud"), (Killable,), "cloud lacks Stoppable"),
        (Restart("cloud"), (Restartable,), None),
        (Restart("cloud", signal="KILL"), (Restartable,), "cloud lacks Killable"),
        (Kill("cloud"), (Stoppable,), "cloud lacks Killable"),
        (Terminate("cloud"), (Stoppable,), None),
    ],
)
def test_what_a_fault_needs(fault, capabilities, why):
    assert fault.missing(Scene(*capabilities)) == why


class Links:
    def __init__(self, did):
        self.did = did

    async def close_front(self, name):
        self.did.append(f"close {name}")

    async def open_front(self, name):
        self.did.append(f"open {name}")


class Part:
    """A part that lives until it is ended."""

    identity = "17"

    def __init__(self, did):
        self.did, self.living = did, True

    def alive(self):
        return self.living

    async def end(self, _):
        self.did.append("end")
        self.living = False
        return "ended"

    async def refuse(self, _):
        raise FaultDidNotLand("it lives on")


def stack_of(tmp_path, *sets):
    did: list[str] = []
    stack: Any = Stack(
        load_system("reference", sets=sets), "run-1", tmp_path, Recorder(tmp_path, "run-1", "rig"), None, print
    )
    stack.links = Links(did)
    stack.live["cloud"] = Part(did)
    return stack, stack.live["cloud"], did


FRONTS = ["phone->cloud", "app->cloud"]


async def test_fronts_close_behind_what_stays_down(tmp_path):
    stack, part, did = stack_of(tmp_path)
    await stack.take_down("cloud", part.end)
    assert did == ["end", *(f"close {name}" for name in FRONTS)]


async def test_nobody_reaches_what_comes_back_by_itself_before_its_time(tmp_path):
    stack, part, did = stack_of(tmp_path, "cloud.supervised=true")
    await stack.take_down("cloud", part.end)
    assert did == [*(f"close {name}" for name in FRONTS), "end"]


async def test_a_fault_that_did_not_land_leaves_the_fronts_open(tmp_path):
    stack, part, did = stack_of(tmp_path)
    with pytest.raises(FaultDidNotLand):
        await stack.take_down("cloud", part.refuse, fronts_first=True)
    assert did == [*(f"close {name}" for name in FRONTS), *(f"open {name}" for name in FRONTS)]


async def test_an_external_part_is_where_the_user_says(tmp_path, monkeypatch):
    monkeypatch.setattr(rig_stack, "scratch_dir", lambda run: tmp_path / f"scratch-{run}")
    sets = ("livekit.external=127.9.9.9", "livekit.ports.signal=7999")
    stack = Stack(
        load_system("reference", sets=sets), "run-1", tmp_path, Recorder(tmp_path, "run-1", "rig"), None, print
    )
    stack._plan()
    assert stack.addresses("livekit") == {"signal": ("127.9.9.9", 7999)}
    assert stack.addresses("cloud")["http"][0] == stack.host
    await stack._exit.aclose()
