"""Watches for silence while the microphone is on: a stream that is up and brings nothing is joined anew."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from harness.reference.cloud.log import Log
from harness.reference.cloud.timers import Timers

LONGEST_COOLDOWNS = 8
"""A cooldown grows to at most so many times its first length."""


class GapDetector:
    """Look every `audio_gap_check_s` whether `silent_s` has passed `audio_gap_s`; then `mend`, not too often.

    Only a gap in a stream that `is_up` is its business: a stream that is gone has its own way back.
    """

    def __init__(
        self,
        log: Log,
        timers: Timers,
        silent_s: Callable[[], float],
        is_up: Callable[[], bool],
        mend: Callable[[], Awaitable[None]],
    ) -> None:
        """Prepare; `watch` looks."""
        self._log = log
        self._timers = timers
        self._silent_s = silent_s
        self._is_up = is_up
        self._mend = mend
        self._cooldown_s = timers.audio_gap_cooldown_s
        self._not_before_s = -float("inf")
        self._acted_s = -float("inf")

    async def watch(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(self._timers.audio_gap_check_s)
            await self._look()

    async def _look(self) -> None:
        silent_s, now_s = self._silent_s(), time.monotonic()
        if silent_s < self._timers.audio_gap_s or not self._is_up() or now_s < self._not_before_s:
            return
        heard_since = now_s - silent_s > self._acted_s
        longest_s = LONGEST_COOLDOWNS * self._timers.audio_gap_cooldown_s
        self._cooldown_s = self._timers.audio_gap_cooldown_s if heard_since else min(2 * self._cooldown_s, longest_s)
        self._log.warning("Audio gap detected, rejoining", silentMs=round(silent_s * 1000))
        await self._mend()
        self._acted_s = time.monotonic()
        self._not_before_s = self._acted_s + self._cooldown_s
