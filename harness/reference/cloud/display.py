"""The display path: what an app wants shown goes to the phone, at most once per throttle window, the newest first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from harness.reference.cloud.log import Log
from harness.reference.cloud.wire import Message, text_of


class Display:
    """One user's display. Events are shown only while glasses are connected."""

    def __init__(self, log: Log, send: Callable[[Message], None], throttle_s: float) -> None:
        """Start with no glasses."""
        self._log = log
        self._send = send
        self._throttle_s = throttle_s
        self._loop = asyncio.get_running_loop()
        self._glasses = False
        self._waiting: Message | None = None
        self._timer: asyncio.TimerHandle | None = None

    def glasses_changed(self, message: Message) -> None:
        """Take a `glasses_connection_state`."""
        self._glasses = text_of(message, "status") == "CONNECTED" and bool(text_of(message, "modelName"))
        self._log.info("Glasses connection state", connected=self._glasses, modelName=text_of(message, "modelName"))

    def show(self, event: Message) -> None:
        """Show an app's `display_event`, now or at the end of the running window."""
        if not self._glasses:
            self._log.debug("Display request dropped: no glasses connected")
            return
        if self._timer is not None:
            self._waiting = event
            return
        self._send(event)
        self._timer = self._loop.call_later(self._throttle_s, self._window_ended)

    def dispose(self) -> None:
        """Forget what waits."""
        self._waiting = None
        if self._timer is not None:
            self._timer.cancel()

    def _window_ended(self) -> None:
        self._timer = None
        event, self._waiting = self._waiting, None
        if event is not None:
            self.show(event)
