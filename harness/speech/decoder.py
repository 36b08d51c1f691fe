"""Reading the PCM code from a stream of bytes, however it is cut into chunks.

While the stream goes on as predicted from the last frame, chunks are only compared with the prediction; all else is
searched for stamps.
"""

import numpy as np

from harness.speech.code import FRAME_BYTES, INDICES, frames
from harness.speech.heard import NOTHING, Damage, Heard, joined
from harness.speech.pieces import KEEP_BYTES, Settled, settle

_AHEAD_FRAMES = 128
"""Frames predicted at a time, at most: 80 KB a decoder."""
_FIRST_AHEAD_FRAMES = 8
_SLICE_BYTES = 32_000
_WORTH_A_SEARCH_BYTES = 256
"""A search costs as much as 100 comparisons, so a stream of tiny chunks is not searched at each of them."""


class _Ahead:
    """The bytes a stream goes on with if nothing happens, and how far it has come.

    The first frame of `block` is the one heard last, so that there is always a byte before the next.
    """

    __slots__ = ("at", "block", "damage", "first", "index", "offset", "offsets", "speaker", "swapped")

    def __init__(self, speaker: int, index: int, damage: int, offset: int, count: int) -> None:
        count = min(count + 1, INDICES - index)
        self.first = (speaker, index, damage, offset)
        self.swapped = bool(damage & Damage.SWAPPED)
        self.block = frames(speaker, index, count, swapped=self.swapped).tobytes()
        self.at = FRAME_BYTES
        self.speaker = np.full(count, speaker, np.uint16)
        self.index = np.arange(index, index + count).astype(np.uint32)
        self.damage = np.full(count, damage, np.uint8)
        self.offset = offset
        self.offsets = offset + FRAME_BYTES * np.arange(count, dtype=np.int64)

    def renewed(self) -> "_Ahead | None":
        """Predict from the end of this block, further than before; None behind the greatest index there is."""
        speaker, index, damage, offset = self.first
        last = len(self.block) // FRAME_BYTES - 1
        if index + last + 1 >= INDICES:
            return None
        return _Ahead(speaker, index + last, damage, offset + last * FRAME_BYTES, min(2 * last, _AHEAD_FRAMES))

    def follow(self, data: bytes, at: int) -> tuple[int, Heard]:
        """Go on while `data` from `at` is as predicted; give how many bytes were, and the frames they completed."""
        begin = self.at
        length = min(len(data) - at, len(self.block) - begin)
        seen = data[at : at + length]
        if self.block[begin : begin + length] != seen:
            spoken = np.frombuffer(self.block, np.uint8, length, begin)
            length = int((spoken != np.frombuffer(seen, np.uint8)).argmax())
        self.at = begin + length
        first, last = begin // FRAME_BYTES, self.at // FRAME_BYTES
        if first == last:
            return length, NOTHING
        done = slice(first, last)
        return length, Heard(self.speaker[done], self.index[done], self.damage[done], self.offsets[done], 0)


class Decoder:
    """Hears frames in one stream of PCM bytes; needs no alignment, and chunks may be of any size.

    A frame whose 640 bytes all came in their order is given as intact, also when it came twice or out of turn.
    A damaged frame is named when 63 of its bytes came unharmed; less than that counts as stray bytes. So does
    everything else that is no frame: silence of zeros, noise, packet headers.
    """

    def __init__(self) -> None:
        """Begin a stream at offset 0."""
        self.reset()

    def reset(self) -> None:
        """Forget the stream; the next byte is byte 0 of another."""
        self._ahead: _Ahead | None = None
        self._held = bytearray(1)  # from the byte before `_settled_to` on
        self._origin = -1  # stream offset of `_held[0]`
        self._owned_to = 0  # where the last frame ended
        self._settled_to = 0  # up to where every byte was given to a frame or counted as stray
        self._unsearched = 0

    def feed(self, data: bytes) -> Heard:
        """Take the next bytes and give the frames settled by them.

        An intact frame is given when its last byte comes, a damaged one at most 1,400 bytes later; just after damage
        either can take 255 bytes more.
        """
        at, size = 0, len(data)
        parts: list[Heard] = []
        while at < size:
            if self._ahead and self._ahead.at == len(self._ahead.block):
                self._predict_on()
            if self._ahead:
                length, heard = self._ahead.follow(data, at)
                at += length
                if at < size and self._ahead.at < len(self._ahead.block):
                    self._leave_prediction()
            else:
                piece = data[at : at + _SLICE_BYTES]
                at += len(piece)
                self._held += piece
                self._unsearched += len(piece)
                heard = self._search() if self._unsearched >= _WORTH_A_SEARCH_BYTES else NOTHING
            if len(heard) or heard.stray_bytes:
                parts.append(heard)
        return joined(parts)

    def finish(self) -> Heard:
        """End the stream and give what was still open; the next byte fed is byte 0 of another stream."""
        if self._ahead:
            self._leave_prediction()
        heard = self._search(final=True)
        self.reset()
        return heard

    def _predict_on(self) -> None:
        """Predict the next frames, or fall back to searching behind the greatest index."""
        if not self._ahead:
            return
        renewed = self._ahead.renewed()
        if renewed is None:
            self._leave_prediction()
        self._ahead = renewed

    def _leave_prediction(self) -> None:
        """Go over to searching, with the part of the next frame that had already come."""
        ahead = self._ahead
        if ahead is None:
            return
        begun = ahead.at // FRAME_BYTES * FRAME_BYTES
        self._held = bytearray(ahead.block[begun - 1 : ahead.at])
        self._owned_to = self._settled_to = ahead.offset + begun
        self._origin = self._owned_to - 1
        self._unsearched = ahead.at - begun
        self._ahead = None

    def _search(self, *, final: bool = False) -> Heard:
        """Look for frames in the bytes held; let go of those that are settled."""
        self._unsearched = 0
        parts: list[Heard] = []
        again = True
        while again:
            origin = self._origin
            settled = settle(
                np.frombuffer(bytes(self._held), np.uint8),
                odd=bool(origin & 1),
                owned_to=self._owned_to - origin,
                final=final,
            )
            stray = self._let_go(settled, final=final)
            parts.append(Heard(settled.speaker, settled.index, settled.damage, settled.begin + origin, stray))
            again = settled.again
        if settled.begin.size and not final:
            self._predict(settled)
        return joined(parts)

    def _let_go(self, settled: Settled, *, final: bool) -> int:
        """Drop the bytes that are settled from those held; count the stray ones among them."""
        origin = self._origin
        stray = 0
        if settled.begin.size:
            ends = np.concatenate(([self._settled_to - origin], settled.end))
            stray = int((settled.begin - ends[:-1]).sum())
            self._owned_to = self._settled_to = int(ends[-1]) + origin
        spare = len(self._held) + origin if final else len(self._held) + origin - KEEP_BYTES
        if not settled.waiting and spare > self._settled_to:
            stray += spare - self._settled_to
            self._settled_to = spare
        del self._held[: self._settled_to - 1 - origin]
        self._origin = self._settled_to - 1
        return stray

    def _predict(self, settled: Settled) -> None:
        """Go over to comparing when the last frame was whole and all bytes behind it go on as predicted."""
        damage, begun = int(settled.damage[-1]), len(self._held) - 1
        if damage & (Damage.CUT | Damage.CORRUPT) or begun >= FRAME_BYTES or self._settled_to != self._owned_to:
            return
        index, offset = int(settled.index[-1]), self._owned_to - FRAME_BYTES
        if index + 1 >= INDICES:
            return
        ahead = _Ahead(int(settled.speaker[-1]), index, damage, offset, _FIRST_AHEAD_FRAMES)
        if ahead.block[FRAME_BYTES : FRAME_BYTES + begun] == self._held[1:]:
            ahead.at += begun
            self._ahead = ahead
