"""What the rig sees of its own run while it goes on: the record files of the other processes, read as they grow.

Live looks pace a story; they never judge it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from harness import events as ev
from harness.clock import SECOND_NS, now_ns
from harness.frames import FRAME, MAGIC, Flag, Hop
from harness.history import read_new_events
from harness.speech import FRAME_MS, SILENCE_FRAMES, UTTERANCE_FRAMES, UTTERANCE_WORDS, word_frames
from harness.waiting import NotYet

E = TypeVar("E", bound=ev.Event)
Indices = NDArray[np.uint32]
LOOK_EVERY_S = 0.03
FRAME_NS = FRAME_MS * 1_000_000
LATE_NS = SECOND_NS
"""A final is due this long after its utterance was spoken; later it counts as missing for the live view."""


class Live:
    """Follows the record files of ears and phones."""

    def __init__(self, run_dir: Path, epoch_ns: int) -> None:
        """Follow ``run_dir``; frame 0 was spoken at ``epoch_ns``."""
        self.run_dir, self.epoch_ns = run_dir, epoch_ns
        self.events: list[ev.AnyEvent] = []
        self._offsets: dict[Path, int] = {}
        self._finals: dict[int, dict[int, int]] = {}

    async def follow(self) -> None:
        """Read on for ever."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    def look(self) -> None:
        """Read what is new."""
        for path in (self.run_dir / "events").glob("*.jsonl"):
            if path.name in {"rig.jsonl", "links.jsonl", "janitor.jsonl"}:
                continue
            fresh, self._offsets[path] = read_new_events(path, self._offsets.get(path, 0))
            for event in fresh:
                self.events.append(event)
                if isinstance(event, ev.Caption) and event.final and event.hop == "app-in":
                    words = self._finals.setdefault(event.speaker, {})
                    for word in event.words:
                        words.setdefault(word, event.t_ns)

    def first(self, kind: type[E], where: Callable[[E], bool], after_ns: int = 0) -> E | None:
        """Return the first event of a kind after a time for which ``where`` holds."""
        return next((e for e in self.events if isinstance(e, kind) and e.t_ns >= after_ns and where(e)), None)

    def finals(self, speaker: int) -> dict[int, int]:
        """Return word -> time of its first final at the app, for one speaker."""
        return self._finals.get(speaker, {})

    def gapless_from(self, speaker: int, since_ns: int) -> int:
        """Return the moment (>= ``since_ns``) from which no spoken frame is missing at the app.

        A word counts as captioned when most of its frames were heard, so the first utterance of a flow may lack the
        frames spoken while the phone's room was still being joined; steadiness begins after those.
        """
        mine = self._heard(speaker)
        first = max(0, (since_ns - self.epoch_ns) // FRAME_NS)
        late = np.unique(mine[mine >= first])
        if len(late) == 0:
            return since_ns
        gaps = np.flatnonzero(np.diff(late) != 1)
        begin = int(late[gaps[-1] + 1]) if len(gaps) else int(late[0])
        return max(since_ns, self.epoch_ns + begin * FRAME_NS + 1)  # 1 ns after the missing frame was spoken

    def heard_until(self, speaker: int) -> int | None:
        """Return when the last frame that came to the app was fully spoken; None when none ever came."""
        mine = self._heard(speaker)
        return self.epoch_ns + (int(mine.max()) + 1) * FRAME_NS if len(mine) else None

    def _heard(self, speaker: int) -> Indices:
        """Return the indices of the frames that came to the app whole."""
        path = self.run_dir / "frames" / "ears.bin"
        data = path.read_bytes()[len(MAGIC) :] if path.exists() else b""
        heard = np.frombuffer(data[: len(data) - len(data) % FRAME.itemsize], FRAME)
        whole = (heard["flags"] & int(Flag.CUT)) == 0
        mine: Indices = heard[whole & (heard["hop"] == int(Hop.CLOUD_IN)) & (heard["speaker"] == speaker)]["index"]
        return mine

    def spoken_ns(self, word: int) -> int:
        """Return when a word was begun."""
        return self.epoch_ns + word_frames(word).start * FRAME_NS


@dataclass(frozen=True)
class Flow:
    """A probe: captions of one person flow, utterance after utterance, without a missing word."""

    person: str
    speaker: int

    def steady(self, live: Live, for_s: float) -> int | NotYet:
        """Return since when (ns) words came without a gap, utterance after utterance, once that is ``for_s`` ago."""
        words = live.finals(self.speaker)
        if not words:
            return NotYet(f"no final caption of {self.person} yet")
        now = now_ns()
        last = max(words)
        if last % UTTERANCE_WORDS != UTTERANCE_WORDS - 1:
            return NotYet(f"the last word of utterance {last // UTTERANCE_WORDS} of {self.person} is missing")
        due = (now - LATE_NS - live.epoch_ns) // FRAME_NS + SILENCE_FRAMES
        if (last // UTTERANCE_WORDS + 2) * UTTERANCE_FRAMES <= due:
            return NotYet(f"no caption of {self.person} after utterance {last // UTTERANCE_WORDS}")
        since = live.spoken_ns(_unbroken(words, last))
        if now - since < for_s * SECOND_NS:
            return NotYet(f"captions of {self.person} flow for {(now - since) / SECOND_NS:.1f} s of {for_s:.1f} s")
        return since

    def heard_after(self, live: Live, anchor_ns: int) -> int | NotYet:
        """Return when the first final came for a word spoken after the anchor."""
        for word, t_ns in sorted(live.finals(self.speaker).items()):
            if live.spoken_ns(word) >= anchor_ns:
                return t_ns
        return NotYet(f"no final caption for words {self.person} spoke after the anchor")

    def flows_after(self, live: Live, anchor_ns: int) -> int | NotYet:
        """Return when the first word was begun from which on, after the anchor, none is missing to an utterance's end.

        At least three words of one utterance: one word alone could be a stale scrap.
        """
        words = live.finals(self.speaker)
        for last in sorted(word for word in words if word % UTTERANCE_WORDS == UTTERANCE_WORDS - 1):
            first = _unbroken(words, last)
            while first < last and live.spoken_ns(first) < anchor_ns:
                first += 1
            if live.spoken_ns(first) >= anchor_ns and last - first >= 2:
                return live.spoken_ns(first)
        return NotYet(f"no end of an utterance of {self.person} after the anchor")


def _unbroken(words: Mapping[int, int], last: int) -> int:
    """Return the first word of the unbroken series that ends with ``last``."""
    first = last
    while first - 1 in words:
        first -= 1
    return first
