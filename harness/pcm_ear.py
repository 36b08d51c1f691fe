"""How a place on the audio path writes down the PCM it hears: frames and damage of one stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.clock import SECOND_NS, now_ns
from harness.events import Damaged
from harness.frames import HOP_NAME, Flag, Hop
from harness.history import Recorder
from harness.speech import Damage, Decoder, Heard

TOLD_EVERY_NS = SECOND_NS
"""Damage of one kind is written down at once, then at most this often: a swapped stream is 25 chunks a second."""

_FLAG_SHIFT = 4  # Damage's four bits stand four bits higher in Flag
assert all(int(Damage[name]) << _FLAG_SHIFT == int(Flag[name]) for name in ("SWAPPED", "SLIPPED", "CUT", "CORRUPT"))
_KINDS = (("swapped", Damage.SWAPPED), ("slipped", Damage.SLIPPED), ("corrupt", Damage.CORRUPT))


@dataclass
class _Tally:
    count: int = 0
    near_index: int = -1
    told_ns: int = -TOLD_EVERY_NS


class PcmEar:
    """One PCM stream at one hop: decodes it and records its frames before anybody does anything with them."""

    def __init__(self, recorder: Recorder, hop: Hop, along: Callable[[Heard], None] | None = None) -> None:
        """Begin a stream; each connection is a stream of its own. ``along`` listens along with it."""
        self._recorder, self._hop, self._decoder, self._along = recorder, hop, Decoder(), along
        self._tallies: dict[str, _Tally] = {}
        self._last_index = -1

    def feed(self, data: bytes, *, t_ns: int | None = None) -> Heard:
        """Take the next bytes (s16le), record the frames they complete as heard now or at ``t_ns``; return them."""
        return self._write_down(self._decoder.feed(data), t_ns)

    def finish(self, *, t_ns: int | None = None) -> Heard:
        """End the stream: record (as heard now, or at ``t_ns``) what was open and return it; tell of damage."""
        heard = self._write_down(self._decoder.finish(), t_ns)
        for what, tally in self._tallies.items():
            self._tell(what, tally)
        return heard

    def _write_down(self, heard: Heard, t_ns: int | None) -> Heard:
        if len(heard):
            flags = (heard.damage << _FLAG_SHIFT).astype(np.uint8)
            self._recorder.frames(self._hop, heard.speaker, heard.index, flags, t_ns=t_ns)
            self._last_index = int(heard.index[-1])
            if self._along is not None:
                self._along(heard)
            if heard.damage.any():
                for what, bit in _KINDS:
                    damaged = np.flatnonzero(heard.damage & int(bit))
                    if len(damaged):
                        self._note(what, len(damaged), int(heard.index[damaged[0]]))
        if heard.stray_bytes:
            self._note("stray", heard.stray_bytes, self._last_index)
        return heard

    def _note(self, what: str, count: int, near_index: int) -> None:
        tally = self._tallies.setdefault(what, _Tally())
        if not tally.count:
            tally.near_index = near_index
        tally.count += count
        if now_ns() - tally.told_ns >= TOLD_EVERY_NS:
            self._tell(what, tally)

    def _tell(self, what: str, tally: _Tally) -> None:
        if not tally.count:
            return
        self._recorder.emit(Damaged(hop=HOP_NAME[self._hop], what=what, count=tally.count, near_index=tally.near_index))
        tally.count, tally.told_ns = 0, now_ns()
