"""Faults at a moment of the protocol: not "two seconds later", but when this very message is on its way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.errors import FaultDidNotLand
from harness.faults.base import Fault, Landed, LinkFault, Scene
from harness.moments import Moment, reply, request


@dataclass(frozen=True)
class When:
    """When this moment comes on this link, the fault is injected; the message is held meanwhile.

    Held by ``r.fault(When(...))``: armed for the block, which must make the moment come; at its end the moment is
    waited for, and a trigger that never fires makes the run UNKNOWN.
    """

    link: str
    moment: Moment
    fault: Fault
    """Struck then; one that has a heal is healed once the message was let go, or at the block's end (``for_block``)."""
    before: bool = True
    """Whether it fires before the message goes on, or behind its last byte.

    Of one that takes more than a quarter of a second to come the beginning has gone on by then.
    """
    hold: bool = True
    """Whether that direction of that connection stands still while the fault is injected."""
    drop: bool = False
    """Whether what is held is thrown away then, and the connection reset, instead of going on."""
    for_block: bool = False
    """Whether the fault is healed at the end of the block only."""
    within_s: float = 20.0
    """How long the moment is waited for at the end of the block."""

    heals = True

    def __str__(self) -> str:
        return f"When({self.link}: {self.moment}, {self.fault})"

    @property
    def target(self) -> str:
        return self.fault.target

    @property
    def blast(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.fault.blast, self.link)))

    def missing(self, scene: Scene) -> str | None:
        """There must be such a link, and the fault must be possible."""
        return scene.why_no_link(self.link) or self.fault.missing(scene)

    async def inject(self, scene: Scene) -> Landed:
        """Never called: the rig arms the trigger, and injects the fault when it fires."""
        raise FaultDidNotLand(f"{self} can only be held, by r.fault ({scene})")

    async def heal(self, scene: Scene) -> str:
        """Never called."""
        raise FaultDidNotLand(f"{self} can only be held, by r.fault ({scene})")


@dataclass(frozen=True)
class Hold(LinkFault):
    """The first such message is kept back, with all behind it in its direction of its connection, until the heal.

    What is never said is never kept: then the fault did not land. ``drop``: the heal throws away what was kept and
    resets the connection, so that it never arrives, instead of letting it go on late.
    """

    moment: Moment
    before: bool = True
    """Whether it is kept back itself, or only what follows it."""
    drop: bool = False

    heals = True

    def __str__(self) -> str:
        return f"Hold({self.link}: {self.moment})"

    async def inject(self, scene: Scene) -> Landed:
        """Wait for it from now on; the proof that it matters comes with the heal."""
        await scene.links.arm(self.link, self.moment, before=self.before, label=str(self))
        return Landed(f"{self.link}: the next {self.moment} is kept back")

    async def heal(self, scene: Scene) -> str:
        """Let it go on, or reset it; the proof is that it had come.

        Raises:
            FaultDidNotLand: nothing of the kind was said.
        """
        return await _let_go(scene, self.link, str(self), drop=self.drop, never=f"no {self.moment} passed {self.link}")


@dataclass(frozen=True)
class Hang:
    """While held, no call of this gRPC method is answered: its reply (or the request itself) is kept back, every time.

    All behind it in its direction of its connection waits with it, as HTTP/2 has one order for all. The heal lets it
    go on, late.
    """

    method: str
    at: Literal["reply", "request"] = "reply"
    link: str = "cloud->bridge"

    heals = True

    @property
    def target(self) -> str:
        return self.link

    @property
    def blast(self) -> tuple[str, ...]:
        return (self.link,)

    def missing(self, scene: Scene) -> str | None:
        """There must be such a link."""
        return scene.why_no_link(self.link)

    async def inject(self, scene: Scene) -> Landed:
        """Keep back from now on; the proof that it matters comes with the heal."""
        moment = reply(self.method) if self.at == "reply" else request(self.method)
        await scene.links.arm(self.link, moment, act="hang", label=str(self))
        return Landed(f"{self.link}: every {moment} is kept back")

    async def heal(self, scene: Scene) -> str:
        """Let everything go on; the proof is how many calls hung.

        Raises:
            FaultDidNotLand: nobody called.
        """
        return await _let_go(scene, self.link, str(self), drop=False, never=f"nobody called {self.method}")


async def _let_go(scene: Scene, link: str, label: str, *, drop: bool, never: str) -> str:
    if drop:
        await scene.links.let_go(link, label, drop=True)
    _seen, acted = await scene.links.disarm(link, label)
    if not acted:
        raise FaultDidNotLand(never)
    return f"{link}: kept back {acted} times, then {'reset' if drop else 'let go'}"
