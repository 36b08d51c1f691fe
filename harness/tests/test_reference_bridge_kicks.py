"""What a bridge does when its agent is put out of the room: it stays out, and says so, unless a defect is on."""

import time

import grpc
import grpc.aio
import pytest

from harness.tests.made_up_livekit import FakeLiveKit, attached, sessions, talking


@pytest.fixture
async def livekit():
    return FakeLiveKit()


@pytest.fixture
async def cloud(livekit):
    async with talking(livekit) as cloud:
        yield cloud


@pytest.mark.parametrize("reason", ["DUPLICATE_IDENTITY", "PARTICIPANT_REMOVED", "ROOM_DELETED"])
async def test_a_kicked_agent_stays_out_and_its_cloud_is_told(cloud, livekit, reason, capsys):
    await cloud.join_call()
    stream = await cloud.stream()
    await attached(cloud)
    livekit.room.listener.gone(reason)
    assert await stream.code() is grpc.StatusCode.UNAVAILABLE
    assert await stream.details() == f"the agent lost its room: {reason.lower()}"
    assert not (await cloud.status()).connected
    assert (livekit.dials, await sessions(cloud)) == (1, 0)
    assert "Disconnected from LiveKit room: r" in capsys.readouterr().err


async def test_with_the_defect_nobody_is_told_of_a_kick(livekit):
    async with talking(livekit, "no-kick-notice") as cloud:
        await cloud.join_call()
        stream = await cloud.stream()
        await attached(cloud)
        before_ms = time.time() * 1000
        livekit.room.listener.gone("DUPLICATE_IDENTITY")
        status = await cloud.status()
        assert not status.connected
        assert status.last_disconnect_reason == "duplicate_identity"
        assert status.last_disconnect_at >= int(before_ms)
        assert (livekit.dials, await sessions(cloud), stream.done()) == (1, 1, False)


@pytest.mark.parametrize(("defects", "refused"), [((), False), (("keep-session-when-kicked",), True)])
async def test_a_session_without_a_room_is_in_the_way_only_with_the_defect(livekit, defects, refused):
    async with talking(livekit, "refuse-existing-session", "no-kick-notice", *defects) as cloud:
        await cloud.join_call()
        livekit.room.listener.gone("PARTICIPANT_REMOVED")
        assert (await cloud.join_call()).success is not refused


async def test_with_the_defect_the_session_of_a_kicked_agent_stays(livekit):
    async with talking(livekit, "keep-session-when-kicked") as cloud:
        await cloud.join_call()
        stream = await cloud.stream()
        await attached(cloud)
        livekit.room.listener.gone("DUPLICATE_IDENTITY")
        assert await stream.code() is grpc.StatusCode.UNAVAILABLE
        assert await sessions(cloud) == 1


@pytest.mark.parametrize(("defects", "stays"), [((), True), (("leave-on-signal-cut", "no-kick-notice"), False)])
async def test_an_agent_whose_signalling_was_cut_leaves_only_with_the_defect(livekit, defects, stays):
    async with talking(livekit, *defects) as cloud:
        await cloud.join_call()
        stream = await cloud.stream()
        await attached(cloud)
        livekit.room.listener.mending()
        livekit.room.listener.mended()
        status = await cloud.status()
        assert status.connected is stays
        assert status.last_disconnect_reason == ("" if stays else "client_initiated")
        assert (livekit.dials, await sessions(cloud), stream.done()) == (1, 1, False)
