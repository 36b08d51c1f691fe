"""What is told of the parts of a standing stack, and what a LiveKit that runs already is asked at its start."""

from types import SimpleNamespace
from typing import Any

import pytest

from harness import livekit_server
from harness.errors import MachineError
from harness.history import Recorder
from harness.rig import spawning
from harness.rig import stack as rig_stack
from harness.rig.standing import Standing
from harness.system import load_system


@pytest.fixture
async def made(tmp_path, monkeypatch):
    """Give a maker of stacks that are planned, with made-up running parts."""
    stacks: list[Any] = []
    monkeypatch.setattr(rig_stack, "scratch_dir", lambda run: tmp_path / f"scratch-{len(stacks)}")

    def make(*sets):
        recorder = Recorder(tmp_path, "run-1", "rig")
        stack: Any = rig_stack.Stack(load_system("reference", sets=sets), "run-1", tmp_path, recorder, None, print)
        stacks.append(stack)
        stack._plan()
        stack.live = {name: SimpleNamespace(identity="7", facts={}) for name in stack.system.components}
        return stack

    yield make
    for stack in stacks:
        await stack._exit.aclose()
        stack.recorder.close()


def addresses(stack):
    return next(part.addresses for part in Standing.of(stack).parts if part.name == "livekit")


async def test_media_is_told_where_its_socket_is_by_our_configuration(made):
    stack = made()
    ports = stack.ports["livekit"]
    assert addresses(stack) == {"signal": f"{stack.host}:{ports['signal']}", "rtc": f"127.0.0.1:{ports['rtc']}"}


async def test_a_livekit_of_others_is_told_where_they_say(made):
    stack = made("livekit.external=127.9.9.9", "livekit.ports.rtc=7991")
    assert addresses(stack)["rtc"] == "127.9.9.9:7991"


async def test_a_livekit_that_runs_already_must_take_key_and_secret_at_its_first_start(made, monkeypatch):
    asked = []

    async def nothing(*_args, **_more):
        return SimpleNamespace(identity="7", facts={})

    async def refuse(address, keys):
        asked.append((address, keys))
        raise MachineError("the secrets", "401", "mend them")

    monkeypatch.setattr(spawning, "_spawn", nothing)
    monkeypatch.setattr(spawning, "ready", nothing)
    monkeypatch.setattr(spawning, "check_keys", refuse)
    stack = made("livekit.external=127.9.9.9", "livekit.ports.signal=7999")
    await spawning.start_component(stack, "livekit")  # again
    assert asked == []
    stack.live.clear()
    with pytest.raises(MachineError, match="saw 401"):
        await spawning.start_component(stack, "livekit")
    assert asked == [("127.9.9.9:7999", stack.keys)]
    ours = made()
    ours.live.clear()
    monkeypatch.setattr(livekit_server, "find_or_build", lambda *_: nothing_found())
    await spawning.start_component(ours, "livekit")
    assert len(asked) == 1


async def nothing_found():
    return SimpleNamespace(path="/bin/true", version="0", sha256="0")
