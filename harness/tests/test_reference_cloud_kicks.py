"""What the reference cloud does when its bridge says that the agent was put out of the room."""

import asyncio
from dataclasses import replace

import pytest

from harness.reference.cloud.bridge_client import LOST_ROOM, REPLACED_LIMIT
from harness.tests.reference_cloud_world import BRISK, USER, eventually, world

QUICK = replace(BRISK, reconnect_cap_s=0.1, replaced_window_s=5, audio_unavailable_s=0.1)
CALM_S = 4 * QUICK.reconnect_cap_s


def kick(w):
    w.bridge.sessions[USER].put_nowait(RuntimeError(f"{LOST_ROOM}: duplicate_identity"))


async def streams_opened(w, count):
    await eventually(lambda: w.bridge.calls.count("StreamAudio") == count, f"stream {count}")


@pytest.mark.parametrize("defects", [(), ("no-rejoin",)])
async def test_an_agent_that_was_put_out_is_sent_in_again(defects):
    async with world(*defects, timers=QUICK) as w:
        phone = await w.captions_running()
        kick(w)
        await eventually(lambda: phone.audio_statuses() == ["unavailable"], "the word")
        if defects:
            await asyncio.sleep(CALM_S)
            assert w.bridge.calls.count("JoinRoom") == 1
        else:
            await streams_opened(w, 2)


@pytest.mark.parametrize("defects", [(), ("no-rejoin",)])
async def test_a_phone_that_comes_back_finds_its_agent_again(defects):
    async with world(*defects, timers=replace(QUICK, grace_s=5)) as w:
        phone = await w.captions_running()
        await phone.socket.close()
        await eventually(lambda: w.log_lines("[WebsocketGlassesService"), "close line")
        kick(w)
        await asyncio.sleep(CALM_S)
        assert w.bridge.calls.count("JoinRoom") == 1  # for nobody
        await (await w.phone()).acknowledged()
        if defects:
            await asyncio.sleep(CALM_S)
            assert w.bridge.calls.count("JoinRoom") == 1
        else:
            await streams_opened(w, 2)


async def test_two_that_put_each_other_out_do_not_go_on_for_ever():
    async with world(timers=QUICK) as w:
        await w.captions_running()
        for round_ in range(1, REPLACED_LIMIT):
            kick(w)
            await streams_opened(w, round_ + 1)
        kick(w)
        await eventually(lambda: w.log_lines("Put out of the room again and again"), "giving up")
        await asyncio.sleep(CALM_S)
        assert w.bridge.calls.count("JoinRoom") == REPLACED_LIMIT


@pytest.mark.parametrize(("defects", "disposed"), [((), True), (("no-grace-cleanup",), False)])
async def test_a_session_ends_with_its_grace_unless_nobody_cleans_up(defects, disposed):
    async with world(*defects, timers=replace(QUICK, grace_s=0.05)) as w:
        phone = await w.captions_running()
        await phone.socket.close()
        await eventually(lambda: w.log_lines("[WebsocketGlassesService"), "close line")
        await asyncio.sleep(0.2)
        assert ("LeaveRoom" in w.bridge.calls) is disposed
