"""The STT manager: one stream per subscribed language, made, retried and ended by the real cloud's rules.

A stream that was lost comes back for as long as it is wanted; one that was closed with 1000 waits for the next speech
start or subscription change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from harness.reference.cloud.context import Context
from harness.reference.cloud.soniox import Ended, SonioxStream, Transcript
from harness.reference.cloud.stt_retry import Tries, next_delay_s, retry_delay_s


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

    @property
    def wanted(self) -> bool:
        """Whether the apps want words at all."""
        return bool(self._wanted)

    @property
    def available(self) -> bool:
        """Whether every wanted stream is there and ready."""
        return all((stream := self._streams.get(wanted)) is not None and stream.ready for wanted in self._wanted)

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
        """Run a stream, again and again while it is wanted and its errors are worth another try."""
        tries, attempt, taken = Tries(), 0, False
        try:
            while True:
                attempt += 1
                self._log.info("Creating STT stream", subscription=subscription, attempt=attempt)
                ended = await self._run_once(subscription)
                self._log.warning("STT stream ended", subscription=subscription, code=ended.code, reason=ended.reason)
                attempt = 0 if ended.answered else attempt
                taken = taken or ended.code != 0
                delay_s = self._delay_s(ended, tries.failed(ended), taken=taken)
                if delay_s is None:
                    if ended.code is not None:
                        self._give_up(subscription, ended, taken=taken)
                    return
                await asyncio.sleep(delay_s)
        finally:
            if self._keepers.get(subscription) is asyncio.current_task():
                del self._keepers[subscription]

    def _delay_s(self, ended: Ended, failures: int, *, taken: bool) -> float | None:
        """Give the wait before the next stream, or None; `taken`: the provider took this subscription once."""
        defects, timers = self._ctx.defects, self._ctx.timers
        if ended.code is None and defects.has("stt-no-recreate"):
            return None
        if ended.code == 0 and not taken and defects.has("stt-subscribe-once"):
            return retry_delay_s(0, failures, timers.stt_retry_s)
        return next_delay_s(ended, failures, timers)

    def _give_up(self, subscription: str, ended: Ended, *, taken: bool) -> None:
        self._log.error("STT stream failed permanently", subscription=subscription, reason=ended.reason)
        if not taken and self._ctx.defects.has("stt-subscribe-once"):
            self._wanted -= {subscription}  # recorded only on success

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
            stream.finalize()  # what was understood before it was lost is not lost with it
            if self._streams.get(subscription) is stream:
                del self._streams[subscription]


async def _end_stream(keeper: asyncio.Task[None], stream: SonioxStream | None) -> None:
    if stream is not None:
        await stream.close()
    keeper.cancel()
