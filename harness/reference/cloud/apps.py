"""One user's apps: started by webhook, connected by socket, kept over short absences, restarted after longer ones."""

from __future__ import annotations

import asyncio
import enum
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from harness.reference.cloud import subscriptions as subs
from harness.reference.cloud.context import Context
from harness.reference.cloud.errors import AppRefused
from harness.reference.cloud.outbox import Outbox
from harness.reference.cloud.soniox import Transcript
from harness.reference.cloud.users import StoredApp
from harness.reference.cloud.wire import Message, iso_now

WEBHOOK_ATTEMPTS = 2
FRAMES_QUEUED = 500
"""Per app socket: 20 s of audio in 40 ms chunks, and the transcripts between them."""


class AppState(enum.Enum):
    """Where an app is in its life."""

    LOADING = "loading"
    RUNNING = "running"
    GRACE = "grace"
    RESURRECTING = "resurrecting"


@dataclass(eq=False)
class AppSession:
    """One app of one user."""

    document: StoredApp
    state: AppState = AppState.LOADING
    socket: web.WebSocketResponse | None = None
    outbox: Outbox = field(default_factory=lambda: Outbox(FRAMES_QUEUED))
    subscriptions: frozenset[str] = frozenset()
    connected: asyncio.Event = field(default_factory=asyncio.Event)
    connected_at_s: float = 0.0
    grace: asyncio.TimerHandle | None = None

    @property
    def hears(self) -> frozenset[str]:
        """What it subscribed to and may have."""
        return self.subscriptions if self.document.may_hear else frozenset()


class AppManager:
    """Start, stop and feed one user's apps. `to_phone` reaches the phone; `on_change` hears new subscriptions."""

    def __init__(
        self,
        ctx: Context,
        user_id: str,
        to_phone: Callable[[Message], None],
        on_change: Callable[[frozenset[str]], None],
    ) -> None:
        """Start with no apps."""
        self._ctx = ctx
        self._user_id = user_id
        self._log = ctx.log.of(userId=user_id, service="AppManager")
        self._to_phone = to_phone
        self._on_change = on_change
        self._apps: dict[str, AppSession] = {}
        self._loop = asyncio.get_running_loop()
        self._debounce: asyncio.TimerHandle | None = None
        self._disposed = False

    async def start(self, package_name: str) -> bool:
        """Start an app unless it is there; returns whether it runs. A user's apps come back at a fresh session."""
        app = self._apps.get(package_name)
        if app is not None and app.state is not AppState.GRACE:
            return True
        document = self._ctx.users.app(package_name)
        if document is None or self._disposed:
            self._log.warning("App not found", packageName=package_name)
            return False
        if app is not None:
            self._remove(app)
        app = AppSession(document)
        self._apps[package_name] = app
        return await self._bring_up(app)

    async def stop(self, package_name: str) -> None:
        """Stop an app for good and tell it so."""
        app = self._apps.get(package_name)
        self._ctx.users.remove_running(self._user_id, package_name)
        if app is None:
            return
        self._remove(app)
        self._tell_stopped(package_name)
        if app.socket is not None:
            await app.socket.close(code=1000, message=b"App stopped")
        await self._call_webhook(app.document, "stop_request", attempts=1)

    def admit(self, package_name: str, api_key: str) -> AppSession:
        """Find the app that connects. Raises AppRefused."""
        document = self._ctx.users.app(package_name)
        if document is None or not document.accepts(api_key):
            raise AppRefused("INVALID_API_KEY", "Invalid API key")
        app = self._apps.get(package_name)
        if app is None:
            raise AppRefused("APP_NOT_STARTED", "App not started for this session")
        return app

    def opened(self, app: AppSession, socket: web.WebSocketResponse) -> web.WebSocketResponse | None:
        """Take an admitted app's socket; gives the one that it replaces."""
        former, app.socket = app.socket, socket
        app.outbox = Outbox(FRAMES_QUEUED)
        app.connected_at_s = self._loop.time()
        if app.grace is not None:
            app.grace.cancel()
            app.grace = None
        if app.state is AppState.GRACE:
            app.state = AppState.RUNNING
        app.connected.set()
        return former

    def closed(self, app: AppSession, socket: web.WebSocketResponse) -> None:
        """Take the end of an app's socket; a replaced one, or one of a stopped app, changes nothing."""
        if app.socket is not socket or self._apps.get(app.document.package_name) is not app:
            return
        if self._ctx.defects.has("ignore-app-close"):
            return  # an empty close handler: its state says running, and nobody looks further
        app.socket = None
        app.connected.clear()
        if app.state is AppState.RUNNING:
            self._begin_grace(app)

    def subscribe(self, app: AppSession, update: Message) -> None:
        """Take a `subscription_update`; an empty one soon after a connection is an app not yet awake."""
        wanted = subs.read_subscriptions(update.get("subscriptions"))
        young = self._loop.time() - app.connected_at_s < self._ctx.timers.empty_update_grace_s
        if not wanted and young:
            self._log.warning("Empty subscription update ignored", packageName=app.document.package_name)
            return
        app.subscriptions = wanted
        self._log.info("Subscriptions updated", packageName=app.document.package_name, subscriptions=sorted(wanted))
        self._changed()

    def relay_audio(self, pcm: bytes) -> None:
        """Give PCM to the apps that want it, as binary frames."""
        for app in self._apps.values():
            if app.socket is not None and subs.AUDIO in app.hears:
                app.outbox.put(pcm)

    def relay_transcript(self, subscription: str, transcript: Transcript) -> None:
        """Give words to the apps that want them."""
        language = subscription.partition(":")[2].partition("?")[0]
        data: Message = {
            "type": "transcription",
            "text": transcript.text,
            "isFinal": transcript.is_final,
            "startTime": transcript.start_ms,
            "endTime": transcript.end_ms,
            "transcribeLanguage": language,
            "provider": "soniox",
            "metadata": {"provider": "soniox", "soniox": {"tokens": list(transcript.tokens)}},
        }
        for app in self._apps.values():
            if app.socket is not None and subscription in app.hears:
                stream: Message = {
                    "type": "data_stream",
                    "sessionId": self._session_id(app.document),
                    "streamType": subscription,
                    "data": data,
                    "timestamp": iso_now(),
                }
                app.outbox.put(json.dumps(stream, ensure_ascii=False))

    def dispose(self) -> None:
        """End every app's socket; what runs stays noted in the database."""
        self._disposed = True
        if self._debounce is not None:
            self._debounce.cancel()
        for app in list(self._apps.values()):
            self._remove(app)
            if app.socket is not None:
                farewell = app.socket.close(code=1000, message=b"User session ended")
                self._ctx.background.spawn(_ignoring_result(farewell), f"close of {app.document.package_name}")

    async def _bring_up(self, app: AppSession) -> bool:
        """Call the webhook and wait for the app's socket."""
        package_name = app.document.package_name
        began_s = self._loop.time()
        called = await self._call_webhook(app.document, "session_request", WEBHOOK_ATTEMPTS, unless=app.connected)
        # An app that connected was reached, whatever became of the webhook's answer.
        if not ((called or app.connected.is_set()) and await self._has_connected(app)):
            if self._apps.get(package_name) is app:
                self._log.error("App failed to start", packageName=package_name)
                self._remove(app)
                self._tell_stopped(package_name)
            return False
        if self._apps.get(package_name) is not app:
            return False
        app.state = AppState.RUNNING
        self._ctx.users.add_running(self._user_id, package_name)
        self._log.info("App started", packageName=package_name, took_ms=round(1000 * (self._loop.time() - began_s)))
        self._to_phone({"type": "app_started", "packageName": package_name, "timestamp": iso_now()})
        self._to_phone({"type": "app_state_change", "sessionId": self._user_id, "timestamp": iso_now()})
        if app.socket is None:  # it came and went before its webhook was answered
            self._begin_grace(app)
        return True

    async def _has_connected(self, app: AppSession) -> bool:
        try:
            async with asyncio.timeout(self._ctx.timers.app_connect_s):
                return await app.connected.wait()
        except TimeoutError:
            return False

    async def _call_webhook(
        self, document: StoredApp, kind: str, attempts: int, *, unless: asyncio.Event | None = None
    ) -> bool:
        """Call until it is answered well, or `attempts` times; no second time `unless` is set by then."""
        body: Message = {
            "type": kind,
            "sessionId": self._session_id(document),
            "userId": self._user_id,
            "timestamp": iso_now(),
        }
        if kind == "session_request":
            body["augmentOSWebsocketUrl"] = self._ctx.settings.app_ws_url
        limit = aiohttp.ClientTimeout(total=self._ctx.timers.webhook_s)
        for attempt in range(1, attempts + 1):
            if attempt > 1:
                await asyncio.sleep(self._ctx.timers.webhook_retry_s)
                if unless is not None and unless.is_set():
                    return False
            try:
                async with self._ctx.http.post(f"{document.public_url}/webhook", json=body, timeout=limit) as reply:
                    if reply.ok:
                        return True
                    problem = f"HTTP {reply.status}"
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                problem = type(error).__name__
            self._log.warning("Webhook failed", packageName=document.package_name, attempt=attempt, error=problem)
        return False

    def _begin_grace(self, app: AppSession) -> None:
        app.state = AppState.GRACE
        self._log.info("App disconnected, grace period started", packageName=app.document.package_name)
        app.grace = self._loop.call_later(self._ctx.timers.app_grace_s, self._grace_ended, app)

    def _grace_ended(self, app: AppSession) -> None:
        self._log.info("App grace period ended, resurrecting", packageName=app.document.package_name)
        self._ctx.background.spawn(self._resurrect(app), f"resurrection of {app.document.package_name}")

    async def _resurrect(self, app: AppSession) -> None:
        """Stop and start: a new webhook, and none of the old subscriptions."""
        if app.state is not AppState.GRACE or self._apps.get(app.document.package_name) is not app:
            return  # it came back, or was stopped or started anew, since its grace ended
        self._remove(app)
        fresh = AppSession(app.document, AppState.RESURRECTING)
        self._apps[app.document.package_name] = fresh
        await self._bring_up(fresh)

    def _remove(self, app: AppSession) -> None:
        if self._apps.get(app.document.package_name) is app:
            del self._apps[app.document.package_name]
        if app.grace is not None:
            app.grace.cancel()
        if app.subscriptions:
            self._changed()

    def _tell_stopped(self, package_name: str) -> None:
        self._to_phone({"type": "app_stopped", "packageName": package_name, "timestamp": iso_now()})
        self._to_phone({"type": "app_state_change", "sessionId": self._user_id, "timestamp": iso_now()})

    def _session_id(self, document: StoredApp) -> str:
        return f"{self._user_id}-{document.package_name}"

    def _changed(self) -> None:
        """Let updates in quick succession have one effect: the last one's."""
        if self._debounce is None and not self._disposed:
            self._debounce = self._loop.call_later(self._ctx.timers.subscription_debounce_s, self._settled)

    def _settled(self) -> None:
        self._debounce = None
        self._on_change(frozenset().union(*(app.hears for app in self._apps.values())))


async def _ignoring_result(work: Awaitable[object]) -> None:
    await work
