"""Speech leaves on the speech clock: no drift, no repeats, and what was spoken stands in the record before it goes."""

import asyncio

import numpy as np
import pytest

from harness import frames as fr
from harness.clock import MS_NS, now_ns
from harness.phone.microphone import Microphone, Outlet
from harness.speech import Decoder, encode
from harness.tests.phone_world import configured, seen


class Desk:
    """A microphone whose packets and records are kept, on a clock that can be put forward."""

    def __init__(self, packet_ms=40, way=fr.Flag.NONE, epoch_ns=0):
        self.ahead_ns, self.way = 0, way
        self.packets, self.spoken, self.lateness_ms, self.order = [], [], [], []
        self.fallback: list[bytes] = []
        self.epoch_ns = epoch_ns or now_ns() + 5 * MS_NS
        outlet = Outlet(lambda: self.way, self._to_room, self.fallback.append)
        configuration = configured(packet_ms=packet_ms, epoch_ns=self.epoch_ns)
        self.mic = Microphone(configuration, outlet, self._record, clock=lambda: now_ns() + self.ahead_ns)

    def _to_room(self, packet):
        self.order.append("handed")
        self.packets.append(packet.payload)
        packet.on_sent()

    def _record(self, index, flags):
        self.order.append("sent" if flags & fr.Flag.SENT else "recorded")
        if not flags & fr.Flag.SENT:
            self.spoken += [(int(i), flags) for i in index]
            now = now_ns() + self.ahead_ns
            self.lateness_ms += [(now - self.epoch_ns) / MS_NS - (int(i) + 1) * 20 for i in index[-1:]]

    async def packets_reach(self, count):
        await seen(lambda: len(self.packets) >= count, f"{count} packets")
        await self.mic.stop()


@pytest.mark.parametrize("packet_ms", [10, 20, 40, 100])
async def test_packets_carry_whole_speech_in_order(packet_ms):
    desk = Desk(packet_ms)
    assert desk.mic.start() == 0
    await desk.packets_reach(4)
    pcm = b"".join(p[1:] for p in desk.packets)
    assert {len(p) for p in desk.packets} == {32 * packet_ms + 1}
    assert [p[0] for p in desk.packets] == list(range(1, len(desk.packets) + 1))
    frames = len(pcm) // 640
    assert pcm[: frames * 640] == encode(7, 0, frames)
    assert [i for i, _ in desk.spoken] == list(range(frames))
    assert desk.mic.last_index == frames - 1
    assert min(desk.lateness_ms) > -1
    assert min(desk.lateness_ms) < 15


async def test_a_frame_is_recorded_before_it_is_handed_over_and_stamped_when_sent():
    desk = Desk()
    desk.mic.start()
    await desk.packets_reach(1)
    assert desk.order[:3] == ["recorded", "handed", "sent"]


async def test_starts_at_the_next_word_boundary_that_is_not_past():
    desk = Desk(epoch_ns=now_ns() - 1 * MS_NS)
    assert desk.mic.start() == 10
    assert desk.mic.start() == 10
    await desk.mic.stop()
    late = Desk(epoch_ns=now_ns() - 1401 * MS_NS)
    assert late.mic.start() == 80
    await late.mic.stop()
    assert late.mic.last_index == -1


async def test_nothing_is_said_twice_and_stopped_time_is_not_spoken():
    desk = Desk(packet_ms=20)
    desk.mic.start()
    await seen(lambda: len(desk.packets) >= 2, "two packets")
    desk.ahead_ns = 4_000 * MS_NS
    before = len(desk.spoken)
    await seen(lambda: len(desk.packets) >= before + 2, "two packets more")
    await desk.mic.stop()
    indices = [i for i, _ in desk.spoken]
    assert indices == sorted(set(indices))
    assert 195 <= indices[before] - indices[before - 1] <= 205


async def test_a_short_stall_is_caught_up():
    desk = Desk(packet_ms=20)
    desk.mic.start()
    await seen(lambda: desk.packets, "a packet")
    desk.ahead_ns = 300 * MS_NS
    await seen(lambda: len(desk.packets) >= 15, "what was said in the stall")
    await desk.mic.stop()
    assert [i for i, _ in desk.spoken] == list(range(len(desk.spoken)))


@pytest.mark.parametrize("way", [fr.Flag.MIC_OFF, fr.Flag.NO_ROOM])
async def test_discarded_speech_is_recorded_and_takes_no_sequence_number(way):
    desk = Desk(packet_ms=20, way=way)
    desk.mic.start()
    await seen(lambda: len(desk.spoken) >= 2, "discarded frames")
    assert not desk.packets
    desk.way = fr.Flag.NONE
    await desk.packets_reach(1)
    assert desk.packets[0][0] == 1
    assert desk.spoken[0] == (0, way)
    assert desk.mic.discarded_packets >= 2


async def test_fallback_carries_no_sequence_byte():
    desk = Desk(way=fr.Flag.FALLBACK)
    desk.mic.start()
    await seen(lambda: desk.fallback, "a fallback packet")
    await desk.mic.stop()
    assert desk.fallback[0] == encode(7, 0, 2)
    assert desk.spoken[0] == (0, fr.Flag.FALLBACK)


async def test_the_sequence_wraps_at_256_and_survives_a_pause():
    desk = Desk(packet_ms=10, epoch_ns=now_ns() - 500 * MS_NS)
    desk.mic._sequence = 254
    desk.mic._speak(0, 0)
    desk.mic._speak(0, 1)
    desk.mic._speak(0, 2)
    assert [p[0] for p in desk.packets] == [255, 0, 1]
    heard = Decoder().feed(b"".join(p[1:] for p in desk.packets) + bytes(640))
    assert np.array_equal(heard.index[:1], [0])
    await asyncio.sleep(0)
