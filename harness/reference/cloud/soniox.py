"""One STT stream in the Soniox protocol, and the making of transcripts from its tokens."""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import json
import sys
import termios
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp

from harness.reference.cloud.context import Context
from harness.reference.cloud.outbox import Before, Outbox
from harness.reference.cloud.wire import Message, read_message, text_of

CHUNKS_BUFFERED = 50
"""Audio kept while the stream is not ready."""
CHUNKS_QUEUED = 500
"""Audio kept while the ready stream's socket takes none: room for the burst that follows an outage."""
ON_THE_WAY_BYTES = 16_384
"""Half a second of audio that the other end's kernel has not taken yet: what waits here can still be dropped."""
LOOK_AGAIN_S = 0.02
BYTES_PER_S = 32_000
END_TOKEN = "<end>"  # noqa: S105 - closes an utterance; no secret


@dataclass(frozen=True)
class Transcript:
    """Words of one utterance so far; times in ms from the stream's start."""

    text: str
    is_final: bool
    start_ms: int
    end_ms: int
    tokens: tuple[Message, ...] = ()


@dataclass
class Utterance:
    """Collects tokens until `<end>`: final ones come once, the others anew with every answer."""

    _settled: list[Message] = field(default_factory=list)
    _tail: list[Message] = field(default_factory=list)

    def take(self, tokens: list[Message]) -> list[Transcript]:
        """Add one answer's tokens; give a final for each utterance that ended, then the interim of what is open."""
        found: list[Transcript] = []
        changed = False
        self._tail = []
        for token in tokens:
            if text_of(token, "text") == END_TOKEN:
                found += self.finish()
                changed = False
                continue
            changed = True
            (self._settled if token.get("is_final") else self._tail).append(token)
        if changed:
            found.append(_transcript(self._settled + self._tail, is_final=False))
        return found

    def finish(self) -> list[Transcript]:
        """Close the utterance with what is known; nothing if nothing was said."""
        said = self._settled + self._tail
        self._settled, self._tail = [], []
        return [_transcript(said, is_final=True)] if said else []


def _transcript(tokens: list[Message], *, is_final: bool) -> Transcript:
    text = "".join(text_of(token, "text") for token in tokens).strip()
    return Transcript(text, is_final, _ms(tokens[0], "start_ms"), _ms(tokens[-1], "end_ms"), tuple(tokens))


def _ms(token: Message, key: str) -> int:
    value = token.get(key)
    return int(value) if isinstance(value, int | float) else 0


@dataclass(frozen=True)
class Ended:
    """How a stream ended; `code` is the provider's error (0: it could not be reached), None for a plain close."""

    code: int | None
    reason: str
    close_code: int | None = None
    """Of a plain close; 1000 is one that was asked for."""
    answered: bool = False
    """Whether the provider ever answered with tokens (none are an answer too, an error is not)."""


class SonioxStream:
    """One connection: configure, wait until ready, send audio and keepalives, hand on transcripts."""

    def __init__(
        self, ctx: Context, language: str, on_transcript: Callable[[Transcript], None], *, identify: bool
    ) -> None:
        """Prepare a stream for `language` (`en-US`); `identify` asks the provider to recognise languages."""
        self._ctx = ctx
        self._log = ctx.log.of(service="SonioxStream", language=language)
        self._language = language
        self._on_transcript = on_transcript
        self._identify = identify
        self._utterance = Utterance()
        self._audio = Outbox(CHUNKS_BUFFERED)
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._closing = False
        self._configured = self._stuck = False
        self._dropped = 0  # since it was ready: what is too old by then is no news
        self.last_audio_s = asyncio.get_running_loop().time()
        """Loop time of the newest audio fed."""

    @property
    def ready(self) -> bool:
        """Whether it may be believed that words come of what is fed."""
        return self._configured and not self._stuck

    def feed(self, pcm: bytes) -> None:
        """Queue one chunk; it leaves as one binary frame once the stream is ready."""
        self.last_audio_s = asyncio.get_running_loop().time()
        dropped = self._audio.dropped
        self._audio.put(pcm)
        if self._configured and self._audio.dropped > dropped:
            if self._dropped % CHUNKS_QUEUED == 0:
                self._log.warning("STT takes no audio: the oldest is dropped", dropped=self._dropped + 1)
            self._dropped += 1

    def finalize(self) -> None:
        """Close the open utterance with what is known, as the end of speech does."""
        for transcript in self._utterance.finish():
            self._on_transcript(transcript)

    async def run(self) -> Ended:
        """Connect and serve until the stream ends."""
        try:
            async with asyncio.timeout(self._ctx.timers.stt_connect_s):
                socket = await self._ctx.http.ws_connect(
                    self._ctx.settings.stt_endpoint, max_msg_size=0, compress=0, autoping=True
                )
        except aiohttp.WSServerHandshakeError as refusal:
            code = refusal.status if 400 <= refusal.status < 500 else 0
            return Ended(code, f"refused: HTTP {refusal.status}")
        except (aiohttp.ClientError, OSError, TimeoutError) as problem:
            return Ended(0, f"cannot connect: {type(problem).__name__}")
        self._socket = socket
        async with socket:
            side = [asyncio.create_task(self._send(socket)), asyncio.create_task(self._keep_alive(socket))]
            try:
                with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                    await socket.send_str(json.dumps(self._configuration()))
                ended = await self._listen(socket)
                if not self._configured and not self._closing and self._ctx.defects.has("stt-init-hang"):
                    side[0].cancel()
                    await asyncio.Event().wait()  # "ready" never comes, and nothing else is waited for
                return ended
            finally:
                self._configured = False
                for task in side:
                    task.cancel()
                await asyncio.gather(*side, return_exceptions=True)

    async def close(self) -> None:
        """End the stream as the protocol asks: an empty frame, then close 1000."""
        self._closing = True
        if self._socket is not None and not self._socket.closed:
            with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                await self._socket.send_bytes(b"")
            await self._socket.close(code=1000, message=b"Stream closed normally")

    def _configuration(self) -> Message:
        return {
            "api_key": self._ctx.settings.stt_key,
            "model": "stt-rt-v3-preview",
            "audio_format": "pcm_s16le",
            "sample_rate": 16000,
            "num_channels": 1,
            "enable_language_identification": self._identify,
            "max_non_final_tokens_duration_ms": 2000,
            "enable_endpoint_detection": True,
            "enable_speaker_diarization": True,
            "language_hints": [self._language.split("-")[0]],
            "language": self._language,
        }

    async def _send(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        # The provider never says "ready"; the real cloud waits this long and then believes it.
        await asyncio.sleep(self._ctx.timers.stt_ready_s)
        self._configured = True
        self._log.debug("STT stream ready")
        if self._ctx.defects.has("unbounded-backlog"):
            self._audio.limit = sys.maxsize
            await self._audio.drain_into(socket, self._at_the_speed_of_speech(socket))
            return
        self._audio.limit = CHUNKS_QUEUED
        await self._audio.drain_into(socket, self._taken_by(socket))

    def _at_the_speed_of_speech(self, socket: aiohttp.ClientWebSocketResponse) -> Before:
        """Make a wait that lets no audio go sooner after the one before than it took to be spoken."""
        taken, clock = self._taken_by(socket), asyncio.get_running_loop().time
        due_s = clock()

        async def wait(entry: str | bytes) -> None:
            nonlocal due_s
            await taken(entry)
            await asyncio.sleep(max(0.0, due_s - clock()))
            due_s = max(due_s, clock()) + len(entry) / BYTES_PER_S

        return wait

    def _taken_by(self, socket: aiohttp.ClientWebSocketResponse) -> Before:
        """Make a wait until little is on its way to the other end: its kernel takes no more when its reader stalls."""
        number, clock = socket.get_extra_info("socket"), asyncio.get_running_loop().time
        waiting = array.array("i", [0])

        async def wait(_entry: str | bytes) -> None:
            began_s = clock()
            while number is not None and number.fileno() >= 0 and not socket.closed:
                fcntl.ioctl(number.fileno(), termios.TIOCOUTQ, waiting)
                if waiting[0] < ON_THE_WAY_BYTES:
                    break
                self._stuck = self._stuck or clock() - began_s > self._ctx.timers.audio_unavailable_s
                await asyncio.sleep(LOOK_AGAIN_S)
            self._stuck = False

        return wait

    async def _keep_alive(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            while not socket.closed:
                await asyncio.sleep(self._ctx.timers.stt_keepalive_s)
                await socket.send_str(json.dumps({"type": "keepalive"}))

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> Ended:
        answered = False
        async for frame in socket:
            if frame.type is not aiohttp.WSMsgType.TEXT:
                continue
            answer = read_message(frame.data)
            if answer is None:
                continue
            code = answer.get("error_code")
            if isinstance(code, int):
                reason = f"Soniox error {code}: {text_of(answer, 'error_message')}"
                return Ended(code, reason, answered=answered)
            tokens = answer.get("tokens")
            if isinstance(tokens, list):
                answered = True
                for transcript in self._utterance.take([token for token in tokens if isinstance(token, dict)]):
                    self._on_transcript(transcript)
        reason = "Stream closed normally" if self._closing else f"closed by STT ({socket.close_code})"
        return Ended(None, reason, socket.close_code, answered)
