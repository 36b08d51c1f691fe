"""Tells the phone when its audio does not arrive, and when it does again.

A cloud that acknowledges a phone while no audio can reach it looks healthy and is not; this is the mend.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

from harness.reference.cloud.log import Log
from harness.reference.cloud.wire import Message, iso_now

UNAVAILABLE_TEXT = "Audio unavailable - transcription disabled"
Status = Literal["available", "unavailable"]


class AudioStatus:
    """Watch one user's audio; say `unavailable` on a failure or on silence with the microphone on."""

    def __init__(
        self,
        log: Log,
        send: Callable[[Message], None],
        silence_limit_s: float,
        *,
        hidden: bool = False,
        vouched: Callable[[], bool] | None = None,
    ) -> None:
        """Send to the phone by `send`.

        Two defects: with `hidden` nobody is ever told; while `vouched` says so, silence counts as audio.
        """
        self._log = log
        self._send = send
        self._limit_s = silence_limit_s
        self._hidden = hidden
        self._vouched = vouched or (lambda: False)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._phone_here = False
        self._mic_on = False
        self._waiting_since_s = 0.0
        self._unavailable = False

    @property
    def mic_on(self) -> bool:
        """Whether the phone should be sending."""
        return self._mic_on

    @property
    def phone_here(self) -> bool:
        """Whether an acknowledged phone is there."""
        return self._phone_here

    @property
    def silent_s(self) -> float:
        """For how long a phone has been here with its microphone on and no audio came; 0 when none should come."""
        owed = self._phone_here and self._mic_on and not self._vouched()
        return self._loop.time() - self._waiting_since_s if owed else 0.0

    @property
    def seen(self) -> Status:
        """What the cloud admits about this user's audio."""
        return "unavailable" if self._unavailable and not self._hidden else "available"

    def heard(self) -> None:
        """Note that audio came."""
        self._waiting_since_s = self._loop.time()
        if self._unavailable:
            self._unavailable = False
            self._log.info("Audio available again")
            self._tell()

    def failed(self, reason: str) -> None:
        """Note that audio cannot come."""
        if not self._unavailable:
            self._unavailable = True
            self._log.warning("Audio unavailable", reason=reason)
            self._tell()

    def mic_changed(self, *, on: bool) -> None:
        """Note that the phone was told to send, or to stop."""
        self._mic_on = on
        self._watch()

    def phone_acknowledged(self) -> None:
        """Note a phone that just got its ACK; it hears again what the one before it was told."""
        self._phone_here = True
        if self._unavailable:
            self._tell()
        self._watch()

    def phone_replaced(self) -> None:
        """Note a new socket; it is told nothing before its ACK, and the silence clock goes on."""
        self._phone_here = False

    def phone_gone(self) -> None:
        """Note that nobody is there to send or to be told."""
        self._phone_here = False
        self._watch()

    def dispose(self) -> None:
        """Stop watching."""
        self._phone_here = False
        self._watch()

    def _watch(self) -> None:
        """Start the silence clock anew when the phone is here with its microphone on; else stop it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._phone_here and self._mic_on:
            self._waiting_since_s = self._loop.time()
            self._timer = self._loop.call_later(self._limit_s, self._look)

    def _look(self) -> None:
        left_s = self._waiting_since_s + self._limit_s - self._loop.time()
        if left_s <= 0:
            if not self._vouched():
                self.failed("no audio though the microphone is on")
            left_s = self._limit_s
        self._timer = self._loop.call_later(left_s, self._look)

    def _tell(self) -> None:
        if self._hidden or not self._phone_here:
            return
        message: Message = {"type": "audio_status", "status": self.seen, "timestamp": iso_now()}
        if self._unavailable:
            message["message"] = UNAVAILABLE_TEXT
        self._send(message)
