"""Holds a fault for a block of the story; or a trigger: armed before it, its fault struck at the moment within it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from harness import events as ev
from harness.control import ControlError
from harness.errors import FaultNotSupported, Inconclusive, StartFailed
from harness.faults import When
from harness.faults.base import Fault
from harness.rig.injector import Injector
from harness.rig.scene import RigScene
from harness.waiting import within

FOR_EVER_S = 3600.0
STRIKES_WITHIN_S = 30.0
"""Once a trigger has fired, its fault is struck and what is held let go within this, or the run is UNKNOWN."""


@asynccontextmanager
async def held(fault: Fault, injector: Injector, scene: RigScene) -> AsyncIterator[None]:
    """Inject a fault, run the block and heal it, also when the block fails; a trigger is armed instead."""
    if isinstance(fault, When):
        async with armed(fault, injector, scene):
            yield
        return
    number = await injector.inject(fault, scene)
    try:
        yield
    finally:
        await injector.heal(number, fault, scene)


@asynccontextmanager
async def armed(when: When, injector: Injector, scene: RigScene) -> AsyncIterator[None]:
    """Arm a trigger, run the block, and see to it that the moment came and the fault was struck in it.

    What was struck is healed in any case, also when the block fails.

    Raises:
        FaultNotSupported: it cannot be used here (a skip).
        Inconclusive: the moment never came, or the fault did not land, or not in time.
    """
    recorder = injector.recorder
    why = when.missing(scene)
    if why is not None:
        recorder.emit(ev.Note(text=f"skipped: {why}"))
        raise FaultNotSupported(why)
    number = await scene.links.arm(when.link, when.moment, before=when.before, hold=when.hold)
    recorder.emit(ev.Armed(link=when.link, moment=str(when.moment), fault=str(when.fault)))
    strike = _Strike(when, number, injector, scene)
    async with AsyncExitStack() as ending:  # from the last to the first, each of them even when another fails
        ending.push_async_callback(strike.heal)
        ending.push_async_callback(scene.links.disarm, when.link, number)
        ending.push_async_callback(strike.end)
        yield
        await strike.waited()


class _Strike:
    """What becomes of one armed trigger, beside the block."""

    def __init__(self, when: When, number: int, injector: Injector, scene: RigScene) -> None:
        self._when, self._number, self._injector, self._scene = when, number, injector, scene
        self._fired = asyncio.Event()
        self._doing = ""
        self._unhealed: int | None = None
        """The number of the fault while it is struck and has a heal to come."""
        self._is_late = False
        self._task = asyncio.create_task(self._run(), name=f"trigger {when}")

    async def _run(self) -> None:
        when, links = self._when, self._scene.links
        fired: dict[str, Any] = await links.fired(when.link, self._number, within_s=FOR_EVER_S)
        self._fired.set()
        self._injector.recorder.emit(
            ev.Fired(
                link=when.link, moment=str(when.moment), fault=str(when.fault), conn=int(fired["conn"]),
                said=str(fired["said"]), held=when.hold,
            ),
            t_ns=int(fired["t_ns"]),
        )  # fmt: skip
        self._doing = f"striking {when.fault}"
        struck = await self._injector.inject(when.fault, self._scene)
        self._unhealed = struck if when.fault.heals else None
        self._doing = "letting go what was held"
        await links.let_go(when.link, self._number, drop=when.drop)
        if not when.for_block:
            self._doing = f"healing {when.fault}"
            await self.heal()

    async def waited(self) -> None:
        """Wait for the moment and the strike, after the block.

        Raises:
            Inconclusive: the moment never came, or the fault was not struck, or not in time.
        """
        when = self._when
        coming = asyncio.create_task(self._fired.wait())
        try:
            await asyncio.wait([coming, self._task], timeout=when.within_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            coming.cancel()
        if not self._fired.is_set() and not self._task.done():
            seen = f"no {when.moment} passed {when.link} within {when.within_s:.0f} s of the end of the block"
            self._injector.never(when, seen)
            raise Inconclusive(f"{when} never fired: {seen}")
        try:
            await within(asyncio.shield(self._task), STRIKES_WITHIN_S)
        except TimeoutError:
            self._is_late = True
            took = f"{self._doing} took more than {STRIKES_WITHIN_S:g} s"
            raise Inconclusive(f"{when} fired, but {took}") from None
        except (ControlError, StartFailed) as error:
            how = f"fired, but {self._doing} failed" if self._fired.is_set() else "never fired"
            raise Inconclusive(f"{when} {how}: {error}") from error

    async def end(self) -> None:
        """Let it come to its end when it has begun, for half a strike can not be healed; or stop it."""
        try:
            if self._fired.is_set() and not self._is_late:
                await asyncio.wait([self._task], timeout=STRIKES_WITHIN_S)
        finally:
            if not self._task.done():
                self._task.cancel()
                await asyncio.wait([self._task])
        if not self._task.cancelled() and (error := self._task.exception()) is not None:
            self._injector.recorder.emit(ev.Note(text=f"{self._when}: {self._doing or 'waiting'} failed: {error}"))

    async def heal(self) -> None:
        """Heal what was struck and is not healed yet."""
        number, self._unhealed = self._unhealed, None
        if number is None:
            return
        try:
            await self._injector.heal(number, self._when.fault, self._scene)
        except asyncio.CancelledError:
            self._unhealed = number  # it may have come to nothing: once more at the end
            raise
