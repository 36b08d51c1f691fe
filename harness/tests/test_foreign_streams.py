"""Audio streams of our own on somebody's session: one that is read beside the cloud's, one that is not read at all."""

import asyncio
from types import SimpleNamespace
from typing import Any

import grpc.aio
import pytest

from harness import events as ev
from harness.errors import FaultDidNotLand
from harness.rig import foreign_calls
from harness.tests.made_up_livekit import USER, FakeLiveKit, attached, soon, talking

PACKET = bytes(3200)


@pytest.fixture
async def livekit():
    return FakeLiveKit()


def stack_of(cloud) -> Any:
    seen: list[Any] = []
    return SimpleNamespace(
        bridge_target=lambda: f"127.0.0.1:{cloud.bridge.port}",
        foreign={}, unread={}, seen=seen, recorder=SimpleNamespace(emit=seen.append),
    )  # fmt: skip


async def speaking(livekit):
    """Say a packet each moment, as a phone does."""
    while True:
        livekit.room.says(PACKET)
        await asyncio.sleep(0.01)


async def test_a_second_stream_that_is_refused_says_so(livekit):
    async with talking(livekit) as cloud:
        await cloud.join_call()
        first = await cloud.stream()
        await attached(cloud)
        stack = stack_of(cloud)
        assert "was refused: ALREADY_EXISTS" in await foreign_calls.open_second_stream(stack, USER)
        assert "0 chunks; it ended by itself" in await foreign_calls.close_second_stream(stack, USER)
        livekit.room.says(b"ok")
        assert (await first.read()).pcm_data == b"ok"
    (told,) = stack.seen
    assert isinstance(told, ev.ForeignStream)
    assert (told.user, told.outcome, told.chunks) == (USER, "refused", 0)


async def test_a_second_stream_that_is_let_in_counts_what_it_takes(livekit):
    async with talking(livekit, "shared-stream-queue") as cloud:
        await cloud.join_call()
        first = await cloud.stream()
        await attached(cloud)
        stack = stack_of(cloud)
        voice = asyncio.create_task(speaking(livekit))
        listening = asyncio.create_task(first.read())
        assert "was accepted" in await foreign_calls.open_second_stream(stack, USER)
        assert "broken off by the harness" in await foreign_calls.close_second_stream(stack, USER)
        assert (await listening).pcm_data == PACKET
        voice.cancel()
    assert (stack.seen[0].outcome, stack.seen[0].chunks > 0) == ("accepted", True)


async def test_a_second_stream_that_brings_nothing_proves_nothing(livekit, monkeypatch):
    monkeypatch.setattr(foreign_calls, "ANSWERS_WITHIN_S", 0.05)
    async with talking(livekit, "shared-stream-queue") as cloud:
        await cloud.join_call()
        stack = stack_of(cloud)
        with pytest.raises(FaultDidNotLand, match="brought no audio and did not end"):
            await foreign_calls.open_second_stream(stack, USER)
        assert stack.foreign == {}


@pytest.mark.parametrize(("defects", "left"), [((), 1), (("cleanup-by-user-id",), 0)], ids=["mended", "defect"])
async def test_an_unread_stream_makes_the_bridge_wait_and_breaks_after_the_replacement(livekit, capsys, defects, left):
    async with talking(livekit, *defects) as cloud:
        await cloud.join_call()
        stack = stack_of(cloud)
        voice = asyncio.create_task(speaking(livekit))
        assert "its window of 1024 bytes is full" in await foreign_calls.open_unread_stream(stack, USER)
        await cloud.join_call()
        newer = await cloud.stream()
        assert (await newer.read()).pcm_data == PACKET
        assert "the old stream" in await foreign_calls.break_unread_stream(stack, USER)
        said = ""

        async def cleaned():
            nonlocal said
            said += capsys.readouterr().err
            return f"Cleaning up session for {USER}" in said

        await soon(cleaned)
        assert len(cloud.bridge.sessions) == left
        assert (await newer.read() is grpc.aio.EOF) is not bool(left)
        voice.cancel()
    assert stack.seen[0].outcome == "unread"


async def test_nothing_is_left_unread_where_there_is_no_session(livekit):
    async with talking(livekit) as cloud:
        stack = stack_of(cloud)
        with pytest.raises(FaultDidNotLand, match="ended before anybody stopped to read it"):
            await foreign_calls.open_unread_stream(stack, USER)
        cloud.bridge.port = 1
        with pytest.raises(FaultDidNotLand, match="could be opened"):
            await foreign_calls.open_unread_stream(stack_of(cloud), USER)


async def test_an_unread_stream_that_brings_nothing_proves_nothing(livekit, monkeypatch):
    monkeypatch.setattr(foreign_calls, "ANSWERS_WITHIN_S", 0.05)
    async with talking(livekit) as cloud:
        await cloud.join_call()
        with pytest.raises(FaultDidNotLand, match="brought nothing within"):
            await foreign_calls.open_unread_stream(stack_of(cloud), USER)


async def test_an_old_stream_that_was_over_did_not_break(livekit):
    async with talking(livekit) as cloud:
        await cloud.join_call()
        stack = stack_of(cloud)
        voice = asyncio.create_task(speaking(livekit))
        await foreign_calls.open_unread_stream(stack, USER)
        voice.cancel()
        stack.unread[USER].ended = "it was told that it is over"
        with pytest.raises(FaultDidNotLand, match="was over before it could break"):
            await foreign_calls.break_unread_stream(stack, USER)
