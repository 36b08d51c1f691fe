"""Faults of what the system talks to and we stand in for: speech recognition and the captions app."""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import FaultDidNotLand
from harness.faults.base import Landed, Scene

WEBHOOK, STT = "cloud->app", "cloud->stt"


@dataclass(frozen=True)
class AppCrash:
    """The captions app dies, and knows nothing of its sessions when it is back: only the cloud's webhook wakes it.

    While held its webhook refuses, as a dead process's port does.
    """

    heals = True

    @property
    def target(self) -> str:
        return "app"

    @property
    def blast(self) -> tuple[str, ...]:
        return ("app", WEBHOOK, "app->cloud")

    def missing(self, scene: Scene) -> str | None:
        """The app must be our stand-in, called by a link of ours."""
        return scene.why_no_ear("app") or scene.why_no_link(WEBHOOK)

    async def inject(self, scene: Scene) -> Landed:
        """Refuse its webhook and abort its sockets; the proof is how many were open."""
        await scene.links.close_front(WEBHOOK)
        await scene.links.reset(WEBHOOK)
        dropped = int(await scene.ask_ears("app_crash"))
        if not dropped:
            await scene.links.open_front(WEBHOOK)
            raise FaultDidNotLand("the captions app had no open socket to lose")
        return Landed(f"the captions app lost {dropped} sockets and forgot their sessions; its webhook refuses")

    async def heal(self, scene: Scene) -> str:
        """Listen again; the proof is the front that does."""
        await scene.links.open_front(WEBHOOK)
        if not (await scene.links.state(WEBHOOK)).listening:
            raise FaultDidNotLand(f"the front of {WEBHOOK} does not listen again")
        return "the captions app's webhook answers again"


@dataclass(frozen=True)
class WebhookHangs:
    """The captions app takes its webhook, dials and subscribes, but leaves the webhook unanswered while held."""

    heals = True

    @property
    def target(self) -> str:
        return "app"

    @property
    def blast(self) -> tuple[str, ...]:
        return ("app", WEBHOOK)

    def missing(self, scene: Scene) -> str | None:
        """The app must be our stand-in."""
        return scene.why_no_ear("app")

    async def inject(self, scene: Scene) -> Landed:
        """Answer no webhook any more; that one came is proven by the heal."""
        await scene.ask_ears("app_hang", on=True)
        return Landed("the captions app answers no webhook")

    async def heal(self, scene: Scene) -> str:
        """Answer them; the proof is how many had to wait, which must not be none."""
        hung = int(await scene.ask_ears("app_hang", on=False))
        if not hung:
            raise FaultDidNotLand("nobody called the captions app's webhook while it left calls unanswered")
        return f"{hung} calls of the webhook were left unanswered meanwhile"


@dataclass(frozen=True)
class SttEndsEarly:
    """While held, speech recognition closes each new connection (1011) once it is configured, before it takes audio."""

    heals = True

    @property
    def target(self) -> str:
        return "stt"

    @property
    def blast(self) -> tuple[str, ...]:
        return ("stt", STT)

    def missing(self, scene: Scene) -> str | None:
        """Speech recognition must be our stand-in."""
        return scene.why_no_ear("stt")

    async def inject(self, scene: Scene) -> Landed:
        """Close what comes from now on; that something came is proven by the heal."""
        await scene.ask_ears("stt_end_early", on=True)
        return Landed("speech recognition closes each new connection before it takes audio")

    async def heal(self, scene: Scene) -> str:
        """Keep connections; the proof is how many were closed, which must not be none."""
        closed = int(await scene.ask_ears("stt_end_early", on=False))
        if not closed:
            raise FaultDidNotLand("nobody dialed speech recognition while it closed new connections")
        return f"{closed} new connections were closed before they could carry audio"
