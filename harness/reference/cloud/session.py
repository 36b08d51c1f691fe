"""One user's session: owns the managers, lives as long as a phone is here and the grace after it."""

from __future__ import annotations

import asyncio

from harness.reference.cloud import subscriptions as subs
from harness.reference.cloud.apps import AppManager
from harness.reference.cloud.audio import AudioManager
from harness.reference.cloud.audio_status import AudioStatus
from harness.reference.cloud.context import Context
from harness.reference.cloud.display import Display
from harness.reference.cloud.livekit import LiveKitManager
from harness.reference.cloud.mic import Microphone
from harness.reference.cloud.phone import PhoneConnection
from harness.reference.cloud.stt import SttManager
from harness.reference.cloud.wire import Message, iso_now, text_of

INTERNAL_ERROR = 1011
INTERNAL_ERROR_TEXT = "Internal server error"


class UserSession:
    """The managers of one user, wired to each other."""

    def __init__(self, ctx: Context, user_id: str, phone: PhoneConnection, after: asyncio.Task[None] | None) -> None:
        """Begin with a phone; `after` is the farewell of this user's earlier session, if it is still going on."""
        self.user_id = user_id
        self.phone: PhoneConnection | None = phone
        self.grace: asyncio.TimerHandle | None = None
        self._ctx = ctx
        self._log = ctx.log.of(userId=user_id, service="UserSession")
        timers = ctx.timers
        self.audio_status = AudioStatus(
            self._log,
            self.send,
            timers.audio_unavailable_s,
            hidden=ctx.defects.has("ack-hides-audio-failure"),
            vouched=self._stt_kept_alive if ctx.defects.has("health-from-keepalive") else None,
        )
        self.display = Display(self._log, self.send, timers.display_throttle_s)
        self.mic = Microphone(self._log, timers, user_id, self.send, self._mic_changed)
        self.apps = AppManager(ctx, user_id, self.send, self._subscriptions_changed)
        self.stt = SttManager(ctx, user_id, self.apps.relay_transcript)
        audio_log = ctx.log.of(userId=user_id, service="AudioManager")
        listeners = (self._heard, self.apps.relay_audio, self.stt.feed)
        swapped = ctx.settings.swap_endian or ctx.defects.has("swap-endian")
        self.phone_audio = AudioManager(audio_log, listeners)
        self.bridge_audio = AudioManager(audio_log, listeners, swap_endian=swapped)
        self.livekit = LiveKitManager(ctx, user_id, self.bridge_audio.receive, self.audio_status, after)

    def _stt_kept_alive(self) -> bool:
        return self.stt.wanted and self.stt.available

    def send(self, message: Message) -> None:
        """Send to the newest phone socket; without one the message is lost, as in the real cloud."""
        if self.phone is not None:
            self.phone.send(message)

    async def initialise(self, *, reconnection: bool) -> None:
        """Run the connection's procedure; what goes wrong in it reaches the phone, whose socket then closes."""
        phone = self.phone
        try:
            await self._acknowledge(reconnection=reconnection)
        except Exception as problem:  # noqa: BLE001  whatever it is, the phone must not wait for an ACK in vain
            self._log.error("Connection initialisation failed", error=repr(problem))
            if phone is not None:
                await phone.dismiss("INTERNAL_ERROR", INTERNAL_ERROR_TEXT, INTERNAL_ERROR)

    async def _acknowledge(self, *, reconnection: bool) -> None:
        """Bridge status, then the subscriber, then the ACK; beside them the apps of a fresh session."""
        self._ctx.users.ensure_user(self.user_id)
        wants_livekit = self.livekit.requested
        if not reconnection:
            if self._ctx.defects.has("apps-before-ack"):
                await self._start_apps()
            else:  # beside the ACK: a webhook that does not answer must not keep the phone waiting
                self._ctx.background.spawn(self._start_apps(), f"apps of {self.user_id}")
        elif self.livekit.has_client or wants_livekit:
            await self.livekit.check_after_reconnect()
        acknowledgement: Message = {"type": "connection_ack", "sessionId": self.user_id}
        if wants_livekit:
            await self.livekit.start()
            info = self.livekit.info()
            if info is not None:
                acknowledgement["livekit"] = info
                self._log.info("Included LiveKit info in CONNECTION_ACK", roomName=info["roomName"])
                self._log.debug("Sent CONNECTION_ACK", roomName=info["roomName"])
        self.send({**acknowledgement, "timestamp": iso_now()})
        if self.phone is not None:
            self.audio_status.phone_acknowledged()
        if reconnection:
            self.mic.phone_returned(silently=self._ctx.defects.has("no-mic-resync"))
            if not self._ctx.defects.has("no-app-restart"):
                # After the ACK and beside it: an app that does not answer must not keep the phone waiting.
                self._ctx.background.spawn(self._start_running_apps(), f"apps of {self.user_id}")

    def handle(self, message: Message) -> None:
        """Take one text message of the phone."""
        spawn = self._ctx.background.spawn
        package_name = text_of(message, "packageName")
        match text_of(message, "type"):
            case "connection_init":
                if self._ctx.defects.has("init-twice"):
                    spawn(self._initialise_again(), f"connection_init of {self.user_id}")
                else:  # the socket's opening began all there is to begin, and its ACK is under way or came
                    self._log.debug("Connection initialised already")
            case "start_app":
                spawn(self._start_app(package_name), f"start of {package_name}")
            case "stop_app":
                spawn(self.apps.stop(package_name), f"stop of {package_name}")
            case "VAD":
                self.stt.speech_changed(speaking=message.get("status") in (True, "true"))
            case "glasses_connection_state":
                self.display.glasses_changed(message)
            case other:
                self._log.debug("Message without effect", type=other)

    async def _initialise_again(self) -> None:
        await self.livekit.start_twice()
        await self.initialise(reconnection=False)

    async def dispose(self) -> None:
        """End everything of this session, the bridge's part last; returns when the bridge has answered."""
        for part in (self.audio_status, self.mic, self.display, self.stt, self.apps):
            part.dispose()
        if self.grace is not None:
            self.grace.cancel()
        await self.livekit.dispose()

    async def _start_apps(self) -> None:
        await self.apps.start(self._ctx.settings.dashboard)
        if not self._ctx.defects.has("forget-running-apps"):
            await self._start_running_apps()

    async def _start_running_apps(self) -> None:
        """Start what should run and has no socket."""
        for package_name in self._ctx.users.running_apps(self.user_id):
            await self.apps.start(package_name)

    async def _start_app(self, package_name: str) -> None:
        await self.apps.start(package_name)

    def _heard(self, _pcm: bytes) -> None:
        self.audio_status.heard()
        self.mic.heard()

    def _mic_changed(self, on: bool) -> None:
        self.audio_status.mic_changed(on=on)
        if on:
            self._ctx.background.spawn(self.livekit.ensure_connected(), f"bridge for {self.user_id}")

    def _subscriptions_changed(self, wanted: frozenset[str]) -> None:
        self.mic.want(subs.required_data(wanted))
        self.stt.want(subs.transcriptions(wanted))
