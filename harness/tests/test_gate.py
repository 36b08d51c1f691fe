"""The zombie gate: what it has to see, and how long what was not promised may take to go."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from harness.bridge_client import BridgeStatus
from harness.rig import scene as scene_module
from harness.rig.scene import RigScene

USER = "alice@example.com"


@pytest.mark.parametrize(
    ("promised", "lasts_s", "gone_within_s", "outcome"),
    [
        (False, 0.0, 0.0, "none"),
        (False, 0.2, 0.0, "zombie"),  # the time that any bridge has is shorter, here
        (False, 0.2, 5.0, "none"),
        (True, 0.2, 5.0, "zombie"),
        (True, 0.0, 5.0, "none"),
    ],
)
async def test_what_was_not_promised_is_given_its_time_to_go(monkeypatch, promised, lasts_s, gone_within_s, outcome):
    loop = asyncio.get_running_loop()
    gone_at_s = loop.time() + lasts_s

    async def read_status(*_):
        return BridgeStatus(answered=True, active_sessions=0, connected={USER: loop.time() < gone_at_s})

    monkeypatch.setattr(scene_module, "read_status", read_status)
    monkeypatch.setattr(scene_module, "CLEANUP_WITHIN_S", 0.05)
    told: list[Any] = []
    stack: Any = SimpleNamespace(bridge_target=lambda: "127.0.0.1:1", planted=())
    people: Any = {"alice": SimpleNamespace(user_id=USER)}
    rest: Any = (SimpleNamespace(emit=told.append), None)
    scene = RigScene(stack, people, *rest)

    await scene.gate(promised=promised, gone_within_s=gone_within_s)

    assert (told[0].outcome, told[0].promised) == (outcome, promised)
