"""The captions app stand-in: the webhook the cloud calls, its health page, and the sessions it opens."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from aiohttp import web

from harness.ears.app_session import AppSession, AppSetup
from harness.ears.hearing import Hearing
from harness.ears.owners import Owners
from harness.errors import MachineError
from harness.events import AppWebhook, Note
from harness.history import Recorder
from harness.redact import know_secret


class CaptionsApp:
    """A web app that subscribes to captions and raw audio of every user it is started for."""

    def __init__(self, recorder: Recorder, setup: AppSetup, owners: Owners | None = None) -> None:
        """Prepare it; ``open`` listens."""
        know_secret(setup.api_key, setup.jwt_secret)
        self.recorder, self.setup = recorder, setup
        self.owners = owners or Owners(recorder)
        self.hearing = Hearing(recorder, "cloud-in", "app-in")
        self.port = 0
        self._runner: web.AppRunner | None = None
        self._sessions: list[AppSession] = []
        """Oldest first; two of one session id live side by side until the newer one is acknowledged."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._answers = asyncio.Event()
        self._answers.set()
        self._hung = 0

    async def open(self, host: str, port: int) -> int:
        """Listen on ``host:port`` (0 = any) and return the port.

        Raises:
            MachineError: the address is taken or not ours.
        """
        pages = web.Application()
        pages.add_routes([web.post("/webhook", self._webhook), web.get("/health", self._health)])
        self._runner = web.AppRunner(pages, access_log=None, handle_signals=False, shutdown_timeout=0.5)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise MachineError(
                f"a free address {host}:{port} for the captions app", str(error), "choose another port"
            ) from error
        self.port = int(self._runner.addresses[0][1])
        return self.port

    async def close(self) -> None:
        """Stop listening and drop every session."""
        self._answers.set()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()

    def drop(self, *, abort: bool) -> int:
        """Lose the sockets of all sessions and return how many were open; they reconnect as the SDK does."""
        return sum(session.drop(abort=abort) for session in self._sessions)

    def crash(self) -> int:
        """Forget every session, as a process that dies and is started anew does; return how many sockets were open."""
        return sum(session.crash() for session in self._sessions)

    def hang(self, *, on: bool) -> int:
        """Take webhooks, act on them and leave them unanswered, or answer them all.

        Returns how many had to wait since it was last switched on.
        """
        if on:
            self._hung = 0
            self._answers.clear()
        else:
            self._answers.set()
        return self._hung

    def state(self) -> dict[str, Any]:
        """Return which sessions are acknowledged and which are known."""
        return {
            "acknowledged": sorted({one.session for one in self._sessions if one.acknowledged}),
            "known": sorted({one.session for one in self._sessions}),
        }

    def acknowledged(self, session: AppSession) -> None:
        """Close what the fresh socket replaces."""
        self.hearing.gained(session.session)
        place = self._sessions.index(session)
        for older in [one for one in self._sessions[:place] if one.session == session.session]:
            older.retire()

    def lost(self, session: AppSession, reason: str, *, wanted: bool) -> None:
        """Be deaf; a socket that was replaced does not come here."""
        if wanted:
            self.hearing.ended(session.session, reason)
        else:
            self.hearing.lost(session.session, reason)

    async def _health(self, request: web.Request) -> web.Response:
        del request
        active = len(self.state()["acknowledged"])
        return web.json_response({"status": "healthy", "app": self.setup.package, "activeSessions": active})

    async def _webhook(self, request: web.Request) -> web.Response:
        """Take session_request and stop_request; answer at once and dial afterwards."""
        try:
            body = await request.json()
            kind, session = str(body["type"]), str(body["sessionId"])
        except (ValueError, KeyError, TypeError):
            return web.json_response({"status": "error", "message": "expected type and sessionId"}, status=400)
        self.recorder.emit(AppWebhook(type=kind, session=session))
        if kind == "session_request":
            self._start(session, str(body.get("userId") or session.split("-", 1)[0]))
        elif kind == "stop_request":
            self._retire(session)
            self.hearing.ended(session, "the cloud stopped the app")
        if not self._answers.is_set():
            self._hung += 1
            await self._answers.wait()
        return web.json_response({"status": "success"})

    def _start(self, session: str, user: str) -> None:
        # What hears goes on until the new socket does; what is down or waits to retry would only get in its way.
        self._retire(session, but_hearing=True)
        fresh = AppSession(self.setup, session, user, self.recorder, self)
        self._sessions.append(fresh)
        self._spawn(self._keep(fresh))

    def _retire(self, session: str, *, but_hearing: bool = False) -> None:
        for one in self._sessions:
            if one.session == session and not (but_hearing and one.acknowledged):
                one.retire()

    async def _keep(self, session: AppSession) -> None:
        try:
            await session.run()
        finally:
            self._sessions.remove(session)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.recorder.emit(Note(text=f"the captions app failed by itself: {error!r}"))
