"""The microphone manager: decides when the phone should send audio, and tells it so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from harness.reference.cloud.log import Log
from harness.reference.cloud.timers import Timers
from harness.reference.cloud.wire import Message, iso_now


class Microphone:
    """One user's microphone: debounced changes, a hold-down before "off", a keepalive while on.

    `send` reaches the phone; `on_change` hears each real change.
    """

    def __init__(
        self,
        log: Log,
        timers: Timers,
        user_id: str,
        send: Callable[[Message], None],
        on_change: Callable[[bool], None],
    ) -> None:
        """Start switched off."""
        self._log = log
        self._timers = timers
        self._user_id = user_id
        self._send = send
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._on = False
        self._wanted: tuple[str, ...] = ()
        self._hold: asyncio.TimerHandle | None = None
        self._debounce: asyncio.TimerHandle | None = None
        self._keepalive: asyncio.TimerHandle | None = None
        self._silenced_s = -float("inf")

    @property
    def on(self) -> bool:
        """What the phone was last told."""
        return self._on

    def want(self, required: tuple[str, ...]) -> None:
        """Take what the apps need now (`pcm`, `transcription`); nothing means off, after the hold-down."""
        self._wanted = required
        if required:
            self._cancel_hold()
            self._update()
        elif self._on and self._hold is None:
            self._hold = self._loop.call_later(self._timers.mic_hold_s, self._release)

    def phone_returned(self, *, silently: bool = False) -> None:
        """Tell a phone that reconnected how things stand: it may be a new process, or have missed a change.

        The keepalive counts anew from here, as there was nobody to hear it. `silently` (a defect) tells nothing.
        """
        if not silently:
            self._tell()
        self._repeat()

    def heard(self) -> None:
        """Note that audio came; with the microphone off the phone is told to be silent, now and then."""
        if self._on or self._loop.time() - self._silenced_s < self._timers.unauthorized_audio_s:
            return
        self._silenced_s = self._loop.time()
        self._log.warning("Receiving unauthorized audio - forcing mic off immediately")
        self._tell()

    def dispose(self) -> None:
        """Stop every timer."""
        self._cancel_hold()
        for timer in (self._debounce, self._keepalive):
            if timer is not None:
                timer.cancel()

    def _release(self) -> None:
        self._hold = None
        if not self._wanted:
            self._update()

    def _cancel_hold(self) -> None:
        if self._hold is not None:
            self._hold.cancel()
            self._hold = None

    def _update(self) -> None:
        """Send the first change at once; changes within the debounce are looked at when it ends."""
        wanted_on = bool(self._wanted) or self._hold is not None
        if self._debounce is not None or wanted_on == self._on:
            return
        self._on = wanted_on
        self._debounce = self._loop.call_later(self._timers.mic_debounce_s, self._settled)
        self._tell()
        self._repeat()
        self._on_change(self._on)

    def _settled(self) -> None:
        self._debounce = None
        self._update()

    def _repeat(self) -> None:
        if self._keepalive is not None:
            self._keepalive.cancel()
            self._keepalive = None
        if self._on:
            self._keepalive = self._loop.call_later(self._timers.mic_keepalive_s, self._keep_alive)

    def _keep_alive(self) -> None:
        self._tell()
        self._repeat()

    def _tell(self) -> None:
        message: Message = {
            "type": "microphone_state_change",
            "sessionId": self._user_id,
            "isMicrophoneEnabled": self._on,
            "requiredData": list(self._wanted) if self._on else [],
            "bypassVad": self._on and "pcm" in self._wanted,
            "timestamp": iso_now(),
        }
        self._send(message)
