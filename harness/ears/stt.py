"""The STT stand-in: speaks the Soniox streaming protocol and recognises our own speech code.

Outside numbers are those of the wire contract (Soniox): 20 s without data, error 408, empty frame = end of audio.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from harness.ears.owners import Owners
from harness.ears.transcribe import BYTES_PER_MS, Spoken, Transcriber
from harness.errors import MachineError
from harness.events import Caption, Note, SttClosed, SttKeepalive, SttOpened
from harness.frames import Hop
from harness.history import Recorder
from harness.pcm_ear import PcmEar
from harness.speech import SAMPLE_RATE, word_text
from harness.waiting import within

IDLE_S = 20.0
"""Without audio or keepalive for this long, the server closes."""
_CONFIDENCE = 0.98


class SttError(Exception):
    """What the server says before it closes by itself."""

    def __init__(self, code: int, message: str) -> None:
        """Keep the error code (HTTP numbers, as Soniox uses them) and its sentence."""
        super().__init__(code, message)
        self.code, self.message = code, message


class SttStandIn:
    """A WebSocket server that hears what the cloud sends to speech recognition and answers with tokens."""

    def __init__(
        self, recorder: Recorder, *, interim: bool = True, idle_s: float = IDLE_S, owners: Owners | None = None
    ) -> None:
        """Prepare it; ``open`` listens. With ``interim`` False only whole utterances are answered."""
        self.recorder, self.interim, self.idle_s = recorder, interim, idle_s
        self.owners = owners or Owners(recorder)
        self._server: Server | None = None
        self._numbers = itertools.count(1)
        self._open: dict[int, ServerConnection] = {}
        self._dropped: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._refusing = self._ends_early = False
        self._ended_early = 0
        self.total = self.port = 0

    async def open(self, host: str, port: int) -> int:
        """Listen on ``host:port`` (0 = any) and return the port.

        Raises:
            MachineError: the address is taken or not ours.
        """
        try:
            self._server = await serve(
                self._talk, host, port, process_request=self._admit, ping_interval=None, max_size=None,
                compression=None, close_timeout=1,
            )  # fmt: skip
        except OSError as error:
            raise MachineError(
                f"a free address {host}:{port} for the STT stand-in", str(error), "choose another port"
            ) from error
        self.port = int(next(iter(self._server.sockets)).getsockname()[1])
        return self.port

    async def close(self) -> None:
        """Stop listening and end every connection."""
        self.drop(abort=True)
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def refuse(self, *, on: bool) -> None:
        """Answer every new connection with HTTP 503, or stop doing so."""
        self._refusing = on

    def end_early(self, *, on: bool) -> int:
        """Close every new connection once it is configured, before it takes audio, or stop doing so.

        Returns how many were closed in this way since it was last switched on.
        """
        if on:
            self._ended_early = 0
        self._ends_early = on
        return self._ended_early

    def closes(self, number: int, ws: ServerConnection) -> bool:
        """Close a connection that was just configured, if that is what happens now; tell whether it is."""
        if self._ends_early:
            self._ended_early += 1
            self._say_goodbye(number, ws, 0)
        return self._ends_early

    def drop(self, *, abort: bool, error: int = 0) -> int:
        """End every connection and return how many: with a reset, with an error answer, or with close code 1011."""
        for number, ws in self._open.items():
            if abort:
                self._dropped.add(number)
                ws.transport.abort()
            else:
                self._say_goodbye(number, ws, error)
        return len(self._open)

    def _say_goodbye(self, number: int, ws: ServerConnection, error: int) -> None:
        self._dropped.add(number)
        task = asyncio.create_task(_say_goodbye(ws, error))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def state(self) -> dict[str, Any]:
        """Return how many connections are open, and how many there ever were."""
        return {"open": len(self._open), "total": self.total, "refusing": self._refusing}

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        del request
        if self._refusing:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "no capacity\n")
        return None

    async def _talk(self, ws: ServerConnection) -> None:
        number = next(self._numbers)
        self._open[number] = ws
        self.total += 1
        stream = _Stream(self, ws, number)
        by, reason = "stt", ""
        try:
            await stream.run()
            by, reason = "cloud", "end of audio"
        except SttError as error:
            reason = f"{error.code} {error.message}"
            await _say_goodbye(ws, error.code, error.message)
        except ConnectionClosed as closed:
            if number not in self._dropped:
                by = "network" if closed.rcvd is None else "cloud"
            reason = closed.rcvd.reason if closed.rcvd else ""
        finally:
            stream.end()
            del self._open[number]
            self._dropped.discard(number)
            code = ws.close_code or 1006
            self.recorder.emit(SttClosed(conn=number, code=code, by=by, reason=reason))


async def _say_goodbye(ws: ServerConnection, code: int, message: str = "dropped by the server") -> None:
    try:
        if code:
            await ws.send(json.dumps({"tokens": [], "error_code": code, "error_message": message}))
        await ws.close(1000 if code else 1011, message)
    except ConnectionClosed:
        return  # it was gone first, which is what was wanted


class _Stream:
    """One connection: configuration, audio in, tokens out."""

    def __init__(self, owner: SttStandIn, ws: ServerConnection, number: int) -> None:
        self.owner, self.ws, self.number = owner, ws, number
        self.ear = PcmEar(owner.recorder, Hop.STT_IN, owner.owners.stream(Hop.STT_IN))
        self.transcriber = Transcriber()
        self.audio_bytes = 0
        self.final_ms = 0

    async def run(self) -> None:
        """Serve until the end of audio; raises SttError or ConnectionClosed when it ends in another way."""
        _check_config(await self._next())
        if self.owner.closes(self.number, self.ws):
            while True:
                await self._next()  # raises how it ended
        self.owner.recorder.emit(SttOpened(conn=self.number))
        while True:
            message = await self._next()
            if isinstance(message, str):
                await self._text(message)
            elif message:
                self.audio_bytes += len(message)
                await self._answer(self.transcriber.hear(self.ear.feed(message)))
            else:
                await self._answer(self.transcriber.hear(self.ear.finish()) + self.transcriber.finish())
                await self.ws.send(json.dumps(self._response([]) | {"finished": True}))
                await self.ws.close(1000)
                return

    def end(self) -> None:
        """Record what was still open when the connection ended."""
        self.ear.finish()

    async def _next(self) -> str | bytes:
        try:
            return await within(self.ws.recv(), self.owner.idle_s)
        except TimeoutError:
            raise SttError(HTTPStatus.REQUEST_TIMEOUT, "Request timeout: no audio or keepalive") from None

    async def _text(self, message: str) -> None:
        if not message:  # an empty text frame ends the audio just as an empty binary one does
            await self._answer(self.transcriber.finish())
            return
        kind = _json(message).get("type")
        if kind == "keepalive":
            self.owner.recorder.emit(SttKeepalive(conn=self.number))
        elif kind == "finalize":
            await self._answer(self.transcriber.finish())
        else:
            self.owner.recorder.emit(Note(text=f"STT connection {self.number}: unknown message {message[:200]}"))

    async def _answer(self, said: list[Spoken]) -> None:
        for spoken in said:
            if not spoken.final and not self.owner.interim:
                continue
            tokens = _tokens(spoken)
            if spoken.final:
                self.final_ms = max(self.final_ms, spoken.words[-1].end_ms)
            words = tuple(word.number for word in spoken.words)
            text = "".join(token["text"] for token in tokens if token["text"] != "<end>").strip()
            self.owner.recorder.emit(
                Caption(hop="stt-out", speaker=spoken.speaker, words=words, final=spoken.final, text=text)
            )
            await self.ws.send(json.dumps(self._response(tokens)))

    def _response(self, tokens: list[dict[str, Any]]) -> dict[str, Any]:
        total_ms = self.audio_bytes // BYTES_PER_MS
        return {"tokens": tokens, "final_audio_proc_ms": self.final_ms, "total_audio_proc_ms": total_ms}


def _tokens(spoken: Spoken) -> list[dict[str, Any]]:
    """Give the tokens of a response; each text ends with a blank, so that joined texts can be read back."""
    common = {"confidence": _CONFIDENCE, "is_final": spoken.final, "speaker": "1", "language": "en"}
    tokens = [
        {"text": word_text(spoken.speaker, word.number) + " ", "start_ms": word.start_ms, "end_ms": word.end_ms}
        | common
        for word in spoken.words
    ]
    if spoken.final:
        end_ms = spoken.words[-1].end_ms
        tokens.append({"text": "<end>", "start_ms": end_ms, "end_ms": end_ms} | common)
    return tokens


def _json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _check_config(message: str | bytes) -> None:
    config = _json(message) if isinstance(message, str) else {}
    for key, expected in (("audio_format", "pcm_s16le"), ("sample_rate", SAMPLE_RATE), ("num_channels", 1)):
        if config.get(key) != expected:
            raise SttError(HTTPStatus.BAD_REQUEST, f"expected {key} {expected!r}; saw {config.get(key)!r}")
