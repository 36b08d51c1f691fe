"""Holds a fault for a block of the story; or a trigger: armed before it, its fault struck at the moment within it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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

    Raises:
        FaultNotSupported: it cannot be used here (a skip).
        Inconclusive: the moment never came, or the fault did not land.
    """
    recorder = injector.recorder
    why = when.missing(scene)
    if why is not None:
        recorder.emit(ev.Note(text=f"skipped: {why}"))
        raise FaultNotSupported(why)
    number = await scene.links.arm(when.link, when.moment, before=when.before, hold=when.hold)
    recorder.emit(ev.Armed(link=when.link, moment=str(when.moment), fault=str(when.fault)))
    striking = asyncio.create_task(_strike(when, number, injector, scene), name=f"trigger {when}")
    to_heal: list[tuple[int, Fault]] = []
    try:
        yield
        to_heal = await _waited(when, striking, injector)
    finally:
        if not striking.done():
            striking.cancel()
            await asyncio.wait([striking])
        await scene.links.disarm(when.link, number)
        for fault_number, fault in to_heal:
            await injector.heal(fault_number, fault, scene)


async def _strike(when: When, number: int, injector: Injector, scene: RigScene) -> list[tuple[int, Fault]]:
    fired: dict[str, Any] = await scene.links.fired(when.link, number, within_s=FOR_EVER_S)
    injector.recorder.emit(
        ev.Fired(
            link=when.link, moment=str(when.moment), fault=str(when.fault), conn=int(fired["conn"]),
            said=str(fired["said"]), held=when.hold,
        ),
        t_ns=int(fired["t_ns"]),
    )  # fmt: skip
    fault_number = await injector.inject(when.fault, scene)
    await scene.links.let_go(when.link, number, drop=when.drop)
    if not when.fault.heals:
        return []
    if when.for_block:
        return [(fault_number, when.fault)]
    await injector.heal(fault_number, when.fault, scene)
    return []


async def _waited(
    when: When, striking: asyncio.Task[list[tuple[int, Fault]]], injector: Injector
) -> list[tuple[int, Fault]]:
    try:
        return await within(asyncio.shield(striking), when.within_s)
    except TimeoutError:
        seen = f"no {when.moment} passed {when.link} within {when.within_s:.0f} s of the end of the block"
        injector.never(when, seen)
        raise Inconclusive(f"{when} never fired: {seen}") from None
    except (ControlError, StartFailed) as error:
        raise Inconclusive(f"{when} never fired: {error}") from error
