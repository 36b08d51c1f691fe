"""Several faults as one: landed in the order written, healed in the other."""

from __future__ import annotations

from dataclasses import dataclass

from harness.faults.base import Fault, Landed, Scene


@dataclass(frozen=True)
class Together:
    """All of these at once, held; what has no heal is not healed."""

    faults: tuple[Fault, ...]

    heals = True

    def __str__(self) -> str:
        return " and ".join(str(fault) for fault in self.faults)

    @property
    def target(self) -> str:
        return ", ".join(fault.target for fault in self.faults)

    @property
    def blast(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for fault in self.faults for name in fault.blast))

    def missing(self, scene: Scene) -> str | None:
        """Each of them must be usable."""
        return next((why for fault in self.faults if (why := fault.missing(scene)) is not None), None)

    async def inject(self, scene: Scene) -> Landed:
        """Do them in order; the proofs of all. When one does not land, those before it are healed."""
        landed: list[Landed] = []
        for fault in self.faults:
            try:
                landed.append(await fault.inject(scene))
            except BaseException as error:
                _, wrong = await _all_healed(self.faults[: len(landed)], scene)
                if wrong is not None:
                    error.add_note(f"undoing the others: {wrong!r}")
                raise
        return Landed("; ".join(one.proof for one in landed), tuple(p for one in landed for p in one.stops))

    async def heal(self, scene: Scene) -> str:
        """Undo them, the last one first; the proofs of all."""
        proofs, wrong = await _all_healed(self.faults, scene)
        if wrong is not None:
            raise wrong
        return "; ".join(proof for proof in proofs if proof)


async def _all_healed(faults: tuple[Fault, ...], scene: Scene) -> tuple[list[str], BaseException | None]:
    """Undo them all, the last one first, whatever happens; the proofs, and the first error."""
    proofs: list[str] = []
    first: BaseException | None = None
    for fault in reversed(faults):
        try:
            proofs.append(await fault.heal(scene) if fault.heals else "")
        except BaseException as error:  # noqa: BLE001  it is raised when the others are healed
            first = first or error
    return proofs, first
