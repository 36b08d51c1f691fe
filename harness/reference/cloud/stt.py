"""The STT manager: one stream per subscribed language, made, retried and ended by the real cloud's rules.

A plain close only deletes a stream: it comes back with the next speech start or subscription change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from harness.reference.cloud.context import Context
from harness.reference.cloud.soniox import Ended, SonioxStream, Transcript

ATTEMPTS = 3
RETRIED_CODES = (0, 400, 408, 429)
"""Besides 5xx; 0 stands for an endpoint that cannot be reached."""


def retry_delay_s(code: int, attempt: int, base_s: float) -> float | None:
    """Give the wait before the next attempt (the first has number 1), or None when there shall be none."""
    if attempt >= ATTEMPTS:
        return None
    if code == 429:
        return float(base_s * 2 ** (attempt - 1))
    if code >= 500:
        return base_s * attempt * 2
    return base_s * attempt if code in RETRIED_CODES else None


class SttManager:
    """One user's streams, by subscription (`transcription:en-US`, with or without options after a `?`)."""

    def __init__(self, ctx: Context, user_id: str, on_transcript: Callable[[str, Transcript], None]) -> None:
        """Give transcripts to `on_transcript` with their subscription."""
        self._ctx = ctx
        self._user_id = user_id
        self._log = ctx.log.of(userId=user_id, service="TranscriptionManager")
        self._on_transcript = on_transcript
        self._wanted: frozenset[str] = frozenset()
        self._streams: dict[str, SonioxStream] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}

    def want(self, subscriptions: frozenset[str]) -> None:
        """Take what the apps want transcribed now."""
        self._wanted = subscriptions
        for subscription in set(self._keepers) - subscriptions:
            self._end(subscription)
        self.ensure_streams()

    def ensure_streams(self) -> None:
        """Make every wanted stream that is not there."""
        if self._wanted and not (self._ctx.settings.stt_endpoint and self._ctx.settings.stt_key):
            self._log.warning("No STT provider: SONIOX_API_KEY and SONIOX_ENDPOINT are not both set")
            return
        for subscription in self._wanted:
            if subscription in self._keepers:
                self._log.debug("Stream already exists and is healthy", subscription=subscription)
            else:
                keeper = self._ctx.background.spawn(self._keep(subscription), f"{subscription} of {self._user_id}")
                self._keepers[subscription] = keeper

    def feed(self, pcm: bytes) -> None:
        """Give one chunk to every stream."""
        for stream in self._streams.values():
            stream.feed(pcm)

    def speech_changed(self, *, speaking: bool) -> None:
        """Take the phone's VAD: its start makes dead streams anew, its end closes utterances and idle streams."""
        if speaking:
            self.ensure_streams()
            return
        now_s = asyncio.get_running_loop().time()
        for subscription, stream in list(self._streams.items()):
            stream.finalize()
            if now_s - stream.last_audio_s > self._ctx.timers.stt_idle_s:
                self._end(subscription)

    def dispose(self) -> None:
        """End every stream."""
        self._wanted = frozenset()
        for subscription in list(self._keepers):
            self._end(subscription)

    def _end(self, subscription: str) -> None:
        keeper = self._keepers.pop(subscription)
        stream = self._streams.pop(subscription, None)
        self._log.info("Closing STT stream", subscription=subscription)
        self._ctx.background.spawn(_end_stream(keeper, stream), f"end of {subscription}")

    async def _keep(self, subscription: str) -> None:
        """Run a stream, again and again while its errors are worth another try."""
        try:
            for attempt in range(1, ATTEMPTS + 1):
                self._log.info("Creating STT stream", subscription=subscription, attempt=attempt)
                ended = await self._run_once(subscription)
                self._log.warning("STT stream ended", subscription=subscription, code=ended.code, reason=ended.reason)
                if ended.code is None:
                    return
                delay_s = retry_delay_s(ended.code, attempt, self._ctx.timers.stt_retry_s)
                if delay_s is None:
                    self._log.error("STT stream failed permanently", subscription=subscription, reason=ended.reason)
                    return
                await asyncio.sleep(delay_s)
        finally:
            if self._keepers.get(subscription) is asyncio.current_task():
                del self._keepers[subscription]

    async def _run_once(self, subscription: str) -> Ended:
        name, _, options = subscription.partition("?")
        stream = SonioxStream(
            self._ctx,
            name.partition(":")[2],
            lambda transcript: self._on_transcript(subscription, transcript),
            identify="no-language-identification=true" not in options,
        )
        self._streams[subscription] = stream
        try:
            return await stream.run()
        finally:
            if self._streams.get(subscription) is stream:
                del self._streams[subscription]


async def _end_stream(keeper: asyncio.Task[None], stream: SonioxStream | None) -> None:
    if stream is not None:
        await stream.close()
    keeper.cancel()
