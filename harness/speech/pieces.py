"""Which frames a run of bytes holds, and what happened to those that are not whole.

Stamps that name the same frame one after another are a piece. A piece of all twenty is a whole frame; any other is
judged by its own bytes and by where its neighbours begin and end. The outcome depends on the stream alone, never on
how much of it was at hand: a piece is settled only when nothing that may still come can change it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.speech.code import FRAME_BYTES, STAMP_BYTES, STAMPS, Bytes, Stamps, find_stamps, frames
from harness.speech.heard import Damage

INSERTED_BYTES = FRAME_BYTES
"""Foreign bytes inside a frame, at most, for both sides of them still to count as one frame."""
KEEP_BYTES = 2 * FRAME_BYTES
"""Bytes without any stamp that may still turn out to be a frame's beginning, with a margin."""
_MARGIN = 2 * STAMP_BYTES

Offsets = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """Frames settled in a run of bytes; the columns have equal length; offsets count from the run's first byte."""

    speaker: npt.NDArray[np.uint16]
    index: npt.NDArray[np.uint32]
    damage: npt.NDArray[np.uint8]
    begin: Offsets
    end: Offsets
    """The frame's bytes are begin..end; the ranges do not overlap."""
    waiting: bool
    """True when stamps of more frames were found that are not settled yet."""
    again: bool
    """True when the bytes behind the last frame must be searched again now, without the stamps that reach into it."""


@dataclass(frozen=True, slots=True, eq=False)
class _Pieces:
    """Stamps, where each piece of them begins and ends, and which pieces are whole frames."""

    stamps: Stamps
    first: npt.NDArray[np.intp]
    last: npt.NDArray[np.intp]
    whole: npt.NDArray[np.bool_]


@dataclass(slots=True)
class _Extent:
    """A piece's nominal frame in the run of bytes, and the part of it whose bytes are right without a break."""

    begin: int
    end: int
    good_from: int
    good_to: int
    floor: int
    """Where the piece behind this one can begin at the earliest."""


def settle(data: Bytes, *, odd: bool, owned_to: int, final: bool) -> Settled:
    """Find the frames in `data` and settle all that later bytes cannot change; `final` means that none will come.

    Byte 0 of `data` is the byte before the first one in question; `odd` tells whether byte 0 is at an odd offset of
    the stream; bytes before `owned_to` belong to frames settled earlier.
    """
    # A stamp with exchanged bytes ends one byte before the window it is looked for in.
    stamps = find_stamps(np.append(data, np.uint8(0)) if final else data)
    pieces = _pieces(stamps.beginning_at(owned_to))
    stamps, first = pieces.stamps, pieces.first
    count = first.size - (0 if final or not first.size or _last_is_settled(pieces, data.size) else 1)
    begin = stamps.start[first]
    end = begin + FRAME_BYTES
    slipped = (begin + odd) & 1
    damage = (Damage.SWAPPED * stamps.swapped[first] + Damage.SLIPPED * slipped).astype(np.uint8)
    extents: dict[int, _Extent] = {}
    for piece in np.flatnonzero(~pieces.whole[:count]).tolist():
        before = int(end[piece - 1]) if piece else owned_to
        damage[piece], begin[piece], end[piece] = _judge(data, pieces, piece, extents, before, odd=odd, final=final)
    # When bytes at a frame's end are gone, the next one's first bytes can stand in for them by chance: first come,
    # first served.
    overlapping = np.flatnonzero(stamps.begin[first[1 : count + 1]] < end[: first.size - 1][:count])
    if overlapping.size:
        count = int(overlapping[0]) + 1
    return Settled(
        speaker=stamps.speaker[first[:count]],
        index=stamps.index[first[:count]],
        damage=damage[:count],
        begin=begin[:count],
        end=end[:count],
        waiting=count < first.size,
        again=overlapping.size > 0,
    )


def _pieces(stamps: Stamps) -> _Pieces:
    """Part the stamps where another frame begins, or the same one again."""
    total = stamps.start.size
    if not total:
        nowhere = np.empty(0, np.intp)
        return _Pieces(stamps, nowhere, nowhere, np.empty(0, np.bool_))
    step = np.diff(stamps.start)
    same = (stamps.index[1:] == stamps.index[:-1]) & (stamps.speaker[1:] == stamps.speaker[:-1])
    same &= (stamps.position[1:] > stamps.position[:-1]) & (step <= INSERTED_BYTES) & (step > -FRAME_BYTES)
    first = np.concatenate((np.zeros(1, np.intp), np.flatnonzero(~same) + 1))
    last = np.append(first[1:], total) - 1
    whole = last - first == STAMPS - 1
    whole &= np.logical_and.reduceat(stamps.exact, first)
    whole &= np.minimum.reduceat(stamps.start, first) == np.maximum.reduceat(stamps.start, first)
    whole &= np.minimum.reduceat(stamps.swapped, first) == np.maximum.reduceat(stamps.swapped, first)
    return _Pieces(stamps, first, last, whole)


def _last_is_settled(pieces: _Pieces, size: int) -> bool:
    """Tell whether no byte behind the first `size` can add to the last piece or cut into it."""
    if pieces.whole[-1]:
        return True
    stamps = pieces.stamps
    may_grow = 0 if stamps.position[-1] == STAMPS - 1 else INSERTED_BYTES
    return size >= int(stamps.start[-1]) + FRAME_BYTES + may_grow + _MARGIN + STAMP_BYTES


def _judge(
    data: Bytes, pieces: _Pieces, piece: int, extents: dict[int, _Extent], before: int, *, odd: bool, final: bool
) -> tuple[Damage, int, int]:
    """Say what happened to a frame that is not whole, and which bytes are its own; `before` ends the frame before."""
    stamps = pieces.stamps
    span = slice(pieces.first[piece], pieces.last[piece] + 1)
    start, position, exact = stamps.start[span], stamps.position[span], stamps.exact[span]
    extent = _extent(data, pieces, piece, extents, before)
    follows = piece + 1 < pieces.first.size
    next_from = _extent(data, pieces, piece + 1, extents, before).good_from if follows else data.size
    head_lost = extent.begin < before
    tail_lost = next_from < extent.end and (follows or final)
    steps = np.diff(start)

    damage = Damage.NONE
    if head_lost or tail_lost or bool((steps < 0).any()):
        damage |= Damage.CUT
    unread = bool(((steps == 0) & (np.diff(position) > 1)).any())
    # A stamp beside a cut, with a chance byte of what came to stand there, is not wrong for that.
    beside = np.concatenate(([head_lost], steps < 0)) | np.concatenate((steps < 0, [tail_lost]))
    if damage is Damage.NONE or unread or not (exact | beside).all() or bool((steps > 0).any()):
        damage |= Damage.CORRUPT
    if stamps.swapped[span].any():
        damage |= Damage.SWAPPED
    odd_step = bool((steps & 1).any())
    odd_cut = tail_lost and follows and bool((int(stamps.start[pieces.first[piece + 1]]) - extent.end) & 1)
    if odd_step or odd_cut or bool(((start + odd) & 1).any()):
        damage |= Damage.SLIPPED

    own_from = max(extent.good_from, before) if head_lost else extent.begin
    own_to = min(extent.good_to, next_from) if tail_lost else extent.end
    return damage, own_from, own_to


def _extent(data: Bytes, pieces: _Pieces, piece: int, extents: dict[int, _Extent], before: int) -> _Extent:
    """Measure how far a piece's bytes are right beyond its first and last stamp; measured once per piece."""
    if piece in extents:
        return extents[piece]
    stamps, first, last = pieces.stamps, int(pieces.first[piece]), int(pieces.last[piece])
    begin, end = int(stamps.start[first]), int(stamps.start[last]) + FRAME_BYTES
    extent = _Extent(begin, end, begin, end, end)
    if not pieces.whole[piece]:
        floor = max(before, _extent(data, pieces, piece - 1, extents, before).floor) if piece else before
        # A stamp at a cut may have chance bytes of what came to stand there in it, so not all of it counts.
        head, tail = _spoken(stamps, first), _spoken(stamps, last)
        head_to = begin + _right_bytes(data, stamps, first, head).stop
        tail_right = _right_bytes(data, stamps, last, tail)
        tail_from = end - FRAME_BYTES + tail_right.start
        there = data[max(floor, begin, 0) : head_to]
        extent.good_from = head_to - _agreeing(there[::-1], head[: head_to - begin][::-1])
        extent.good_to = tail_from + _agreeing(data[tail_from:end], tail[tail_right.start :])
        extent.floor = end - FRAME_BYTES + tail_right.stop
    extents[piece] = extent
    return extent


def _spoken(stamps: Stamps, stamp: int) -> Bytes:
    """Give the 640 bytes of the frame that a stamp names, in the stamp's byte order."""
    swapped = bool(stamps.swapped[stamp])
    return frames(int(stamps.speaker[stamp]), int(stamps.index[stamp]), 1, swapped=swapped).reshape(FRAME_BYTES)


def _right_bytes(data: Bytes, stamps: Stamps, stamp: int, spoken: Bytes) -> range:
    """Give the longest run of right bytes in a stamp, as positions in the frame."""
    position, begin = int(stamps.position[stamp]) * STAMP_BYTES, int(stamps.begin[stamp])
    seen = data[begin : begin + STAMP_BYTES]  # a byte short when the stream ends inside the stamp's last sample
    wrong = seen != spoken[position : position + seen.size]
    edges = np.flatnonzero(np.concatenate(([True], wrong, [True])))
    longest = int(np.diff(edges).argmax())
    return range(position + int(edges[longest]), position + int(edges[longest + 1]) - 1)


def _agreeing(seen: Bytes, spoken: Bytes) -> int:
    """Count the leading bytes in which both agree."""
    length = min(seen.size, spoken.size)
    different = np.flatnonzero(seen[:length] != spoken[:length])
    return int(different[0]) if different.size else length
