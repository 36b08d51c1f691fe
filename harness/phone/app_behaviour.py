"""What the app on the phone does: a new room per ACK, mic on and off, start_app, captions on the display."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import events as ev
from harness import frames as fr
from harness.history import Recorder
from harness.phone.cloud_session import CloudSession
from harness.phone.configuration import PhoneConfiguration
from harness.phone.engine import EngineFactory
from harness.phone.microphone import Microphone, Outlet
from harness.phone.packets import PacketPath
from harness.phone.rest_token import RoomGrant
from harness.phone.room import Room
from harness.speech import parse_words

DISPLAY_HOP = "phone-display"


class Phone:
    """One person's phone: its socket to the cloud, its room and its microphone."""

    def __init__(
        self,
        configuration: PhoneConfiguration,
        recorder: Recorder,
        make_engine: EngineFactory,
        fetch_token: Callable[[], Awaitable[RoomGrant]],
    ) -> None:
        """Build the parts; nothing runs before :meth:`run`."""
        self.configuration, self._recorder = configuration, recorder
        self.cloud = CloudSession(configuration, recorder.emit, self._on_text, self._on_closed)
        self.room = Room(configuration, recorder.emit, make_engine, fetch_token, self._needs_room)
        self.packets = PacketPath(configuration, recorder.emit, self._can_send, self._to_room)
        outlet = Outlet(self._way, self.packets.put, self.cloud.send_audio)
        self.microphone = Microphone(configuration, outlet, self._spoke)
        self.mic_on = False
        self.acked = False
        self.acks = 0
        self._vad_owed = False
        self._app_runs = False
        """Whether the app that the wearer opened is known to run."""

    async def run(self) -> None:
        """Run for ever; cancelling it stops everything."""
        await self.cloud.run()

    # -- requests --------------------------------------------------------------------------------------------------

    async def talk(self, *, on: bool) -> dict[str, int]:
        """Start or stop talking; return ``first_index`` or ``last_index``."""
        person, speaker = self.configuration.person, self.configuration.speaker
        was_talking = self.microphone.talking
        if not on:
            last = await self.microphone.stop()
            if was_talking:
                self._recorder.emit(ev.Talking(person=person, speaker=speaker, on=False, first_index=last + 1))
            return {"last_index": last}
        first = self.microphone.start()
        if not was_talking:
            self._recorder.emit(ev.Talking(person=person, speaker=speaker, on=True, first_index=first))
            self._vad_owed = True
            if self.acked:
                self._send_vad()
        return {"first_index": first}

    def state(self) -> dict[str, Any]:
        """Return how things stand, as the ``state`` request answers."""
        mic = self.microphone
        return {
            "person": self.configuration.person, "socket": self.cloud.state, "acked": self.acked, "acks": self.acks,
            "room": self.room.state, "mic": self.mic_on, "talking": mic.talking,
            "next_index": mic.last_index + 1 if mic.last_index >= mic.first_index else mic.first_index,
            "sent_packets": mic.sent_packets, "fallback_packets": mic.fallback_packets,
            "discarded_packets": mic.discarded_packets,
        }  # fmt: skip

    # -- what the cloud says -----------------------------------------------------------------------------------------

    def _on_closed(self) -> None:
        self.acked = False  # the room stays: the media library knows nothing of the socket

    def _on_text(self, text: str) -> None:
        try:
            body = json.loads(text)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            self._message("not-json", text)
            return
        kind = str(body.get("type", ""))
        self._message(kind, text)
        if kind == "connection_ack":
            self._acknowledged()
        elif kind == "microphone_state_change":
            self.mic_on = bool(body.get("isMicrophoneEnabled"))
            self._app_runs = self._app_runs or self.mic_on  # something wants to hear, also where nobody says so
            self._recorder.emit(ev.MicState(person=self.configuration.person, on=self.mic_on))
        elif kind == "app_started":
            self._app_runs = True
        elif kind == "display_event":
            self._displayed(body)

    def _message(self, kind: str, text: str) -> None:
        self._recorder.emit(ev.PhoneMessage(person=self.configuration.person, type=kind, body=text))

    def _acknowledged(self) -> None:
        self.acked = True
        self.acks += 1
        self.cloud.send_text(
            {
                "type": "glasses_connection_state", "modelName": "Simulated Glasses", "status": "CONNECTED",
                "wifi": None, "timestamp": datetime.now(UTC).isoformat(),
            }
        )  # fmt: skip
        # Once, as a rule: the wearer only taps it again where a cloud died before it had started it.
        if self.configuration.start_app is not None and not self._app_runs:
            self.cloud.send_text({"type": "start_app", "packageName": self.configuration.start_app})
        if self._vad_owed:
            self._send_vad()
        self.room.renew()

    def _send_vad(self) -> None:
        # Before the ACK the cloud may lose it, and nobody would wake its transcription streams.
        self._vad_owed = not self.cloud.send_text({"type": "VAD", "status": True})

    def _displayed(self, body: dict[str, Any]) -> None:
        text, person = " ".join(_texts(body.get("layout"))), self.configuration.person
        words: dict[int, list[int]] = {}
        for speaker, word in parse_words(text):
            words.setdefault(speaker, []).append(word)
        for speaker, named in (words or {0: []}).items():
            shown = tuple(named)  # the display does not tell finals from interims
            self._recorder.emit(
                ev.Caption(hop=DISPLAY_HOP, speaker=speaker, words=shown, final=False, text=text, person=person)
            )

    # -- where audio goes --------------------------------------------------------------------------------------------

    def _needs_room(self) -> bool:
        return self.mic_on and self.cloud.state == "open"

    def _way(self) -> fr.Flag:
        if not self.mic_on:
            return fr.Flag.MIC_OFF
        engine = self.room.engine
        if engine is None or not self.room.connected:
            return fr.Flag.FALLBACK if self.configuration.fallback and self.cloud.can_send() else fr.Flag.NO_ROOM
        # Too much queued behind an outage: the packet is dropped here, as a lossy channel would.
        return fr.Flag.NONE if engine.can_send() or self.packets.waiting else fr.Flag.NO_ROOM

    def _can_send(self) -> bool:
        engine = self.room.engine
        return engine is not None and self.room.connected and engine.can_send()

    def _to_room(self, payload: bytes, on_sent: Callable[[], None]) -> None:
        engine = self.room.engine
        assert engine is not None, "asked in the same step of the loop"
        engine.send(payload, on_sent)

    def _spoke(self, index: NDArray[np.uint32], flags: fr.Flag) -> None:
        self._recorder.frames(fr.Hop.PHONE_OUT, self.configuration.speaker, index, int(flags))


def _texts(layout: object) -> Iterator[str]:
    """Give every text in a layout, except the name of its type."""
    if isinstance(layout, str):
        yield layout
    elif isinstance(layout, dict):
        for key, value in layout.items():
            if key != "layoutType":
                yield from _texts(value)
    elif isinstance(layout, list):
        for value in layout:
            yield from _texts(value)


async def stop_task(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
