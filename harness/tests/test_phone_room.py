"""One dial at a time; a lost signal is redialed, a replaced phone stays out, a phone without a room mends that."""

import asyncio

import pytest

from harness import events as ev
from harness.phone.engine import Resumed, Resuming
from harness.phone.rest_token import TokenRefused
from harness.phone.room import Room
from harness.tests.phone_world import KICKED, REPLACED, SIGNAL_LOST, Rooms, configured, seen


class Hall:
    def __init__(self, **fields):
        self.rooms, self.needed = Rooms(), True
        self.events: list[ev.Event] = []
        self.room = Room(
            configured(**fields), self.events.append, self.rooms.make_engine, self.rooms.fetch_token,
            lambda: self.needed,
        )  # fmt: skip

    def kinds(self):
        return [type(e).__name__ for e in self.events]

    async def enter(self):
        self.room.renew()
        return await self.rooms.connected()


@pytest.fixture
async def hall():
    made = []

    def make(**fields):
        made.append(Hall(**fields))
        return made[-1]

    yield make
    for one in made:
        await one.room.leave()


async def test_connects_through_our_front_with_a_fresh_token(hall):
    h = hall()
    await h.enter()
    assert h.rooms.dials == [("ws://front:1", "fresh-1")]
    assert h.kinds() == ["RoomDialing", "RoomConnected"]
    assert h.events[0].advertised_url == "ws://advertised:1"
    assert h.room.state == "connected"


async def test_each_renewal_leaves_the_old_room_and_takes_a_fresh_token(hall):
    h = hall()
    old = await h.enter()
    h.room.renew()
    new = await seen(lambda: [e for e in h.rooms.engines[1:] if e.connected], "a second room")
    assert old.left
    assert new is not old
    assert h.rooms.dials[-1][1] == "fresh-2"
    assert h.kinds()[2:] == ["RoomLeft", "RoomDialing", "RoomConnected"]


async def test_never_dials_twice_at_once(hall):
    h = hall()
    h.rooms.may_connect.clear()
    for _ in range(5):
        h.room.renew()
        await asyncio.sleep(0.002)
    assert h.room.state == "dialing"
    h.rooms.may_connect.set()
    await h.rooms.connected()
    assert h.rooms.most_dialing == 1
    assert sum(e.connected for e in h.rooms.engines) == 1


async def test_a_lost_signal_is_redialed_with_the_newest_token(hall):
    h = hall(room_retry_s=9)
    engine = await h.enter()
    engine.token = "refreshed"
    h.rooms.refusals = ["HTTP 503", "HTTP 503"]
    engine.lose(SIGNAL_LOST)
    await h.rooms.connected()
    assert [token for _, token in h.rooms.dials[1:]] == ["refreshed"] * 3
    lost = h.kinds().index("RoomLost")
    assert h.kinds()[lost + 1 :] == ["RoomDialing", "RoomDialFailed"] * 2 + ["RoomDialing", "RoomConnected"]
    assert h.events[-1].attempt == 3


async def test_the_library_gives_up_after_its_attempts(hall):
    h = hall(redial_attempts=3, defects=["no-room-retry"])
    engine = await h.enter()
    h.rooms.refusals = ["gone"] * 99
    engine.lose(SIGNAL_LOST)
    await seen(h.room._work.done, "the end of the redials")
    assert len(h.rooms.dials) == 4
    assert h.room.state == "none"


async def test_a_kicked_phone_does_not_redial_but_mends(hall):
    h = hall(room_retry_s=0.05)
    engine = await h.enter()
    engine.lose(KICKED)
    await asyncio.sleep(0.02)
    assert h.room.state == "none"
    await h.rooms.connected()
    assert h.rooms.dials[1][1] == "fresh-2"


async def test_a_replaced_phone_stays_out_until_the_next_ack(hall):
    h = hall(room_retry_s=0.01)
    engine = await h.enter()
    engine.lose(REPLACED)
    await asyncio.sleep(0.05)
    assert len(h.rooms.dials) == 1
    assert h.kinds()[-1] == "RoomLost"
    await h.enter()
    assert len(h.rooms.dials) == 2


async def test_with_its_defect_a_replaced_phone_takes_its_place_back(hall):
    h = hall(defects=["redial-when-replaced"])
    engine = await h.enter()
    engine.lose(REPLACED)
    await h.rooms.connected()
    assert len(h.rooms.dials) == 2
    assert h.kinds()[-2:] == ["RoomDialing", "RoomConnected"]


async def test_a_failed_token_is_mended_while_the_room_is_needed(hall):
    h = hall()
    h.needed = False
    h.rooms.token_refusals = [TokenRefused("HTTP 500")]
    h.room.renew()
    await seen(lambda: "RoomDialFailed" in h.kinds(), "a failed dial")
    await asyncio.sleep(0.08)
    assert not h.rooms.dials
    h.needed = True
    await h.rooms.connected()
    assert h.kinds() == ["RoomDialFailed", "RoomDialing", "RoomConnected"]


async def test_the_real_app_does_not_mend(hall):
    h = hall(defects=["no-room-retry"], room_retry_s=0.01)
    h.rooms.token_refusals = [TokenRefused("HTTP 500")]
    h.room.renew()
    await seen(h.room._work.done, "the end of it")
    await asyncio.sleep(0.03)
    assert h.rooms.dials == []


async def test_a_dial_that_hangs_has_failed(hall):
    h = hall(dial_timeout_s=0.03, defects=["no-room-retry"])
    h.rooms.may_connect.clear()
    h.room.renew()
    await seen(lambda: isinstance(h.events[-1:] and h.events[-1], ev.RoomDialFailed), "a failed dial")
    assert h.events[-1].reason == "not connected within 0.0 s"
    assert h.rooms.now_dialing == 0


async def test_leaving_ends_everything(hall):
    h = hall()
    engine = await h.enter()
    await h.room.leave()
    assert engine.left
    assert h.kinds()[-1] == "RoomLeft"
    engine.lose(SIGNAL_LOST)
    await asyncio.sleep(0.02)
    assert len(h.rooms.dials) == 1


async def test_a_library_that_resumes_in_time_keeps_the_room_and_nothing_is_dialed(hall):
    h = hall()
    engine = await h.enter()
    engine.on_lost(Resuming())
    assert (h.room.state, h.room.connected) == ("resuming", False)
    engine.on_lost(Resumed())
    assert (h.room.state, h.room.connected) == ("connected", True)
    await asyncio.sleep(0.05)  # longer than the mend waits
    assert len(h.rooms.dials) == 1
    assert h.kinds()[2:] == ["RoomReconnecting", "RoomReconnected"]


async def test_a_resume_that_takes_longer_than_the_mend_waits_is_mended(hall):
    h = hall()
    engine = await h.enter()
    engine.on_lost(Resuming())
    new = await seen(lambda: [e for e in h.rooms.engines[1:] if e.connected], "a second room")
    assert engine.left
    assert new.token == "fresh-2"


async def test_without_the_mend_a_resume_takes_as_long_as_it_takes(hall):
    h = hall(defects=("no-room-retry",))
    engine = await h.enter()
    engine.on_lost(Resuming())
    await asyncio.sleep(0.05)
    assert len(h.rooms.dials) == 1
    assert not engine.left


async def test_a_room_lost_while_resuming_is_mended_by_a_fresh_dial(hall):
    h = hall()
    engine = await h.enter()
    engine.on_lost(Resuming())
    engine.lose(KICKED)
    new = await seen(lambda: [e for e in h.rooms.engines[1:] if e.connected], "a second room")
    assert new.token == "fresh-2"
    assert h.room.connected


@pytest.mark.parametrize(("defects", "tokens"), [([], ["short", "fresh-2"]), (["keep-old-token"], ["short", "short"])])
async def test_a_token_that_was_replaced_is_used_until_another_is_fetched(hall, defects, tokens):
    h = hall(defects=defects, room_retry_s=9)
    assert not h.room.take_token("too early")
    engine = await h.enter()
    assert h.room.take_token("short")
    engine.lose(SIGNAL_LOST)
    await h.rooms.connected()
    assert h.rooms.dials[1][1] == tokens[0]
    h.room.renew()
    await seen(lambda: len(h.rooms.dials) == 3, "the dial of the next ACK")
    assert h.rooms.dials[2][1] == tokens[1]


async def test_only_an_engine_that_can_simulates(hall):
    h = hall()
    assert not await h.room.simulate("FULL_RECONNECT")
    engine = await h.enter()
    assert not await h.room.simulate("FULL_RECONNECT")
    asked = []

    async def simulate(kind):
        asked.append(kind)

    engine.simulate = simulate
    assert await h.room.simulate("FULL_RECONNECT")
    assert asked == ["FULL_RECONNECT"]
