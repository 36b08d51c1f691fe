"""What fails in the SDK behind everybody's back is one line of the bridge's, without a secret."""

import asyncio
import gc
from unittest.mock import Mock

import pytest
from livekit import rtc

from harness.reference.bridge.room import DialFailed, dial_livekit
from harness.tests.made_up_livekit import USER, FakeLiveKit, sessions, soon, talking


@pytest.fixture
async def livekit():
    return FakeLiveKit()


@pytest.fixture
async def cloud(livekit):
    async with talking(livekit) as cloud:
        yield cloud


@pytest.fixture
async def nobody_asked():
    """What no one retrieved: the event loop would print each as a traceback."""
    seen: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: seen.append(context["message"]))
    return seen


async def test_a_join_that_breaks_without_its_caller_is_one_line(cloud, livekit, capsys, nobody_asked):
    livekit.gate.clear()
    livekit.breaks = True
    caller = asyncio.create_task(cloud.join_call())
    await livekit.dialled.wait()
    caller.cancel()
    await asyncio.wait({caller})
    assert await sessions(cloud) == 0  # by its answer the bridge knows that the caller is gone
    livekit.gate.set()
    said = ""

    async def told():
        nonlocal said
        said += capsys.readouterr().err
        return f"JoinRoom of {USER} failed: RuntimeError: the SDK's own mistake\n" in said

    await soon(told)
    gc.collect()
    assert nobody_asked == []


async def test_leaving_that_fails_late_is_one_line_without_the_token(cloud, livekit, capsys, monkeypatch, nobody_asked):
    monkeypatch.setattr("harness.reference.bridge.session.CLOSE_LIMIT_S", 0.02)
    await cloud.join_call()
    livekit.room.close_fails_after = asyncio.Event()
    assert (await cloud.leave()).success
    livekit.room.close_fails_after.set()
    said = ""

    async def told():
        nonlocal said
        said += capsys.readouterr().err
        return f"Leaving room of {USER} failed: RuntimeError: engine is gone: ws://x?***\n" in said

    await soon(told)
    assert f"Still leaving room of {USER}" in said
    gc.collect()
    assert nobody_asked == []


async def test_the_sdks_words_come_without_the_token(monkeypatch):
    token = "eyJhbGciOi.eyJzdWIi.c2ln"

    async def connect(_room, url, given, _options):
        raise rtc.ConnectError(f"signal failure: {url}/rtc?auto=0&access_token={given} refused, token {given}")

    monkeypatch.setattr(rtc.Room, "connect", connect)
    with pytest.raises(DialFailed) as caught:
        await dial_livekit("ws://127.0.0.1:9", token, Mock())
    assert str(caught.value) == "signal failure: ws://127.0.0.1:9/rtc?*** refused, token ***"
