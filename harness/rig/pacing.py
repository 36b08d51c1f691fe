"""Waits that pace a story by what is seen live; they judge nothing."""

from __future__ import annotations

from collections.abc import Sequence

from harness.clock import now_ns, seconds_between
from harness.rig.live import Flow, Live
from harness.waiting import NotYet, until

STEADY_COMES_WITHIN_S = 20.0
"""How long after the declared steady window a sound system may take to get there."""


async def steady_since(live: Live, flows: Sequence[Flow], window_s: float) -> int:
    """Wait until these captions, and the frames behind them, flow for ``window_s``; return since when (ns).

    Raises:
        NotReached: they never did.
    """

    def look() -> int | NotYet:
        latest = 0
        for flow in flows:
            since = flow.steady(live, window_s)
            if isinstance(since, NotYet):
                return since
            latest = max(latest, live.gapless_from(flow.speaker, since))
            flowed_s = seconds_between(latest, now_ns())
            if flowed_s < window_s:
                return NotYet(f"frames of {flow.person} come without a gap for {flowed_s:.1f} s of {window_s:.1f} s")
        return latest

    return await until(look, what="steady captions", within_s=window_s + STEADY_COMES_WITHIN_S)
