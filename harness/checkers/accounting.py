"""The books of each hop: what was spoken, what became of each frame on purpose, and what nobody can explain.

At every hop: heard = spoken - not sent - lost + duplicates. A frame that is missing (or came twice, late, or damaged)
is put down to the first of these that explains it: a fault did so to its packet; it was spoken before the system was
steady; during the impact of a fault on something else; or while our own ear there was away. The rest is unexplained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from harness import events as ev
from harness.checkers.hearing import deaf_spans, observed
from harness.checkers.injections import DAMAGED, Injections, injections, other_windows
from harness.checkers.timeline import (
    FRAME_NS,
    IN_FLIGHT_NS,
    Indices,
    Span,
    distinct,
    impacts,
    observed_end_ns,
    spoken_times,
    steady_since_ns,
    talk_end_ns,
)
from harness.checkers.verdict import HopAccount
from harness.clock import SECOND_NS
from harness.frames import DAMAGE, HOP_NAME, Flag, Hop
from harness.history import History

Mask = NDArray[np.bool_]
UNSENT: Final = int(Flag.NO_ROOM | Flag.MIC_OFF)
ROOM_HOPS: Final = (Hop.SFU, Hop.BRIDGE_OUT)
"""Hops that audio over the fallback does not pass."""
UNDRAINED_NS: Final = 2 * SECOND_NS
"""What was spoken this shortly before a record that ends without a drain was still on its way."""


_known: WeakKeyDictionary[History, dict[tuple[int, int] | None, tuple[HopAccount, ...]]] = WeakKeyDictionary()
"""Books of histories that still are of use: a checker and the report ask for the same ones."""


SETTLED_NS: Final = IN_FLIGHT_NS
"""Captions are steady again when frames come to cloud-in without a gap; the hop behind it may be a moment later."""


@dataclass(frozen=True, eq=False)
class _Spoken:
    """What one person said, with why a frame may be missing; all masks are over ``index``."""

    index: Indices
    unsent: Mask
    fallback: Mask
    excused: Mask
    """Spoken before the system was steady, in the impact of a fault on something else, or too late to be awaited."""
    injected: Injections


def accounts(history: History, bounds: tuple[int, int] | None = None) -> tuple[HopAccount, ...]:
    """Return the books of every hop that was observed, for each person; ``bounds`` are frame indices [first, end)."""
    known = _known.setdefault(history, {})
    if bounds not in known:
        hops = [hop for hop in Hop if observed(history, HOP_NAME[hop])]
        found: list[HopAccount] = []
        for speaker, person in sorted(history.speakers().items()):
            said = _spoken(history, speaker, person, bounds)
            if len(said.index):
                found += [_account(history, hop, speaker, person, said) for hop in hops]
        known[bounds] = tuple(found)
    return known[bounds]


def lost_unexplained(history: History, hop: Hop, speaker: int, person: str) -> Indices:
    """Return the frames whose loss on the way to a hop nobody can explain, in order."""
    said = _spoken(history, speaker, person, None)
    if len(said.index) == 0:
        return said.index
    heard, _ = _heard(history, hop, speaker, said)
    there = np.isin(said.index, heard) | said.unsent | said.excused
    if hop in ROOM_HOPS:
        there |= said.fallback
    lost: Indices = said.index[~there & ~np.isin(said.index, said.injected.of("dropped"))]
    return lost


def _spoken(history: History, speaker: int, person: str, bounds: tuple[int, int] | None) -> _Spoken:
    out = history.at_hop(Hop.PHONE_OUT, speaker)
    index, flags = out["index"].astype(np.int64), out["flags"]
    if bounds is not None:
        inside = (index >= bounds[0]) & (index < bounds[1])
        index, flags = index[inside], flags[inside]
    every = distinct(index)
    times = spoken_times(history, every)
    since_ns = steady_since_ns(history, person)
    end_ns = talk_end_ns(history)
    if history.last(ev.Drained) is None:
        end_ns = min(end_ns, observed_end_ns(history) - UNDRAINED_NS)
    excused = (times > end_ns + FRAME_NS) | (times < (history.end_ns if since_ns is None else since_ns))
    hit = impacts(history, person, windows=other_windows(history))
    excused |= _inside(times, [Span(span.start_ns, span.end_ns + SETTLED_NS) for span in hit])
    return _Spoken(
        every, np.isin(every, index[(flags & UNSENT) != 0]), np.isin(every, index[(flags & int(Flag.FALLBACK)) != 0]),
        excused, injections(history, speaker),
    )  # fmt: skip


def _inside(times: Indices, spans: list[Span]) -> Mask:
    found = np.zeros(len(times), np.bool_)
    for span in spans:
        found |= (times > span.start_ns) & (times - FRAME_NS < span.end_ns)
    return found


def _account(history: History, hop: Hop, speaker: int, person: str, said: _Spoken) -> HopAccount:
    heard, flags = _heard(history, hop, speaker, said)
    low, size = int(said.index[0]), int(said.index[-1] - said.index[0]) + 1
    at = said.index - low
    times = np.bincount(heard - low, minlength=size)
    index, done = said.index, said.injected
    away = _inside(spoken_times(history, index), deaf_spans(history, HOP_NAME[hop]))
    elsewhere = said.fallback if hop in ROOM_HOPS else np.zeros(len(index), np.bool_)
    excused = said.excused | away

    count = times[at]
    dropped = np.isin(index, done.of("dropped"))
    missing = (count == 0) & ~said.unsent & ~elsewhere
    unexplained = missing & ~dropped & ~excused
    copies = np.zeros(size, np.int64)
    for frame, more in done.copies.items():
        if low <= frame < low + size:
            copies[frame - low] += more
    extra = np.maximum(count - 1, 0)
    wanted = np.minimum(extra, copies[at])
    again = extra - wanted

    late = _came_late(heard - low, size)[at]
    moved = np.isin(index, done.of("reordered"))
    bad = np.zeros(size, np.bool_)
    bad[heard[(flags & int(DAMAGE)) != 0] - low] = True
    hurt = np.isin(index, done.of(*DAMAGED))
    damaged = hurt & (count > 0) if hop is Hop.PHONE_OUT else bad[at]  # what leaves the phone was not listened to
    return HopAccount(
        person=person, hop=HOP_NAME[hop], spoken=len(index), heard=len(heard), not_sent=int(said.unsent.sum()),
        another_way=int((elsewhere & (count == 0) & ~said.unsent).sum()),
        dropped=int((missing & dropped).sum()), dropped_injected=int(dropped.sum()),
        lost_excused=int((missing & ~dropped & excused).sum()), lost_unexplained=int(unexplained.sum()),
        duplicated=int(wanted.sum()), duplicated_injected=int(copies[at].sum()),
        duplicates_excused=int(again[excused].sum()), duplicates_unexplained=int(again[~excused].sum()),
        reordered=int((late & moved).sum()), reordered_injected=int(moved.sum()),
        reordered_unexplained=int((late & ~moved & ~excused).sum()),
        corrupted=int((damaged & hurt).sum()), corrupted_injected=int(hurt.sum()),
        corrupted_unexplained=int((damaged & ~hurt & ~excused).sum()),
        lost=_some(index[unexplained]), twice=_some(index[(again > 0) & ~excused]),
    )  # fmt: skip


def _heard(history: History, hop: Hop, speaker: int, said: _Spoken) -> tuple[Indices, NDArray[np.uint8]]:
    """Return the frames that came to a hop, in order, and their flags; at the phone, those that left it."""
    if hop is Hop.PHONE_OUT:
        mine = history.frames[(history.frames["hop"] == int(hop)) & (history.frames["speaker"] == speaker)]
        got = mine[(mine["flags"] & int(Flag.SENT | Flag.FALLBACK)) != 0]
        flags = np.zeros(len(got), np.uint8)
    else:
        got = history.at_hop(hop, speaker)
        got = got[(got["flags"] & int(DAMAGE | Flag.CUT)) != int(Flag.CUT)]  # cut short only: loss
        flags = got["flags"]
    index = got["index"].astype(np.int64)
    known = (index >= said.index[0]) & (index <= said.index[-1])
    return index[known], flags[known]


def _came_late(heard: Indices, size: int) -> Mask:
    """Tell of each frame (numbered from 0) whether it came for the first time behind a later one."""
    found = np.zeros(size, np.bool_)
    if len(heard) == 0:
        return found
    first_at = np.full(size, -1, np.int64)
    first_at[heard[::-1]] = np.arange(len(heard) - 1, -1, -1)
    behind = heard < np.maximum.accumulate(heard)
    there = first_at >= 0
    found[there] = behind[first_at[there]]
    return found


def _some(index: Indices) -> tuple[int, ...]:
    return tuple(index[:5].tolist())
