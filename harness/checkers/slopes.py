"""How fast what a part holds grows from cycle to cycle, with a confidence interval, from the samples of a history.

The estimator is Sen's: the median of the slopes between all pairs of samples (Sen 1968). Memory grows in steps, and a
count that is read in the middle of a change is an outlier; both pull a least-squares line, and not a median. Pairs are
taken within one start of a part only: a new process begins anew. The interval comes from the variance of Kendall's S
over all starts (Hirsch and Slack 1984), made wider where what is left beside the line hangs together from sample to
sample (Hamed and Rao 1998): otherwise a slow wave would look like many independent witnesses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness import events as ev
from harness.checkers.verdict import Outcome, Slope
from harness.history import History

WARM_UP_CYCLES: Final = 3
"""The first samples of each start are left out: caches fill, libraries are imported, pools grow to their size."""
Z: Final = 2.576
"""Of a two-sided interval of 99 %: some thirty slopes are judged at once, and each may be wrong."""
SIGNIFICANT: Final = 1.96
MB: Final = 1e6
MEMORY_FROM_CYCLES: Final = 30
"""Memory is judged in stories of so many cycles: before, an allocator that grows by steps tells nothing either way."""
MEMORY: Final = "memory_bytes"


class Tolerance(NamedTuple):
    """What a cycle may keep for ever."""

    per_cycle: float
    unit: str
    scale: float = 1.0
    """Units per shown unit."""


TOLERANCES: Final[Mapping[str, Tolerance]] = {
    # A whole session may cost 5 MB while it lives; of one that is over, a fifth of it is too much for good. Less cannot
    # be told from a heap that is swept now and then: LiveKit's gave 0.15 MB a cycle, -0.05 to 0.49, over 100 cycles.
    MEMORY: Tolerance(1.0 * MB, "MB", MB),
    # A leak of a join is one a cycle or more. A connection whose peer vanished stays half open until TCP gives up,
    # which is no leak: that is one or two in twenty cycles.
    "descriptors": Tolerance(0.25, "descriptors"),
    "sockets": Tolerance(0.25, "sockets"),
    "threads": Tolerance(0.25, "threads"),
    # The true limit, computed for a count that steps up once in so many cycles: over 100 cycles one in 20 is BROKEN and
    # one in 25 is not told; over 20 cycles one in 5 is BROKEN, one in 6 to 10 is UNKNOWN, one in 20 HOLDS. What is
    # still held at the end is counted exactly instead (sessions, agents, streams, participants: cleanliness.py).
    "sessions": Tolerance(0.04, "sessions"),
    "streams": Tolerance(0.04, "streams"),
    "participants": Tolerance(0.04, "participants"),
}
SHOWN: Final = frozenset({"sockets", "threads"})
"""Not judged: sockets are descriptors already, and a pool may take its threads when it likes."""
OURS: Final = Tolerance(2 * MB, "MB", MB)
"""Memory that a process of the harness may gain: it keeps what it has seen, for as long as the run lasts."""

Values = NDArray[np.float64]


def slopes_of(history: History) -> tuple[Slope, ...]:
    """Return the slope of every quantity of every part that was sampled after cycles; empty without cycles.

    A part that was started anew too often for an interval has no outcome: see :func:`anew_too_often`.
    """
    series: dict[tuple[bool, str, str], list[tuple[int, float, str]]] = {}
    for sample in history.all(ev.Sample):
        if sample.cycle < 0:
            continue
        for quantity, value in sample.values.items():
            if quantity in TOLERANCES:
                series.setdefault((sample.ours, sample.part, quantity), []).append(
                    (sample.cycle, value, sample.identity)
                )
    played = max((e.number for e in history.all(ev.CycleDone)), default=0)
    if played == 0:
        return ()
    return tuple(_slope(*key, points, played) for key, points in sorted(series.items()))


def anew_too_often(slopes: Sequence[Slope]) -> dict[str, tuple[str, ...]]:
    """Return part of the system -> quantities that no start lasted long enough to tell about."""
    found: dict[str, tuple[str, ...]] = {}
    for slope in slopes:
        starts = {who for *_, who in slope.points}
        if slope.quantity not in {*SHOWN, MEMORY} and not slope.ours and len(starts) > 1 and slope.outcome is None:
            found[slope.part] = (*found.get(slope.part, ()), slope.quantity)
    return found


def _slope(ours: bool, part: str, quantity: str, points: Sequence[tuple[int, float, str]], played: int) -> Slope:
    tolerance = OURS if ours and quantity == MEMORY else TOLERANCES[quantity]
    starts = [_array(points, who) for who in dict.fromkeys(who for *_, who in points)]
    low, middle, high = sen([start[WARM_UP_CYCLES:] for start in starts])
    anew = len(starts) > 1 and not math.isfinite(high)
    judged = quantity not in SHOWN and (quantity != MEMORY or played >= MEMORY_FROM_CYCLES)
    return Slope(
        part=part, quantity=quantity, unit=tolerance.unit, ours=ours,
        per_cycle=_shown(middle, tolerance), low=_shown(low, tolerance), high=_shown(high, tolerance),
        tolerance=tolerance.per_cycle / tolerance.scale,
        outcome=_outcome(low, high, tolerance.per_cycle) if judged and not anew else None,
        points=tuple((cycle, round(value / tolerance.scale, 3), who) for cycle, value, who in points),
    )  # fmt: skip


def _array(points: Sequence[tuple[int, float, str]], who: str) -> Values:
    return np.array([(cycle, value) for cycle, value, identity in points if identity == who], np.float64)


def _shown(value: float, tolerance: Tolerance) -> float:
    return round(value / tolerance.scale, 4) + 0.0  # never "-0.0"


def _outcome(low: float, high: float, tolerance: float) -> Outcome:
    if low > tolerance:
        return Outcome.BROKEN
    return Outcome.HOLDS if high <= tolerance else Outcome.UNKNOWN


def sen(starts: Sequence[Values]) -> tuple[float, float, float]:
    """Return low end, median and high end of the slope; each start is rows of (cycle, value).

    With too few samples for an interval its ends are infinite; without a single pair the median is not a number.
    """
    starts = [start for start in starts if len(start) >= 2]
    pairs = np.sort(np.concatenate([_pairs(start) for start in starts])) if starts else np.empty(0)
    if len(pairs) == 0:
        return -math.inf, math.nan, math.inf
    middle = float(np.median(pairs))
    variance = sum(n * (n - 1) * (2 * n + 5) / 18 for n in map(len, starts)) * inflation(starts, middle)
    half = Z * math.sqrt(variance)
    first, last = math.floor((len(pairs) - half) / 2) - 1, math.ceil((len(pairs) + half) / 2)
    if first < 0 or last >= len(pairs):
        return -math.inf, middle, math.inf
    return float(pairs[first]), middle, float(pairs[last])


def _pairs(start: Values) -> Values:
    one, other = np.triu_indices(len(start), 1)
    found: Values = (start[other, 1] - start[one, 1]) / (start[other, 0] - start[one, 0])
    return found


def inflation(starts: Sequence[Values], slope: float) -> float:
    """Return by what the variance is larger than of independent samples, at least 1; of the longest start.

    From the rank correlations of what is left beside the line, those that cannot well be chance (Hamed and Rao 1998).
    """
    longest = max(starts, key=len)
    n = len(longest)
    left = np.round(longest[:, 1] - slope * longest[:, 0], 6)
    _, number, count = np.unique(left, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[number]
    ranks = ranks - ranks.mean()
    power = float(ranks @ ranks)
    if n < 4 or power == 0:
        return 1.0
    extra = 0.0
    for lag in range(1, n // 2):
        together = float(ranks[:-lag] @ ranks[lag:]) / power
        if abs(together) > SIGNIFICANT / math.sqrt(n):
            extra += (n - lag) * (n - lag - 1) * (n - lag - 2) * together
    return max(1.0, 1 + 2 * extra / (n * (n - 1) * (n - 2)))
