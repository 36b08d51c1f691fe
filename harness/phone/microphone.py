"""The person's voice: packets on the speech clock, each frame recorded before it goes on, none repeated or late."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness import frames as fr
from harness.clock import MS_NS, SECOND_NS, now_ns
from harness.phone.configuration import PhoneConfiguration
from harness.phone.packets import Packet
from harness.speech import FRAME_BYTES, FRAME_MS, WORD_FRAMES, encode

LATE_NS = SECOND_NS
"""A phone later than this was stopped: what was said meanwhile it never heard."""

Record = Callable[[NDArray[np.uint32], fr.Flag], None]
"""Writes frames down at ``phone-out``: their indices (u4) and flags."""


@dataclass(frozen=True)
class Outlet:
    """Where packets go."""

    way: Callable[[], fr.Flag]
    """How a packet would go now: NONE into the room, FALLBACK to the cloud, MIC_OFF or NO_ROOM: discarded."""
    to_room: Callable[[Packet], None]
    """Takes a packet: sequence byte + PCM, its frames, and what to call when it was sent."""
    to_cloud: Callable[[bytes], object]
    """Takes PCM."""


class Microphone:
    """Speaks while talking, whatever the phone's state; one packet per ``packet_ms``, aligned to utterances."""

    def __init__(
        self, configuration: PhoneConfiguration, outlet: Outlet, record: Record, *, clock: Callable[[], int] = now_ns
    ) -> None:
        """Keep the parts; silent until :meth:`start`."""
        self._configuration, self._outlet, self._record, self._clock = configuration, outlet, record, clock
        self._task: asyncio.Task[None] | None = None
        self._sequence = 0
        self.first_index = -1
        self.last_index = -1
        """The last frame spoken, whatever became of it; -1 before the first."""
        self.sent_packets = 0
        self.fallback_packets = 0
        self.discarded_packets = 0

    @property
    def talking(self) -> bool:
        """Tell whether the person is talking (or about to, at the next word)."""
        return self._task is not None

    def start(self) -> int:
        """Talk from the next word boundary that is not past, wherever in an utterance; return its first frame index."""
        if self._task is None:
            word_ns = WORD_FRAMES * FRAME_MS * MS_NS  # silence is a whole number of words long
            since_ns = max(0, self._clock() - self._configuration.epoch_ns)
            self.first_index = -(-since_ns // word_ns) * WORD_FRAMES
            self._task = asyncio.create_task(self._talk(self.first_index), name="microphone")
        return self.first_index

    async def stop(self) -> int:
        """Fall silent after the last whole packet; return the last frame index spoken (-1: none ever)."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        return self.last_index

    async def _talk(self, first: int) -> None:
        packet_ns = self._configuration.packet_ms * MS_NS
        packet = 0
        start_ns = self._configuration.spoken_ns(first - 1)
        while True:
            due_ns = start_ns + (packet + 1) * packet_ns
            late_ns = self._clock() - due_ns
            if late_ns > LATE_NS:
                packet += late_ns // packet_ns
                continue
            if late_ns < 0:
                await asyncio.sleep(-late_ns / SECOND_NS)
                continue  # look again: the process may have been stopped meanwhile
            self._speak(first, packet)
            packet += 1

    def _speak(self, first: int, packet: int) -> None:
        """Record and hand over packet number ``packet`` counted from frame ``first``."""
        size = FRAME_BYTES * self._configuration.packet_ms // FRAME_MS
        begin, end = packet * size, (packet + 1) * size
        touched = range(begin // FRAME_BYTES, -(-end // FRAME_BYTES))
        pcm = encode(self._configuration.speaker, first + touched.start, len(touched))
        pcm = pcm[begin - touched.start * FRAME_BYTES :][:size]
        # With 10 ms packets a frame spans two; it counts as handed over with its last half.
        done = np.arange(first + begin // FRAME_BYTES, first + end // FRAME_BYTES, dtype=np.uint32)
        way = self._outlet.way()
        self._record(done, way)
        if len(done):
            self.last_index = int(done[-1])
        if way & (fr.Flag.MIC_OFF | fr.Flag.NO_ROOM):
            self.discarded_packets += 1
        elif way & fr.Flag.FALLBACK:
            self.fallback_packets += 1
            self._outlet.to_cloud(pcm)
        else:
            self.sent_packets += 1
            self._sequence = (self._sequence + 1) % 256  # never reset while the process lives, as in the real app
            payload, first_index = bytes((self._sequence,)) + pcm, first + touched.start
            self._outlet.to_room(Packet(payload, first_index, len(touched), lambda: self._record(done, fr.Flag.SENT)))
