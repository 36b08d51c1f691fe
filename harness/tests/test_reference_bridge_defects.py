"""What the reference bridge can be made to do wrong when sessions and the process end, and what it does otherwise."""

import asyncio
import os
from pathlib import Path

import grpc
import grpc.aio
import pytest

from harness.reference.bridge import session
from harness.reference.bridge.sessions import LEAK_BYTES
from harness.tests.made_up_livekit import USER, FakeLiveKit, attached, soon, talking

NULL = Path(os.devnull).stat().st_rdev


@pytest.fixture
async def livekit():
    return FakeLiveKit()


@pytest.fixture
def exits(monkeypatch):
    """Codes with which the process would have ended."""
    seen: list[int] = []
    monkeypatch.setattr("os._exit", seen.append)
    return seen


@pytest.mark.parametrize("how", ["leave", "replace", "stream"])
async def test_a_late_packet_is_nothing_or_the_end_of_all(livekit, exits, capsys, how):
    for defects, codes in ((), []), (("panic-on-late-packet",), [2]):
        async with talking(livekit, *defects) as cloud:
            await cloud.join_call()
            stream = await cloud.stream()
            await attached(cloud)
            room, held = livekit.room, cloud.bridge.sessions.get(USER)
            act = {"leave": cloud.leave, "replace": cloud.join_call, "stream": None}[how]
            ending = asyncio.create_task(act()) if act else asyncio.create_task(asyncio.sleep(0, stream.cancel()))

            async def over(held=held):
                return held._closed

            await soon(over)
            room.says(b"late")
            await ending
            assert exits == codes
        said = capsys.readouterr().err
        assert ("panic: send on closed channel\n\ngoroutine" in said) is bool(defects)


async def test_a_session_that_nobody_talks_to_ends_as_ever(livekit, exits, monkeypatch):
    monkeypatch.setattr(session, "LATE_PACKET_S", 0.02)
    async with talking(livekit, "panic-on-late-packet") as cloud:
        await cloud.join_call()
        assert (await cloud.leave()).success
        assert livekit.room.closed
        assert exits == []


async def test_an_asked_bridge_ends_its_streams_well_or_waits_for_them(livekit):
    async with talking(livekit) as cloud:
        await cloud.join_call()
        stream = await cloud.stream()
        await attached(cloud)
        await cloud.bridge.__aexit__()
        assert await stream.read() is grpc.aio.EOF
        assert await stream.code() == grpc.StatusCode.OK
        with pytest.raises(grpc.aio.AioRpcError):  # and nobody joins a bridge that is about to go
            await cloud.join_call()


async def test_with_the_defect_an_asked_bridge_waits_for_its_streams(livekit):
    async with talking(livekit, "sigterm-waits") as cloud:
        await cloud.join_call()
        stream = await cloud.stream()
        await attached(cloud)
        ending = asyncio.create_task(cloud.bridge.__aexit__())
        _, waiting = await asyncio.wait({ending}, timeout=0.3)
        assert waiting
        livekit.room.says(b"on")
        assert (await stream.read()).pcm_data == b"on"
        stream.cancel()
        await ending


async def test_with_the_defect_each_join_keeps_memory_and_a_descriptor(livekit):
    for defects, kept in ((), 0), (("leak-per-join",), 3):
        async with talking(livekit, *defects) as cloud:
            for _ in range(3):
                await cloud.join_call()
                await cloud.leave()
            leaked = cloud.bridge.sessions._leaked
            assert [len(leak.memory) for leak in leaked] == [LEAK_BYTES] * kept
            assert [os.fstat(leak.descriptor).st_rdev for leak in leaked] == [NULL] * kept
            for leak in leaked:
                os.close(leak.descriptor)
