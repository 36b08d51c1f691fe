"""The phone's room: one dial at a time, the media library's redials, and the mend for a phone left without a room."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

import msgspec

from harness import events as ev
from harness.phone.configuration import PhoneConfiguration
from harness.phone.engine import EngineFactory, Lost, MediaEngine, Resumed, Resuming, RoomDialError, Simulating
from harness.phone.rest_token import RoomGrant, TokenRefused
from harness.waiting import pause


class Room:
    """Keeps the phone in its room as the real app does: a new room per ACK, redials on a lost signal, the mend.

    A phone whose identity another one took stays out until the next ACK, on purpose.

    ``needed`` tells whether the mend may dial: the phone's socket is open and its microphone on.
    """

    def __init__(
        self,
        configuration: PhoneConfiguration,
        emit: Callable[[ev.Event], None],
        make_engine: EngineFactory,
        fetch_token: Callable[[], Awaitable[RoomGrant]],
        needed: Callable[[], bool],
    ) -> None:
        """Keep the parts; nothing is dialed before :meth:`renew`."""
        self._configuration, self._emit, self._needed = configuration, emit, needed
        self._make_engine, self._fetch_token = make_engine, fetch_token
        self._engine: MediaEngine | None = None
        self._grant: RoomGrant | None = None
        self._work: asyncio.Task[None] | None = None
        self._attempt = 0
        self._dialing = False
        self._resuming = False
        self._replaced_by = ""

    @property
    def engine(self) -> MediaEngine | None:
        """The engine of the room the phone is in, or None."""
        return self._engine

    @property
    def connected(self) -> bool:
        """Whether the phone is in its room, and its library is not just trying to get back into it."""
        return self._engine is not None and not self._resuming

    @property
    def state(self) -> str:
        """``connected``, ``resuming``, ``dialing`` or ``none``."""
        if self._engine is not None:
            return "resuming" if self._resuming else "connected"
        return "dialing" if self._dialing else "none"

    def take_token(self, token: str) -> bool:
        """Go on with this token instead of the one there is, as with one that the room's server refreshed.

        Return whether there was one; the next that is fetched replaces it.
        """
        if self._grant is None:
            return False
        self._grant = msgspec.structs.replace(self._grant, token=token)
        self._replaced_by = token
        return True

    def renew(self) -> None:
        """Leave the old room, fetch a fresh token and connect a new one, in the background (every ACK asks for it)."""
        self._start(self._renew)

    async def simulate(self, kind: str) -> bool:
        """Let the media library act as if its connection had failed in this way; tell whether it can and did."""
        if not self.connected or not isinstance(self._engine, Simulating):
            return False
        await self._engine.simulate(kind)
        return True

    async def leave(self) -> None:
        """Leave the room and stop looking for one until the next :meth:`renew`."""
        await asyncio.wait({self._start(self._leave)})

    def _start(self, story: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Replace whatever is being done about the room by ``story``; the old work ends first: one dial at a time."""
        previous = self._work

        async def replace() -> None:
            if previous is not None:
                previous.cancel()
                await asyncio.gather(previous, return_exceptions=True)
            await story()

        self._work = asyncio.create_task(replace(), name="room")
        self._work.add_done_callback(self._ended)
        return self._work

    def _ended(self, work: asyncio.Task[None]) -> None:
        if not work.cancelled() and (error := work.exception()) is not None:
            self._emit(ev.Note(text=f"the phone's room work broke: {type(error).__name__}: {error}"))

    async def _renew(self) -> None:
        await self._leave()
        self._attempt = 0
        if not await self._dial(fresh=True):
            await self._search(redial=False)

    async def _leave(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.leave()
            self._emit(ev.RoomLeft(person=self._configuration.person))

    async def _dial(self, *, fresh: bool) -> bool:
        """Dial once, with a fresh REST token or the one of the room that was lost; tell whether it worked."""
        person, within_s = self._configuration.person, self._configuration.dial_timeout_s
        self._attempt += 1
        attempt = self._attempt
        self._dialing = True
        try:
            grant = self._grant
            keeps = "keep-old-token" in self._configuration.defects
            if grant is None or (fresh and not keeps):
                self._grant = grant = await self._fetch_token()
                self._replaced_by = ""
            engine = await self._make_engine(lambda news: self._hear(engine, news))
            url = self._configuration.livekit_url or grant.advertised_url
            self._emit(ev.RoomDialing(person=person, attempt=attempt, url=url, advertised_url=grant.advertised_url))
            # No task in between: a loss right behind the connect must find the engine in its place.
            async with asyncio.timeout(within_s):
                name = await engine.connect(url, grant.token)
        except (RoomDialError, TokenRefused) as error:
            self._emit(ev.RoomDialFailed(person=person, attempt=attempt, reason=str(error)))
            return False
        except TimeoutError:
            reason = f"not connected within {within_s:.1f} s"
            self._emit(ev.RoomDialFailed(person=person, attempt=attempt, reason=reason))
            return False
        finally:
            self._dialing = False
        self._engine, self._resuming = engine, False
        self._attempt = 0
        self._emit(ev.RoomConnected(person=person, room=name, attempt=attempt))
        return True

    def _hear(self, engine: MediaEngine, news: Lost | Resuming | Resumed) -> None:
        if engine is not self._engine:
            return
        person = self._configuration.person
        if isinstance(news, Lost):
            self._lost(engine, news)
        elif isinstance(news, Resuming):
            self._resuming = True
            self._emit(ev.RoomReconnecting(person=person))
            self._start(self._mend_resume)
        else:
            self._resuming = False
            self._emit(ev.RoomReconnected(person=person))

    async def _mend_resume(self) -> None:
        """Let the library resume for as long as the mend waits anyhow, then look for a new room: it has none either."""
        if "no-room-retry" in self._configuration.defects:
            return
        await pause(self._configuration.room_retry_s, why="the library's own resume")
        while self._resuming and not self._needed():
            await pause(self._configuration.room_retry_s, why="a resume that nobody needs to hurry")
        if self._resuming:
            await self._renew()

    def _lost(self, engine: MediaEngine, lost: Lost) -> None:
        self._engine = None
        if self._grant is not None:
            self._grant = msgspec.structs.replace(self._grant, token=self._replaced_by or engine.token)
        self._emit(ev.RoomLost(person=self._configuration.person, reason=lost.reason))
        # Replaced: another phone of this user is in the room. No mend: the two would kick each other for ever.
        fights = lost.replaced and "redial-when-replaced" in self._configuration.defects
        if fights or not lost.replaced:
            self._start(lambda: self._search(redial=fights or lost.may_redial))

    async def _search(self, *, redial: bool) -> None:
        """Dial until there is a room: the library's back-off with the token it has, and the mend with a fresh one."""
        loop = asyncio.get_running_loop()
        delays_s = iter(self._configuration.redial_delays_s() if redial else ())
        mends = "no-room-retry" not in self._configuration.defects
        mend_every_s = self._configuration.room_retry_s if mends else math.inf
        redial_at = loop.time() + next(delays_s, math.inf)
        mend_at = loop.time() + mend_every_s
        while (due := min(redial_at, mend_at)) < math.inf:
            await pause(max(0.0, due - loop.time()), why="the back-off before the next dial")
            if redial_at <= mend_at:
                connected = await self._dial(fresh=False)
                redial_at = loop.time() + next(delays_s, math.inf)
            else:
                connected = self._needed() and await self._dial(fresh=True)
                mend_at = loop.time() + mend_every_s
            if connected:
                return
