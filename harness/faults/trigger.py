"""Faults at a moment of the protocol: not "two seconds later", but when this very message is on its way."""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import FaultDidNotLand
from harness.faults.base import Fault, Landed, Scene
from harness.moments import Moment


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
    """Whether it fires before the message goes on, or behind its last byte."""
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
