"""The cloud itself: the map of sessions, and what happens when phones come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from harness.reference.cloud.context import Context
from harness.reference.cloud.phone import PhoneConnection
from harness.reference.cloud.session import UserSession


class Cloud:
    """All sessions, by user id."""

    def __init__(self, ctx: Context) -> None:
        """Start with nobody."""
        self.ctx = ctx
        self._sessions: dict[str, UserSession] = {}
        self._farewells: dict[str, asyncio.Task[None]] = {}
        self._loop = asyncio.get_running_loop()

    def session(self, user_id: str) -> UserSession | None:
        """Find a user's session."""
        return self._sessions.get(user_id)

    def sessions(self) -> Iterable[UserSession]:
        """Give all sessions."""
        return self._sessions.values()

    def create_or_reconnect(self, user_id: str, phone: PhoneConnection) -> tuple[UserSession, bool]:
        """Give the user's session with this phone in it, and whether it was there before."""
        session = self._sessions.get(user_id)
        if session is not None:
            found = f"[UserSession:createOrReconnect] Existing session found for {user_id}, updating WebSocket"
            self.ctx.log.info(found)
            session.phone = phone
            session.audio_status.phone_replaced()
            if session.grace is not None:
                session.grace.cancel()
                session.grace = None
            return session, True
        session = UserSession(self.ctx, user_id, phone, self._farewells.get(user_id))
        self._sessions[user_id] = session
        return session, False

    def phone_closed(self, session: UserSession, phone: PhoneConnection, code: int, reason: str) -> None:
        """Start the grace, if this was the session's newest socket: an older one may close at any time after."""
        place = "[WebsocketGlassesService:handleGlassesConnectionClose]"
        line = f"{place}: ({session.user_id}, {code}, {reason}) - Glasses connection closed"
        self.ctx.log.warning(line)
        if self._sessions.get(session.user_id) is not session:
            return
        if session.phone is phone:
            session.phone = None
            session.audio_status.phone_gone()
        elif not self.ctx.defects.has("close-without-identity"):
            return
        if session.grace is not None:
            session.grace.cancel()
        if self.ctx.defects.has("no-grace-cleanup"):
            return
        session.grace = self._loop.call_later(self.ctx.timers.grace_s, self._grace_ended, session)

    def _grace_ended(self, session: UserSession) -> None:
        if session.phone is not None and not self.ctx.defects.has("close-without-identity"):
            return
        line = f"Cleanup grace period expired for user session: {session.user_id}"
        self.ctx.log.info(line)
        # Out of the map first: whoever comes now gets a whole new session.
        del self._sessions[session.user_id]
        farewell = self.ctx.background.spawn(self._dispose(session), f"farewell of {session.user_id}")
        self._farewells[session.user_id] = farewell

    async def _dispose(self, session: UserSession) -> None:
        await session.dispose()
        self.ctx.log.info(
            "🗑️ Session disposed and removed from storage", userId=session.user_id, reason="grace_period_timeout"
        )
        if self._farewells.get(session.user_id) is asyncio.current_task():
            del self._farewells[session.user_id]
