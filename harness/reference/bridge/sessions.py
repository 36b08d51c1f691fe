"""All sessions of the bridge, by user id: who may join, who is replaced, who is cleaned up."""

import asyncio
import os
from collections.abc import Iterator
from typing import Final
from weakref import WeakValueDictionary

from harness.reference.bridge import log
from harness.reference.bridge.options import Timers
from harness.reference.bridge.room import Dial
from harness.reference.bridge.session import Session
from harness.reference.defects import Defects


class JoinRefused(Exception):
    """The user has a session already and this bridge does not replace it."""


LEAK_BYTES: Final = 2 * 1024 * 1024
"""What one join keeps with the defect: no more than one session may cost, so that only the slope tells."""


class Leak:
    """What a join with the defect never gives back: memory, and a file descriptor."""

    def __init__(self) -> None:
        """Take them; the memory is written to, or it would not be there."""
        self.memory = bytearray(b"\x01" * LEAK_BYTES)
        self.descriptor = os.open(os.devnull, os.O_RDONLY)


class Sessions:
    """The session map. Joins and leaves of one user take turns, so two at once leave one session."""

    def __init__(self, *, dial: Dial, timers: Timers, defects: Defects) -> None:
        """Start empty."""
        self._dial = dial
        self._timers = timers
        self._defects = defects
        self._by_user: dict[str, Session] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._closing: set[asyncio.Task[None]] = set()
        self._leaked: list[Leak] = []
        self._racing: dict[str, dict[Session, asyncio.Event]] = {}

    def __len__(self) -> int:
        return len(self._by_user)

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._by_user.values()))

    def get(self, user_id: str) -> Session | None:
        """Give the user's session, connected or not."""
        return self._by_user.get(user_id)

    @property
    def share_streams(self) -> bool:
        """Whether a second stream of a session is let in, to read the same queue."""
        return self._defects.has("shared-stream-queue")

    async def join(self, user_id: str, room_name: str, target_identity: str, *, url: str, token: str) -> Session:
        """Enter a room for a user, in the place of any session before. Raises `DialFailed` or `JoinRefused`."""
        if self._defects.has("join-race"):
            return await self._race(user_id, room_name, target_identity, url=url, token=token)
        async with self._turn(user_id):
            if old := self._by_user.get(user_id):
                await self._make_room(old)
            session = Session(
                user_id, room_name, target_identity, dial=self._dial, timers=self._timers, defects=self._defects
            )
            await session.join(url, token)
            if self._defects.has("leak-per-join"):
                self._leaked.append(Leak())
            self._by_user[user_id] = session
            return session

    async def _race(self, user_id: str, room_name: str, target_identity: str, *, url: str, token: str) -> Session:
        """Join without waiting for one's turn: of those who do so at once the first, whom the others kick, is kept.

        A matter of luck in the real bridge, made sure.
        """
        if old := self._by_user.get(user_id):
            await self._make_room(old)
        session = Session(
            user_id, room_name, target_identity, dial=self._dial, timers=self._timers, defects=self._defects
        )
        racers = self._racing.setdefault(user_id, {})
        before = tuple(racers.values())
        entered = racers[session] = asyncio.Event()
        try:
            for other in before:
                await other.wait()  # who is kicked in the middle of its dial goes on dialing for 15 s
            await session.join(url, token)
        except BaseException:
            del racers[session]
            raise
        finally:
            entered.set()
        await asyncio.gather(*(other.wait() for other in racers.values()))
        self._racing.pop(user_id, None)
        self._by_user[user_id] = next(iter(racers))
        return session

    async def leave(self, user_id: str) -> bool:
        """Close and forget a user's session; False when there is none."""
        async with self._turn(user_id):
            session = self._by_user.pop(user_id, None)
            if session is None:
                return False
            await session.close()
            return True

    def lost_room(self, session: Session) -> None:
        """Drop a session that lost its room for good; with the defect it stays, in the way of every join."""
        if not self._defects.has("keep-session-when-kicked"):
            self.clean_up(session)

    def clean_up(self, session: Session) -> None:
        """Drop a session whose stream broke: out of the map now, out of the room in the background."""
        if self._defects.has("keep-session-on-stream-error"):
            return
        log.line(f"Cleaning up session for {session.user_id} due to stream error")
        if self._defects.has("cleanup-by-user-id"):  # as the real bridge: whatever session the user has by now
            session = self._by_user.get(session.user_id, session)
        if self._by_user.get(session.user_id) is session:  # a newer session of the same user is left alone
            del self._by_user[session.user_id]
        closing = asyncio.create_task(session.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        closing.add_done_callback(log.failure(f"Closing room session for user {session.user_id}"))

    async def close_all(self) -> None:
        """Close every session at once."""
        sessions = tuple(self._by_user.values())
        self._by_user.clear()
        await asyncio.gather(*(session.close() for session in sessions), *self._closing)

    async def _make_room(self, old: Session) -> None:
        in_the_way = old.connected or self._defects.has("keep-session-when-kicked")
        if in_the_way and self._defects.has("refuse-existing-session"):
            log.sink("Session already exists for user", "warn", user_id=old.user_id, room_name=old.room_name)
            raise JoinRefused("session already exists for this user")
        log.sink(
            "Replacing existing bridge session", user_id=old.user_id, room_name=old.room_name, reason="new_join_request"
        )
        await old.close()
        if self._by_user.get(old.user_id) is old:
            del self._by_user[old.user_id]

    def _turn(self, user_id: str) -> asyncio.Lock:
        """One lock per user, gone as soon as nobody holds or awaits it."""
        lock = self._turns.get(user_id)
        if lock is None:
            lock = self._turns[user_id] = asyncio.Lock()
        return lock
