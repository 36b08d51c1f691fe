"""Waits that pace a story by what is seen live; they judge nothing."""

from __future__ import annotations

from collections.abc import Sequence

from harness.checkers.timeline import IN_FLIGHT_NS
from harness.clock import now_ns, seconds_between
from harness.rig.live import Flow, Live
from harness.waiting import NotYet, until

STEADY_COMES_WITHIN_S = 20.0
"""How long after the declared steady window a sound system may take to get there."""


async def steady_since(live: Live, flows: Sequence[Flow], window_s: float) -> int:
    """Wait until these captions, and the frames behind them, flow for ``window_s``; return since when (ns).

    The frames must flow still: every one is there but those that a fault that comes now may yet take.

    Raises:
        NotReached: they never did.
    """

    def look() -> int | NotYet:
        latest = 0
        for flow in flows:
            since = flow.steady(live, window_s)
            if isinstance(since, NotYet):
                return since
            heard_ns = live.heard_until(flow.speaker)  # first: what comes in between cannot hide a gap
            latest = max(latest, live.gapless_from(flow.speaker, since))
            flowed_s = seconds_between(latest, now_ns())
            if flowed_s < window_s:
                return NotYet(f"frames of {flow.person} come without a gap for {flowed_s:.1f} s of {window_s:.1f} s")
            # A caption is missed only an utterance and a second later; what a fault may be blamed for is much less.
            if heard_ns is not None and now_ns() - heard_ns > IN_FLIGHT_NS:
                return NotYet(f"the audio of {flow.person} stopped {seconds_between(heard_ns, now_ns()):.1f} s ago")
        return latest

    return await until(look, what="steady captions", within_s=window_s + STEADY_COMES_WITHIN_S)
