"""Injects and heals faults, writes down the four events of each, and insists on proof."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from harness import events as ev
from harness.clock import now_ns
from harness.errors import FaultDidNotLand, FaultNotSupported, Inconclusive
from harness.faults import Fault, Scene
from harness.history import Recorder

T = TypeVar("T")


class Injector:
    """Numbers the faults of a run."""

    def __init__(self, recorder: Recorder) -> None:
        """Record into the rig's file."""
        self.recorder = recorder
        self.landed_ns = 0
        """When the last fault had landed: a socket that opened before, while it was landing, anchors nothing."""
        self.healed_ns = 0
        """When the last fault was over: healed, or landed when there is nothing to heal."""
        self._numbers = 0

    async def inject(self, fault: Fault, scene: Scene) -> int:
        """Inject a fault and return its number.

        Raises:
            FaultNotSupported: it cannot be used here (a skip).
            Inconclusive: it has no proof.
        """
        why = fault.missing(scene)
        if why is not None:
            self.recorder.emit(ev.Note(text=f"skipped: {why}"))
            raise FaultNotSupported(why)
        self._numbers += 1
        number = self._numbers
        self.recorder.emit(
            ev.Injecting(number=number, fault=str(fault), target=fault.target, blast=fault.blast, held=fault.heals)
        )
        landed = await self._proven(number, fault, fault.inject(scene))
        self.landed_ns = now_ns()
        if not fault.heals:
            self.healed_ns = self.landed_ns  # it is over when it has landed
        self.recorder.emit(ev.Injected(number=number, fault=str(fault), proof=landed.proof, stops=landed.stops))
        return number

    async def heal(self, number: int, fault: Fault, scene: Scene) -> None:
        """Undo a fault.

        Raises:
            Inconclusive: it cannot prove that it is healed.
        """
        self.recorder.emit(ev.Healing(number=number))
        proof = await self._proven(number, fault, fault.heal(scene))
        self.healed_ns = now_ns()
        self.recorder.emit(ev.Healed(number=number, fault=str(fault), proof=proof))

    def never(self, fault: Fault, reason: str) -> None:
        """Record that a fault never came to be injected: what it waited for did not come."""
        self._numbers += 1
        self.recorder.emit(ev.FaultFailed(number=self._numbers, fault=str(fault), reason=reason))

    async def _proven(self, number: int, fault: Fault, doing: Coroutine[Any, Any, T]) -> T:
        try:
            return await doing
        except FaultDidNotLand as error:
            self.recorder.emit(ev.FaultFailed(number=number, fault=str(fault), reason=str(error)))
            raise Inconclusive(f"{fault} did not land: {error}") from error
