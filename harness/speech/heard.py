"""What was heard: frames as columns, the damage to each, and how well their order held."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Damage(enum.IntFlag):
    """What is wrong with a frame; a frame with no flag has all its 640 bytes right, at an even offset."""

    NONE = 0
    SWAPPED = 1
    """The two bytes of each sample are exchanged."""
    SLIPPED = 2
    """It begins at an odd byte of the stream, or an odd number of bytes came or went inside it."""
    CUT = 4
    """A part of it is gone: the next frame begins too early, it begins too late, or the stream ended."""
    CORRUPT = 8
    """Bytes are wrong, or foreign bytes stand inside it."""


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """Frames in the order of the stream; the columns have equal length."""

    speaker: npt.NDArray[np.uint16]
    index: npt.NDArray[np.uint32]
    damage: npt.NDArray[np.uint8]
    """`Damage` flags."""
    offset: npt.NDArray[np.int64]
    """Stream offset of the frame's first byte that is there."""
    stray_bytes: int
    """Bytes that belong to no frame, settled since the last call."""

    def __len__(self) -> int:
        """Count the frames."""
        return self.index.size


NOTHING = Heard(
    np.empty(0, np.uint16), np.empty(0, np.uint32), np.empty(0, np.uint8), np.empty(0, np.int64), stray_bytes=0
)


def joined(parts: Sequence[Heard]) -> Heard:
    """Put parts behind one another."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return NOTHING
    return Heard(
        np.concatenate([part.speaker for part in parts]),
        np.concatenate([part.index for part in parts]),
        np.concatenate([part.damage for part in parts]),
        np.concatenate([part.offset for part in parts]),
        sum(part.stray_bytes for part in parts),
    )


class Order(NamedTuple):
    """How a run of frame indices departs from counting up by one."""

    duplicates: int
    """Frames that had already come."""
    backwards: int
    """Frames that came for the first time, but after a later one."""
    missing: int
    """Indices between the least and the greatest that never came."""


def order(index: npt.NDArray[np.uint32]) -> Order:
    """Count duplicates, late comers and gaps in one speaker's frame indices, in the order they were heard."""
    if not index.size:
        return Order(0, 0, 0)
    distinct, first_at = np.unique(index, return_index=True)
    greatest_yet = np.maximum.accumulate(index)
    span = int(distinct[-1]) - int(distinct[0]) + 1
    return Order(
        duplicates=index.size - distinct.size,
        backwards=int((index[first_at] < greatest_yet[first_at]).sum()),
        missing=span - distinct.size,
    )
