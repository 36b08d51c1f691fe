"""Two JoinRooms of one user at once: they take turns; with the defect both dial, and the first, kicked one is kept."""

import asyncio

from harness.reference.bridge.room import DialFailed
from harness.tests.made_up_livekit import USER, FakeLiveKit, soon, talking


async def joins_at_once(cloud, livekit):
    livekit.gate.clear()
    both = [asyncio.create_task(cloud.join_call(token=token)) for token in ("t1", "t2")]

    async def dialed():
        return livekit.dials == 1 and len(cloud.bridge.sessions._racing.get(USER, "ab")) == 2

    await soon(dialed)
    livekit.gate.set()
    return await asyncio.gather(*both)


async def test_joins_take_turns_and_the_last_is_kept():
    livekit = FakeLiveKit()
    async with talking(livekit) as cloud:
        answers = await joins_at_once(cloud, livekit)
        assert [a.success for a in answers] == [True, True]
        assert [room.closed for room in livekit.rooms] == [True, False]
        assert cloud.bridge.sessions.get(USER)._room is livekit.rooms[1]


async def test_with_the_defect_the_first_is_kept_and_the_last_is_never_closed():
    livekit = FakeLiveKit()
    async with talking(livekit, "join-race") as cloud:
        answers = await joins_at_once(cloud, livekit)
        assert [a.success for a in answers] == [True, True]
        assert [room.closed for room in livekit.rooms] == [False, False]
        assert cloud.bridge.sessions.get(USER)._room is livekit.rooms[0]


async def test_with_the_defect_a_join_alone_is_as_ever_also_after_one_that_failed():
    livekit = FakeLiveKit()
    livekit.failures = 1
    async with talking(livekit, "join-race") as cloud:
        assert str(DialFailed("no such host")) in (await cloud.join_call()).error
        assert (await cloud.join_call()).success
        assert cloud.bridge.sessions.get(USER)._room is livekit.room
