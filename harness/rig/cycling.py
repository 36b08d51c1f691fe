"""The verb of a story that repeats itself: hurt, wait for captions, look at what each part takes; and again."""

from __future__ import annotations

from collections.abc import Sequence

from harness import events as ev
from harness.clock import now_ns, seconds_between
from harness.faults import Fault
from harness.rig.live import Flow
from harness.rig.rig import Rig
from harness.rig.sampling import take_samples


async def cycles(rig: Rig, flow: Flow, faults: Sequence[Fault], *, count: int) -> None:
    """Play ``count`` cycles of a fault (in turn), its heal, and captions again; sample every part after each.

    The first cycle without captions is the last: its anchor is the one that Resumes then judges.

    Raises:
        FaultNotSupported: one cannot be used here (a skip).
        Inconclusive: one did not land, or was not healed.
    """
    for number in range(1, count + 1):
        fault = faults[(number - 1) % len(faults)]
        rig.step(f"cycle {number} of {count}: {fault}")
        began_ns = now_ns()
        await rig.strike(fault)
        heard = await rig.recovered(flow, within_s=rig.budget.resumes_s, watch_on=number == count)
        took_s = round(seconds_between(began_ns, now_ns()), 3)
        rig.recorder.emit(ev.CycleDone(number=number, of=count, fault=str(fault), heard=heard, took_s=took_s))
        await take_samples(rig.stack, rig.people.values(), number)
        if not heard:
            return
