"""The hidden SFU listener: sits in each room unseen and records every data packet of a phone, before the bridge does.

Only this module loads the LiveKit SDK, whose panics signal the whole process: a ``Room`` is used for one connect.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from livekit import rtc

from harness.clock import now_ns, seconds_between
from harness.ears.hearing import Hearing
from harness.ears.owners import Owners
from harness.errors import NotReached
from harness.events import Note
from harness.frames import Hop
from harness.history import Recorder
from harness.pcm_ear import PcmEar
from harness.redact import mask
from harness.speech import Heard
from harness.waiting import NotYet, pause, until

RETRY_S: Final = 0.25
CONNECT_TIMEOUT_S: Final = 2.0
"""Per attempt of the SDK; its own default is 5 s, longer than a story's whole recovery."""
LEAVE_WITHIN_S: Final = 1.0


class RoomListener:
    """The ear in one room; comes back by itself after each loss, with a room object of its own each time."""

    def __init__(
        self, recorder: Recorder, hearing: Hearing, room: str, url: str, token: str, owners: Owners | None = None,
        user: str = "",
    ) -> None:  # fmt: skip
        """Describe it; ``start`` joins. The token is hidden, may not publish, and outlives the run.

        The room is ``user``'s; "" when nobody told.
        """
        self._recorder, self._hearing, self.room, self._url, self._token = recorder, hearing, room, url, token
        self._ears: dict[str, PcmEar] = {}
        self._owners, self._user = owners or Owners(recorder), user
        self._task: asyncio.Task[None] | None = None
        self._partings: set[asyncio.Task[None]] = set()
        self._connected = False
        self.last_reason = "not dialed yet"
        self.packets = 0

    async def start(self, within_s: float) -> None:
        """Join and return when really in.

        Raises:
            NotReached: not in within the time; carries the last reason. It no longer tries then.
        """
        self._task = asyncio.create_task(self._keep(), name=f"listener in {self.room}")
        self._task.add_done_callback(self._failed)

        def in_room() -> bool | NotYet:
            assert self._task is not None
            if self._task.done():
                self._task.result()
            return self._connected or NotYet(self.last_reason)

        try:
            await until(in_room, what=f"the hidden listener in room {self.room!r}", within_s=within_s)
        except NotReached:
            await self.stop("could not join")
            raise

    async def stop(self, reason: str = "no longer listening") -> None:
        """Leave the room for good."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._hearing.ended(self.room, reason)
        if self._partings:
            await asyncio.wait(self._partings, timeout=LEAVE_WITHIN_S)

    def _failed(self, task: asyncio.Task[None]) -> None:
        """Be deaf for good when our own code failed; a plain stop is none."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.last_reason = f"failed by itself: {error!r}"
            self._recorder.emit(Note(text=f"the hidden listener in {self.room} {self.last_reason}"))
            self._hearing.lost(self.room, self.last_reason)

    async def _keep(self) -> None:
        while True:
            room, again_at_once = rtc.Room(), False
            lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            self._watch(room, lost)
            options = rtc.RoomOptions(auto_subscribe=False, connect_timeout=CONNECT_TIMEOUT_S)
            # A task of its own: a connect that is cancelled goes on inside the SDK and would stay in the room unseen.
            dial = asyncio.create_task(room.connect(self._url, self._token, options))
            try:
                await asyncio.shield(dial)
                self._connected, self.last_reason, since_ns = True, "in the room", now_ns()
                self._hearing.gained(self.room)
                reason = await lost
                self._hearing.lost(self.room, reason)
                # LiveKit closes a room that holds nobody but us: be back at once, the phone may be on its way in.
                again_at_once = seconds_between(since_ns, now_ns()) > 1
            except rtc.ConnectError as error:
                reason = mask(error.message)
            finally:
                self._connected = False
                self._part(room, dial)
                self._finish_ears()
            self.last_reason = reason
            if not again_at_once:
                await pause(RETRY_S, why="LiveKit may be on its way back")

    def _watch(self, room: rtc.Room, lost: asyncio.Future[str]) -> None:
        def lose(reason: str) -> None:
            if not lost.done():
                lost.set_result(reason)

        def hear(packet: rtc.DataPacket) -> None:
            if not lost.done():
                self._hear(packet.participant.identity if packet.participant else "", packet.data)

        room.on("data_received", hear)
        room.on("disconnected", lambda why: lose(f"disconnected: {rtc.DisconnectReason.Name(why)}"))
        # The SDK's own reconnect backs off to seconds; a fresh room is back sooner.
        room.on("reconnecting", lambda: lose("the connection to LiveKit broke"))

    def _hear(self, identity: str, data: bytes) -> None:
        """Record a packet; an odd length means a sequence byte before the PCM (wire contract §4)."""
        self.packets += 1
        self._ear_of(identity).feed(data[1:] if len(data) % 2 else data)

    def _ear_of(self, identity: str) -> PcmEar:
        """Give the stream of a sender. A frame may be split over packets, so a phone's packets must stay in one.

        Until LiveKit told who is there (up to 3 s, again after each return of the phone) the sender is unknown, "":
        the only phone known is meant; if none is known yet, the stream goes on under the name that comes first.
        """
        if not identity and len(self._ears) == 1:
            (identity,) = self._ears
        ear = self._ears.get(identity)
        if ear is None:
            unknown = self._ears.pop("", None)
            ear = self._ears[identity] = unknown or PcmEar(self._recorder, Hop.SFU, self._along())
        return ear

    def _along(self) -> Callable[[Heard], None] | None:
        return self._owners.stream(Hop.SFU, self._user) if self._user else None

    def _finish_ears(self) -> None:
        for ear in self._ears.values():
            ear.finish()
        self._ears.clear()

    def _part(self, room: rtc.Room, dial: asyncio.Task[None]) -> None:
        task = asyncio.create_task(_part(room, dial, self._recorder))
        self._partings.add(task)
        task.add_done_callback(self._partings.discard)


async def _part(room: rtc.Room, dial: asyncio.Task[None], recorder: Recorder) -> None:
    """Leave a room that is no longer wanted, also when its connect is still under way."""
    with contextlib.suppress(rtc.ConnectError):
        await dial
    if not room.isconnected():
        return
    try:
        async with asyncio.timeout(5):
            await room.disconnect()
    except TimeoutError:
        recorder.emit(Note(text="a room of the hidden listener took more than 5 s to leave"))
