"""Faults of a component's own network, where it runs: packets dropped by rules, the network taken away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from harness.errors import FaultNotSupported
from harness.faults.base import ComponentFault, Landed, Scene
from harness.runtimes import Detachable, Droppable


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
