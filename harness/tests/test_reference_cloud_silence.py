"""A silence that STT keepalives hide: with the defect nobody is told and nothing is mended, while the STT is there."""

import asyncio
from dataclasses import replace

import pytest

from harness.tests.reference_cloud_world import BRISK, eventually, world

QUICK = replace(
    BRISK, audio_unavailable_s=0.1, audio_gap_s=0.2, audio_gap_check_s=0.02, audio_gap_cooldown_s=5, stt_ready_s=0.01
)
LONG_ENOUGH_S = 3 * QUICK.audio_gap_s


@pytest.mark.parametrize("hidden", [False, True])
async def test_keepalives_hide_a_silence_only_with_the_defect(hidden):
    async with world(*(["health-from-keepalive"] if hidden else []), timers=QUICK) as w:
        phone = await w.captions_running()
        await eventually(lambda: w.log_lines("STT stream ready"), "a stream kept alive")
        w.bridge.say(b"ab")
        told = len(phone.audio_statuses())
        if hidden:
            await asyncio.sleep(LONG_ENOUGH_S)
            assert len(phone.audio_statuses()) == told
            assert not w.log_lines("Audio gap detected")
        else:
            await eventually(lambda: phone.audio_statuses()[told:], "the word")
            await eventually(lambda: w.log_lines("Audio gap detected"), "the mend")
