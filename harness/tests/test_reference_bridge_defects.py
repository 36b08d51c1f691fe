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


async def test_the_end_of_an_old_stream_ends_the_new_session_only_with_the_defect(livekit, monkeypatch):
    for defects, left in ((), 1), (("cleanup-by-user-id",), 0):
        async with talking(livekit, *defects) as cloud:
            await cloud.join_call()
            old = cloud.bridge.sessions.get(USER)
            await cloud.join_call()
            new = cloud.bridge.sessions.get(USER)
            cloud.bridge.sessions.clean_up(old)
            assert len(cloud.bridge.sessions) == left
            if not left:

                async def closed(new=new):
                    return new._closed

                await soon(closed)


async def test_a_second_stream_takes_half_of_the_audio_only_with_the_defect(livekit):
    said = [bytes([number, 0]) for number in range(20)]
    for defects, heard in ((), said), (("shared-stream-queue",), None):
        async with talking(livekit, *defects) as cloud:
            await cloud.join_call()
            first = await cloud.stream()
            await attached(cloud)
            second = await cloud.stream()
            if not defects:
                assert await second.code() == grpc.StatusCode.ALREADY_EXISTS
            else:
                await asyncio.sleep(0.05)  # nothing tells from outside that it is let in
            got: dict[str, list[bytes]] = {"first": [], "second": []}

            async def listen(name, stream, got=got):
                while (chunk := await stream.read()) is not grpc.aio.EOF:
                    got[name].append(chunk.pcm_data)

            listening = [asyncio.create_task(listen("first", first))]
            if defects:
                listening.append(asyncio.create_task(listen("second", second)))
            for packet in said:
                livekit.room.says(packet)

            async def all_heard(got=got):
                return len(got["first"]) + len(got["second"]) == len(said)

            await soon(all_heard)
            assert sorted(got["first"] + got["second"]) == said
            if heard is not None:
                assert got["first"] == heard
            else:
                assert min(map(len, got.values())) >= len(said) // 4
            await cloud.leave()
            await asyncio.gather(*listening)
