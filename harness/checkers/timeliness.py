"""Timely: how long after an utterance its final caption comes, once captions flow; and whether that grows.

The lag of a final is told from when the last word it names was fully spoken. What comes during an impact is the affair
of Resumes; from the first caption for words spoken after it on, everything that comes counts, old words too: a backlog
that is delivered late is late for the wearer.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness import events as ev
from harness.checkers.injections import LATE, injections
from harness.checkers.resumption import first_caption_after
from harness.checkers.timeline import (
    FINAL_AFTER_FRAMES,
    Span,
    anchors,
    at,
    fault_windows,
    impacts,
    observed_end_ns,
    steady_since_ns,
    subtract,
    talk_end_ns,
)
from harness.checkers.verdict import Outcome, Params, Verdict
from harness.clock import SECOND_NS
from harness.history import History
from harness.speech import UTTERANCE_FRAMES, UTTERANCE_WORDS, word_frames

NAME = "timely"
FEWEST: Final = 2
"""Finals without which nothing is said of lag."""
FEWEST_FOR_GROWTH: Final = 4
"""Finals without which nothing is said of growth: with three, one late final decides."""
GROWTH_FROM_S: Final = 1.0
"""Lag that rose by less than this in a stretch may be the machine's: a final's way back takes up to 1 s on a loaded one
(measured; ``FINAL_IN_FLIGHT_NS``)."""
GROWTH_SHARE: Final = 0.25
"""Growth is the slope that three quarters of all pairs of finals reach (Theil and Sen take half): a single late final,
or one step up that then stays, is no growth."""
HORIZON_S: Final = 600.0
"""Growth counts when it would pass the budget within a conversation of ten minutes (real lag grew to 10 s - 2 min)."""


@dataclass(frozen=True)
class LaggedFinal:
    """A final at app-in: when it came, and how long after its newest word was spoken."""

    t_ns: int
    lag_s: float
    text: str
    excused: bool = False
    """A fault on packets held back the word it is told from, or the silence that ends its utterance."""


def check_timely(history: History, params: Params) -> Verdict:
    """Judge Timely; ``lag_s`` is what a final may take once captions flow. The worst person decides."""
    found = [_judge(history, s, p, params["lag_s"]) for s, p in sorted(history.speakers().items())]
    if not found:
        return Verdict(NAME, Outcome.UNKNOWN, "nobody talked, so no caption could be late")
    for outcome in (Outcome.BROKEN, Outcome.UNKNOWN):
        worst = next((v for v in found if v.outcome is outcome), None)
        if worst is not None:
            return worst
    return Verdict(NAME, Outcome.HOLDS, "; ".join(v.because for v in found))


def judged_spans(history: History, person: str, speaker: int) -> list[Span]:
    """Return the stretches in which finals count, by when they come.

    Each begins with steadiness or, after an impact, with the first caption for words spoken since the end of the impact
    (without one, since the anchor); it ends with the next fault, the last one with the drain.
    """
    first_ns, end_ns = steady_since_ns(history, person), observed_end_ns(history)
    hit = impacts(history, person, 0)
    holes: list[Span] = []
    for span, after in zip_longest(hit, hit[1:]):
        until_ns = after.start_ns if after else end_ns
        fresh_ns = _fresh_ns(history, person, speaker, span)
        holes.append(Span(span.start_ns, min(until_ns, fresh_ns or until_ns)))
        if first_ns is None:
            first_ns = fresh_ns
    return subtract(Span(first_ns, end_ns), holes) if first_ns is not None else []


def _fresh_ns(history: History, person: str, speaker: int, impact: Span) -> int | None:
    anchor = anchors(history).get(person)
    never_again = impact.end_ns >= talk_end_ns(history)
    from_ns = anchor.moment_ns if never_again and anchor is not None else impact.end_ns
    fresh = first_caption_after(history, speaker, from_ns)
    return fresh.t_ns + 1 if fresh else None


def lags_in(history: History, speaker: int, span: Span) -> list[LaggedFinal]:
    """Return the finals of this speaker that came in ``span`` and count, in order."""
    return [one for one in lags_of(history, speaker) if span.start_ns <= one.t_ns < span.end_ns and not one.excused]


def lags_of(history: History, speaker: int) -> list[LaggedFinal]:
    """Return all finals of this speaker that named words not named before, in order; see ``excused``."""
    named: set[int] = set()
    late = injections(history, speaker).of(*LATE)
    found = []
    for caption in history.captions("app-in", final=True, speaker=speaker):
        fresh = [w for w in caption.words if w not in named]
        named.update(fresh)
        if fresh:
            from_frame, *_, last_frame = word_frames(max(fresh))
            ends = max(fresh) // UTTERANCE_WORDS * UTTERANCE_FRAMES + FINAL_AFTER_FRAMES
            hurt = bool(((late >= from_frame) & (late < ends)).any())
            lag_s = (caption.t_ns - history.spoken_ns(last_frame)) / SECOND_NS
            found.append(LaggedFinal(caption.t_ns, lag_s, caption.text, hurt))
    return found


def _judge(history: History, speaker: int, person: str, budget_s: float) -> Verdict:
    every = lags_of(history, speaker)
    spans = judged_spans(history, person, speaker)
    came = [[one for one in every if span.start_ns <= one.t_ns < span.end_ns] for span in spans]
    stretches = [[one for one in stretch if not one.excused] for stretch in came]
    excused = sum(one.excused for stretch in came for one in stretch)
    lags = [lag for stretch in stretches for lag in stretch]
    if len(lags) < FEWEST:
        text = f"{len(lags)} final captions of {person} came while the system was steady; {FEWEST} are needed"
        return Verdict(NAME, Outcome.UNKNOWN, text)
    again_ns = max((again.t_ns for again in history.all(ev.SteadyAgain) if again.person == person), default=0)
    if again_ns and lags[-1].t_ns < again_ns and fault_windows(history):  # without a fault, nothing was to come back
        text = f"no final caption of {person} came once captions flowed again but the first: too few to tell"
        return Verdict(NAME, Outcome.UNKNOWN, text)
    worst = max(lags, key=lambda one: one.lag_s)
    middle_s = float(np.median([one.lag_s for one in lags]))
    text = f"captions of {person} lag {middle_s:.2f} s in the middle, {worst.lag_s:.2f} s at worst"
    if excused:
        text += f" ({len(lags)} judged; {excused} more had their end dropped or held back on purpose)"
    if worst.lag_s > budget_s:
        late = [one for one in lags if one.lag_s > budget_s]
        proof = tuple(at(history, one.t_ns, "app-in", f"{one.lag_s:.2f} s late: “{one.text}”") for one in late[:5])
        text += f" (budget {budget_s:.1f} s; {len(late)} of {len(lags)} are beyond it)"
        return Verdict(NAME, Outcome.BROKEN, text, proof)
    for stretch in stretches:
        grows = growth(stretch, budget_s)
        if grows is not None:
            ends = (stretch[0], stretch[-1])
            proof = tuple(at(history, one.t_ns, "app-in", f"{one.lag_s:.2f} s late: “{one.text}”") for one in ends)
            return Verdict(NAME, Outcome.BROKEN, f"captions of {person} come later and later: {grows}", proof)
    return Verdict(NAME, Outcome.HOLDS, f"{text} (budget {budget_s:.1f} s), and do not grow")


def growth(stretch: list[LaggedFinal], budget_s: float) -> str | None:
    """Return how lag grows in one stretch, as words, or None when it does not (see the constants above)."""
    if len(stretch) < FEWEST_FOR_GROWTH:
        return None
    t_s: NDArray[np.float64] = np.array([(one.t_ns - stretch[0].t_ns) / SECOND_NS for one in stretch])
    lag_s: NDArray[np.float64] = np.array([one.lag_s for one in stretch])
    first, second = np.triu_indices(min(len(stretch), 500), k=1)
    if len(stretch) > 500:  # pairs grow with the square: an even choice of 500 finals is as good
        chosen = np.linspace(0, len(stretch) - 1, 500).astype(np.int64)
        t_s, lag_s = t_s[chosen], lag_s[chosen]
    apart_s = t_s[second] - t_s[first]
    pairs = apart_s > 0
    if not pairs.any():
        return None
    slope = float(np.quantile((lag_s[second] - lag_s[first])[pairs] / apart_s[pairs], GROWTH_SHARE))
    rise_s = slope * float(t_s[-1])
    if rise_s < GROWTH_FROM_S or float(lag_s[-1]) + slope * HORIZON_S <= budget_s:
        return None
    left_s = max(0.0, (budget_s - float(lag_s[-1])) / slope)
    return (
        f"by {slope * 1000:.0f} ms each second, from {lag_s[0]:.2f} s to {lag_s[-1]:.2f} s; "
        f"beyond the budget of {budget_s:.1f} s in {left_s:.0f} s more"
    )
