"""Packets on their way to the engine: which are hurt, how, what is written down before, and what goes on."""

import asyncio
from functools import partial
from typing import Any

import pytest

from harness import events as ev
from harness.errors import SettingsError
from harness.phone.packets import Packet, PacketPath, read_hurt
from harness.speech import Damage, Decoder, encode
from harness.tests.phone_world import configured, seen


class Road:
    """A path whose events and packets are kept in one list, in the order in which they came."""

    def __init__(self, **fields):
        self.log: list[Any] = []
        self.payloads: list[bytes] = []
        self.full, self.next_frame = False, 0
        self.path = PacketPath(configured(**fields), self.log.append, lambda: not self.full, self._send)

    def _send(self, payload, on_sent):
        self.log.append(payload[0])
        self.payloads.append(payload)
        on_sent()

    def hurt(self, how, **fields):
        return self.path.hurt(read_hurt({"name": how, "how": how, **fields}))

    def speak(self, packets):
        for _ in range(packets):
            number, first = self.next_frame // 2 + 1, self.next_frame
            payload = bytes((number,)) + encode(7, first, 2)
            self.path.put(Packet(payload, first, 2, partial(self.log.append, f"sent {number}")))
            self.next_frame += 2

    def sent(self):
        return [payload[0] for payload in self.payloads]

    def hurts(self):
        return [(e.how, e.first_index) for e in self.log if isinstance(e, ev.PacketHurt)]

    def heard(self):
        """Give frame -> damage, as a bridge and a cloud would hear it."""
        decoder = Decoder()
        whole = encode(7, 900, 4)  # what was damaged last is told only when more comes
        heard = [decoder.feed(p[1:] if len(p) % 2 else p) for p in self.payloads] + [decoder.feed(whole)]
        found = [(int(i), Damage(int(d))) for h in heard for i, d in zip(h.index, h.damage, strict=True)]
        return [(i, d) for i, d in found if i < 900], sum(h.stray_bytes for h in heard)


def test_without_a_fault_packets_go_straight_on():
    road = Road()
    road.speak(2)
    assert road.log == [1, "sent 1", 2, "sent 2"]


async def test_dropped_packets_leave_a_gap_in_the_numbers():
    road = Road()
    road.hurt("drop", pattern="010")
    road.speak(6)
    assert road.sent() == [1, 3, 4, 6]
    assert road.hurts() == [("dropped", 2), ("dropped", 8)]
    assert await road.path.heal("drop") == {"packets": 2}
    road.speak(2)
    assert road.sent()[-2:] == [7, 8]


async def test_duplicates_follow_each_other_and_are_written_down_before():
    road = Road()
    road.hurt("duplicate", every=2, copies=2)
    road.speak(2)
    assert [x for x in road.log if not isinstance(x, ev.PacketHurt)] == [
        1, "sent 1", 2, "sent 2", 2, "sent 2", 2, "sent 2",
    ]  # fmt: skip
    assert isinstance(road.log[2], ev.PacketHurt)
    assert road.log[2].copies == 2


async def test_a_reordered_packet_lets_so_many_others_pass():
    road = Road()
    road.hurt("reorder", pattern="1000", by=2)
    road.speak(5)
    assert road.sent() == [2, 3, 1, 4]  # 5 waits
    assert await road.path.heal("reorder") == {"packets": 1}
    assert road.sent() == [2, 3, 1, 4, 5]
    assert road.hurts() == [("reordered", 0)]  # what nobody overtook was not hurt


async def test_a_packet_whose_overtakers_were_dropped_was_not_hurt():
    road = Road()
    road.hurt("reorder", pattern="10")
    road.hurt("drop", pattern="1")
    road.speak(2)
    assert road.sent() == [1]
    assert road.hurts() == [("dropped", 2)]
    assert await road.path.heal("reorder") == {"packets": 0}


@pytest.mark.parametrize(
    ("how", "told", "damage", "strays"),
    [("bytes", "corrupted", Damage.CORRUPT, 0), ("swapped", "swapped", Damage.SWAPPED, 0),
     ("odd-byte", "odd", Damage.SLIPPED, 2)],
)  # fmt: skip
def test_a_damaged_packet_is_heard_so_and_no_other(how, told, damage, strays):
    road = Road()
    road.hurt(how, pattern="0010000000")
    road.speak(10)
    heard, stray_bytes = road.heard()
    assert road.hurts() == [(told, 4)]
    assert heard == [(i, damage if i in {4, 5} else Damage.NONE) for i in range(20)]
    assert stray_bytes == strays
    assert road.sent() == list(range(1, 11))


async def test_a_burst_comes_whole_in_order_and_late():
    road = Road()
    road.hurt("hold")
    road.speak(3)
    assert road.sent() == []
    assert await road.path.heal("hold") == {"packets": 3}
    assert road.sent() == [1, 2, 3]
    assert road.hurts() == [("held", 0), ("held", 2), ("held", 4)]


async def test_a_burst_waits_for_room_in_the_engine_and_nothing_overtakes_it():
    road = Road()
    road.hurt("hold")
    road.speak(2)
    road.full = True
    waiting = asyncio.create_task(road.path.heal("hold"))
    await seen(lambda: road.path.waiting, "packets that wait")
    road.speak(1)
    assert road.sent() == []
    road.full = False
    assert await waiting == {"packets": 2}
    assert road.sent() == [1, 2, 3]


async def test_what_one_fault_hurt_no_other_touches():
    road = Road()
    road.hurt("duplicate", pattern="1")
    road.hurt("drop", pattern="1")
    road.speak(2)
    assert road.sent() == [1, 1, 2, 2]
    assert await road.path.heal("drop") == {"packets": 0}
    await road.path.heal("duplicate")
    assert [how for how, _ in road.hurts()] == ["duplicated"] * 2


def test_chance_is_the_seeds():
    def dropped(seed):
        road = Road(seed=seed)
        road.hurt("drop", share=0.3)
        road.speak(100)
        return road.hurts()

    assert dropped(1) == dropped(1)
    assert dropped(1) != dropped(2)
    assert 15 <= len(dropped(1)) <= 45


@pytest.mark.parametrize(
    ("fields", "asked", "said"),
    [
        ({}, {"how": "drop"}, "exactly one of share, every and pattern"),
        ({}, {"how": "drop", "share": 0.1, "every": 2}, "exactly one"),
        ({}, {"how": "drop", "share": 5.0}, "a share above 0, up to 1; saw 5"),
        ({}, {"how": "drop", "share": 0.0}, "a share above 0"),
        ({}, {"how": "drop", "share": -0.1}, "a share above 0"),
        ({}, {"how": "drop", "share": float("nan")}, "a share above 0"),
        ({}, {"how": "drop", "every": 0}, "every, copies and by from 1 on"),
        ({}, {"how": "drop", "pattern": "10x"}, "a pattern of 1"),
        ({}, {"how": "drop", "pattern": ""}, "a pattern of 1"),
        ({}, {"how": "reorder", "pattern": "1", "by": 0}, "from 1 on"),
        ({"packet_ms": 10}, {"how": "drop", "every": 2}, "packets of whole frames"),
        ({"fallback": True}, {"how": "drop", "every": 2}, "without fallback"),
    ],
)
def test_wrong_faults_are_said_in_a_sentence(fields, asked, said):
    with pytest.raises(SettingsError, match=said):
        Road(**fields).path.hurt(read_hurt({"name": "x", **asked}))


async def test_a_fault_that_a_new_process_never_had_cannot_be_healed():
    with pytest.raises(SettingsError, match="a fault that this phone has"):
        await Road().path.heal("drop")
