"""Faults of the network: a link's connections cut or refused; a component's packets dropped, its network taken away."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Literal, cast

from harness.errors import FaultDidNotLand, FaultNotSupported
from harness.faults.base import ComponentFault, Landed, LinkFault, Scene
from harness.runtimes import Detachable, Droppable


@dataclass(frozen=True)
class Cut(LinkFault):
    """Every connection of this link is reset, at both its ends; new ones are taken as ever."""

    heals = False

    async def inject(self, scene: Scene) -> Landed:
        """Reset; the proof is how many connections were."""
        cut = await scene.links.reset(self.link)
        if not cut:
            raise FaultDidNotLand(f"{self.link} had no connection to cut")
        return Landed(f"{self.link}: {cut} connections reset")

    async def heal(self, scene: Scene) -> str:
        """Nothing to undo: whoever wants a connection dials."""
        raise FaultDidNotLand(f"{self} has no heal ({scene})")


@dataclass(frozen=True, init=False, repr=False)
class Refuse:
    """While held, the connections of these links are reset and whoever dials is refused, as by a dead port."""

    links: tuple[str, ...]

    heals = True

    def __init__(self, *links: str) -> None:
        """Name at least one link."""
        if not links:
            raise ValueError("Refuse: expected the name of a link, seen none")
        object.__setattr__(self, "links", links)

    def __repr__(self) -> str:
        return f"Refuse({', '.join(map(repr, self.links))})"

    @property
    def target(self) -> str:
        return ", ".join(self.links)

    @property
    def blast(self) -> tuple[str, ...]:
        return self.links

    def missing(self, scene: Scene) -> str | None:
        """There must be such links."""
        return next((why for link in self.links if (why := scene.why_no_link(link)) is not None), None)

    async def inject(self, scene: Scene) -> Landed:
        """Close the fronts, then reset; the proof is that nobody listens, and how many connections were reset.

        When it fails for one link, none stays closed.
        """
        told = []
        async with AsyncExitStack() as undo:
            for link in self.links:
                undo.push_async_callback(scene.links.open_front, link)
                await scene.links.close_front(link)
                cut = await scene.links.reset(link)
                if (await scene.links.state(link)).listening:
                    raise FaultDidNotLand(f"the front of {link} listens though it was closed")
                told.append(f"{link}: nobody listens, {cut} connections reset")
            undo.pop_all()
        return Landed("; ".join(told))

    async def heal(self, scene: Scene) -> str:
        """Open the fronts; the proof is that they listen."""
        for link in self.links:
            await scene.links.open_front(link)
            if not (await scene.links.state(link)).listening:
                raise FaultDidNotLand(f"the front of {link} does not listen again")
        return f"{self.target}: listening again"


@dataclass(frozen=True)
class NetDrop(ComponentFault):
    """While held, every packet of this protocol to and from the component is lost without a word."""

    protocol: Literal["udp", "tcp", "all"] = "udp"

    heals = True

    def missing(self, scene: Scene) -> str | None:
        """Its packets must be within reach."""
        return scene.why_not(self.component, Droppable)

    async def inject(self, scene: Scene) -> Landed:
        """Make the rules; the proof that they matter comes with the heal.

        Raises:
            FaultNotSupported: not on this machine (no root, no iptables, an engine elsewhere).
        """
        running = cast("Droppable", scene.running(self.component))
        reason = await running.cannot_drop()
        if reason is not None:
            raise FaultNotSupported(f"the packets of {self.component} cannot be dropped: {reason}")
        return Landed(await running.drop(self.protocol))

    async def heal(self, scene: Scene) -> str:
        """Remove the rules; the proof is how many packets they dropped, which must not be none."""
        return await cast("Droppable", scene.running(self.component)).undrop()


@dataclass(frozen=True)
class NetDisconnect(ComponentFault):
    """While held, the component is off its network; healed, it has the same address and names again."""

    heals = True

    def missing(self, scene: Scene) -> str | None:
        """It must be possible to take it off its network."""
        return scene.why_not(self.component, Detachable)

    async def inject(self, scene: Scene) -> Landed:
        """Take it off; the proof is that whoever runs it no longer lists it there."""
        return Landed(await cast("Detachable", scene.running(self.component)).detach())

    async def heal(self, scene: Scene) -> str:
        """Put it back; the proof is its old address."""
        return await cast("Detachable", scene.running(self.component)).attach()
