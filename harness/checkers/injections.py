"""What faults did to audio packets on purpose, frame by frame: so that no checker blames the system for it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final
from weakref import WeakKeyDictionary

import numpy as np

from harness import events as ev
from harness.checkers.timeline import FaultWindow, Indices, distinct, fault_windows
from harness.events.wire import PACKETS_OF
from harness.history import History
from harness.speech import UTTERANCE_FRAMES, WORD_FRAMES, word_frames, word_of

DAMAGED: Final = ("corrupted", "odd", "swapped")
"""Kinds of :class:`harness.events.PacketHurt` after which a frame is heard, and heard to be wrong."""
UNOWED: Final = ("dropped", "reordered", *DAMAGED)
"""Kinds after which a word may be missing: too few of its frames came whole, or they came when it was over."""
LATE: Final = ("dropped", "reordered", "held")
"""Kinds after which a word, or the silence that ends its utterance, may come late."""
ODD_STRAYS: Final = 2
"""Bytes of an odd packet that belong to no frame: the one too many, and the sequence byte that a bridge then takes for
audio (wire contract: it is taken off packets of odd length)."""


@dataclass(frozen=True, eq=False)
class Injections:
    """Frames of one speaker that were hurt on purpose, by kind."""

    kinds: dict[str, Indices]
    """Kind -> frame indices, once each, in order."""
    copies: Counter[int] = field(default_factory=Counter)
    """Frame -> how often it was sent more than once."""
    packets: Counter[str] = field(default_factory=Counter)

    def of(self, *kinds: str) -> Indices:
        """Return the frames hurt in one of these ways, once each, in order."""
        found = [self.kinds[kind] for kind in kinds if kind in self.kinds]
        return distinct(np.concatenate(found)) if found else np.empty(0, np.int64)

    def words(self, *kinds: str) -> frozenset[int]:
        """Return the words of which a frame was hurt in one of these ways."""
        return frozenset(w for i in self.of(*kinds).tolist() if (w := word_of(i)) is not None)

    def utterances(self, *kinds: str) -> frozenset[int]:
        """Return the utterances, silences included, of which a frame was hurt in one of these ways."""
        return frozenset((self.of(*kinds) // UTTERANCE_FRAMES).tolist())

    def repeats(self, word: int) -> int:
        """Return how often a word may be heard once more, as most of its frames were sent again."""
        if not self.copies:
            return 0
        times = sorted((self.copies[i] for i in word_frames(word)), reverse=True)
        return times[WORD_FRAMES // 2]

    @cached_property
    def late_words(self) -> frozenset[int]:
        """Return the words that may come out of their place."""
        return self.words("reordered")

    @cached_property
    def unowed_words(self) -> frozenset[int]:
        """Return the words that need not come."""
        return self.words(*UNOWED)


_known: WeakKeyDictionary[History, dict[int, Injections]] = WeakKeyDictionary()


def injections(history: History, speaker: int) -> Injections:
    """Return what was done to this speaker's packets."""
    known = _known.setdefault(history, {})
    if speaker not in known:
        known[speaker] = _read(history, speaker)
    return known[speaker]


def _read(history: History, speaker: int) -> Injections:
    runs: dict[str, list[Indices]] = {}
    copies: Counter[int] = Counter()
    packets: Counter[str] = Counter()
    for hurt in history.all(ev.PacketHurt):
        if hurt.speaker != speaker:
            continue
        frames = np.arange(hurt.first_index, hurt.first_index + hurt.frames, dtype=np.int64)
        runs.setdefault(hurt.how, []).append(frames)
        packets[hurt.how] += 1
        for index in frames.tolist() if hurt.copies else ():
            copies[index] += hurt.copies
    return Injections({how: distinct(np.concatenate(found)) for how, found in runs.items()}, copies, packets)


def is_on_packets(history: History, window: FaultWindow) -> bool:
    """Tell whether all that a fault does is written down packet by packet: then nothing else is its doing."""
    targets = {e.number: e.target for e in history.all(ev.Injecting)}
    return all(one.startswith(PACKETS_OF) for one in targets.get(window.number, "").split(", "))


def other_windows(history: History) -> tuple[FaultWindow, ...]:
    """Return the faults that landed and are not on packets: what is lost during those may be theirs."""
    return tuple(window for window in fault_windows(history) if not is_on_packets(history, window))
