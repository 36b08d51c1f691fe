"""Faults of what the system talks to and we stand in for: the captions app."""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import FaultDidNotLand
from harness.faults.base import Landed, Scene

WEBHOOK = "cloud->app"


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
