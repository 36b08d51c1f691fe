"""One user's place in a room: the queue between LiveKit and the cloud, and what is done when the room is lost."""

import asyncio
import contextlib
import math
import os
import time
from collections import deque
from dataclasses import dataclass
from enum import Enum
from time import monotonic

from harness.reference.bridge import log
from harness.reference.bridge.options import Timers
from harness.reference.bridge.room import FINAL_REASONS, Dial, DialFailed, Room
from harness.reference.bridge.unpacking import Unpacking
from harness.reference.defects import Defects

QUEUE_PACKETS = 200
"""The real bridge's channel capacity; when it is full the newest packet is dropped."""
REDIAL_PAUSE_CAP_S = 5.0
"""Never wait longer between two redials, so a LiveKit that came back is found within seconds.

A mend of ours: LiveKit's Go SDK waits i*i*0.3 s before redial i without a cap, up to 24 s before the tenth.
"""
DEAFENING_GAP_S = 1.0
"""With the defect, so long without a packet; the phone sends one every 100 ms while it talks."""
CLOSE_LIMIT_S = 2.0
"""Leaving a room that does not answer goes on in the background after this."""
LATE_PACKET_S = 0.5
"""With the defect, from closing the queue to leaving the room: what is a race in the real bridge is made sure.

A phone that talks sends a packet every 100 ms.
"""
PANIC_EXIT_CODE = 2
"""How a Go program ends by a panic."""


@dataclass
class Counts:
    """What became of the packets."""

    queued: int = 0
    dropped_full: int = 0
    unknown_sender: int = 0
    """Passed on although the SDK did not know their sender yet (it learns of a data-only phone up to 3 s late)."""
    other_sender: int = 0
    """Dropped: sent by somebody who is not the target."""


class RoomLost(Exception):
    """The agent lost its place in the room for good; the text says how."""


class _Standing(Enum):
    UP = "up"
    MENDING = "mending"
    GONE = "gone"


class Session:
    """One JoinRoom's worth of bridge. It is told apart by object identity, never by user id."""

    def __init__(
        self, user_id: str, room_name: str, target_identity: str, *, dial: Dial, timers: Timers, defects: Defects
    ) -> None:
        """Prepare; nothing is dialled before `join`."""
        self.user_id = user_id
        self.room_name = room_name
        self.target_identity = target_identity
        self.connected = False
        self.last_disconnect_at_ms = 0
        self.last_disconnect_reason = ""
        self.counts = Counts()
        self.has_stream = False
        """True while a StreamAudio reads this session's queue."""
        self._dial = dial
        self._timers = timers
        self._mute = defects.has("mute")
        self._unpacking = Unpacking(defects)
        self._goes_deaf = defects.has("deaf-after-gap")
        self._panics = defects.has("panic-on-late-packet")
        self._keeps_quiet = defects.has("no-kick-notice")
        self._leaves_when_cut = defects.has("leave-on-signal-cut")
        self._lost = ""
        self._last_packet_s = math.inf  # on the monotonic clock; the first packet ends no gap
        self._room: Room | None = None
        self._ear: _Ear | None = None
        self._url = self._token = ""
        self._queue: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._closed = False
        self._standing = _Standing.GONE
        self._standing_changed = asyncio.Event()
        self._mender: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    @property
    def has_room(self) -> bool:
        """True while a room object is held, connected or not."""
        return self._room is not None

    @property
    def participant_id(self) -> str:
        """The agent's identity in the room, empty without one."""
        return self._room.participant_id if self._room else ""

    @property
    def participant_count(self) -> int:
        """Participants the SDK knows of, the agent included; 0 without a room."""
        return self._room.participant_count if self._room else 0

    async def join(self, url: str, token: str) -> None:
        """Enter the room. Raises `DialFailed`."""
        self._url, self._token = url, token
        await self._enter()
        self.connected = self._standing is not _Standing.GONE

    async def next_packet(self) -> bytes | None:
        """Wait for the next PCM packet (even length, 16 kHz mono); None once the session is closed.

        Raises `RoomLost` when no packet can come any more, so that whoever reads can tell its cloud: the real bridge
        says nothing, and waits.
        """
        while not self._queue and not self._closed:
            if self._lost and not self._keeps_quiet:
                raise RoomLost(self._lost)
            self._wake.clear()
            await self._wake.wait()
        return None if self._closed else self._queue.popleft()

    async def close(self) -> None:
        """Leave the room and end whoever reads the queue. May be called twice."""
        if self._closed:
            return
        log.line(f"Closing room session for user {self.user_id}")
        self._closed = True
        ear, self._ear = self._ear, None
        self._wake.set()
        self._queue.clear()
        if self._mender:
            self._mender.cancel()
        if self._panics and ear and self._room:
            await ear.late_packet_within(LATE_PACKET_S)
        await self._leave_room()
        self.connected = False
        log.line(f"Closed room session for user {self.user_id}")

    async def _enter(self) -> None:
        self._ear = _Ear(self)
        self._standing = _Standing.UP
        try:
            room = await self._dial(self._url, self._token, self._ear)
        except DialFailed:
            self._standing = _Standing.GONE
            raise
        if self._closed:  # closed while dialling: nobody else would ever leave this room
            await room.close()
            return
        self._room = room

    async def _leave_room(self) -> None:
        room, self._room = self._room, None
        if room is None:
            return
        leaving = asyncio.create_task(room.close())
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)
        leaving.add_done_callback(log.failure(f"Leaving room of {self.user_id}"))  # also when it ends after the limit
        _, late = await asyncio.wait({leaving}, timeout=CLOSE_LIMIT_S)
        if late:
            log.line(f"Still leaving room of {self.user_id} after {CLOSE_LIMIT_S:g}s")

    def hear_packet(self, payload: bytes, sender: str) -> None:
        """Queue one packet of the target; drop it when the queue is full."""
        counts = self.counts
        if self.target_identity and sender != self.target_identity:
            if sender:
                counts.other_sender += 1
                return
            counts.unknown_sender += 1
        pcm = self._unpacking.pcm_of(payload)
        now_s, before_s = monotonic(), self._last_packet_s
        self._last_packet_s = now_s
        self._mute = self._mute or (self._goes_deaf and now_s - before_s > DEAFENING_GAP_S)
        if self._mute or not pcm:
            return
        if len(self._queue) >= QUEUE_PACKETS:
            counts.dropped_full += 1
            if counts.dropped_full % 50 == 0:
                log.line(f"Dropping audio frames for {self.user_id}: {counts.dropped_full} dropped, queue full")
            return
        counts.queued += 1
        if counts.queued % 100 == 0:
            log.sink(
                "Audio flowing from LiveKit", user_id=self.user_id, room_name=self.room_name, packets=counts.queued
            )
        self._queue.append(pcm)
        self._wake.set()

    def hear_mending(self) -> None:
        """Keep the time: from now on the room has a limited span to come back."""
        self._set_standing(_Standing.MENDING)
        if self._leaves_when_cut:
            self._give_up("client_initiated")
            self._mender = asyncio.create_task(self._leave_room())
            return
        self._start_mender()

    def hear_mended(self) -> None:
        """Forget the loss."""
        self._set_standing(_Standing.UP)

    def hear_gone(self, reason: str) -> None:
        """Dial again, unless somebody wanted us out."""
        self._set_standing(_Standing.GONE)
        if reason in FINAL_REASONS:
            if self._mender:
                self._mender.cancel()
            self._give_up(reason.lower())
            self._room = None
        elif self.connected:
            self._start_mender()

    def _set_standing(self, standing: _Standing) -> None:
        self._standing = standing
        self._standing_changed.set()

    def _start_mender(self) -> None:
        if self._mender is None or self._mender.done():
            self._mender = asyncio.create_task(self._mend())
            self._mender.add_done_callback(log.failure(f"Mending room of {self.user_id}"))

    async def _mend(self) -> None:
        """Get the room back within the limit: first the SDK by itself, then by dialling anew."""
        try:
            async with asyncio.timeout(self._timers.redial_limit_s):
                redials = 0
                while self._standing is not _Standing.UP:
                    if self._standing is _Standing.MENDING:
                        self._standing_changed.clear()
                        await self._standing_changed.wait()
                        continue
                    redials = await self._redial(redials)
        except TimeoutError:
            self._give_up("disconnected")
            await self._leave_room()

    async def _redial(self, redials: int) -> int:
        """Try once and, when it failed, pause; returns how often it failed so far."""
        self._room = None
        try:
            await self._enter()
        except DialFailed as failed:
            redials += 1
            log.line(f"Redial {redials} for {self.user_id} failed: {failed}")
            await asyncio.sleep(min(redials * redials * self._timers.redial_base_s, REDIAL_PAUSE_CAP_S))
        else:
            log.line(f"Redialled LiveKit room for {self.user_id} after {redials} failures")
        return redials

    def _give_up(self, reason: str) -> None:
        self._ear = None
        self.connected = False
        self.last_disconnect_at_ms = time.time_ns() // 1_000_000
        self.last_disconnect_reason = reason
        self._lost = reason
        self._wake.set()
        log.line(f"Disconnected from LiveKit room: {self.room_name} userId={self.user_id} reason={reason}")

    def hear_late_packet(self) -> None:
        """Take a packet that came after its room was given up: nobody wants it. With the defect, the end of all."""
        if self._panics and self._closed:
            log.panic("send on closed channel", "(*RoomSession).handleDataPacket")
            os._exit(PANIC_EXIT_CODE)

    def is_current(self, ear: "_Ear") -> bool:
        """Tell whether an ear belongs to the room held now."""
        return self._ear is ear


class _Ear:
    """Listens to one dialled room; deaf as soon as the session is closed or has dialled another."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._late = asyncio.Event()

    def packet(self, payload: bytes, sender: str) -> None:
        if self._session.is_current(self):
            self._session.hear_packet(payload, sender)
        else:
            self._late.set()
            self._session.hear_late_packet()

    async def late_packet_within(self, limit_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._late.wait()

    def mending(self) -> None:
        if self._session.is_current(self):
            self._session.hear_mending()

    def mended(self) -> None:
        if self._session.is_current(self):
            self._session.hear_mended()

    def gone(self, reason: str) -> None:
        if self._session.is_current(self):
            self._session.hear_gone(reason)
