"""Who was heard where and when: fixed-width records of 16 bytes in ``frames/<proc>.bin``, read by numpy."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAGIC: Final = b"AFTERSHOCKFRAME1"
"""The first 16 bytes of a frame file: its name and schema number; as long as one record."""

FRAME: Final = np.dtype([("t_ns", "<u8"), ("index", "<u4"), ("speaker", "<u2"), ("hop", "u1"), ("flags", "u1")])
"""One record: when (CLOCK_MONOTONIC), which frame, who spoke it, where it was heard, flags. 16 bytes."""


class Hop(enum.IntEnum):
    """The hops that carry PCM; text hops are :class:`harness.events.Caption` events."""

    PHONE_OUT = 1
    SFU = 2
    BRIDGE_OUT = 3
    CLOUD_IN = 4
    STT_IN = 5


class Flag(enum.IntFlag):
    """What is special about a record."""

    NONE = 0
    NO_ROOM = 1
    """Spoken while the phone had no room (fallback off): discarded, counts as lost."""
    SENT = 2
    """A second record of the frame at phone-out: when it left the data channel."""
    FALLBACK = 4
    """Went out as a WS binary message."""
    MIC_OFF = 8
    """Spoken while the cloud had the microphone off: not captured, counts as lost."""
    SWAPPED = 16
    """Heard with its bytes swapped."""
    SLIPPED = 32
    """Heard one byte off."""
    CUT = 64
    """A lost packet took a part of it: loss, no damage."""
    CORRUPT = 128
    """Heard with wrong bytes."""


HOPS: Final = ("phone-out", "sfu", "bridge-out", "cloud-in", "stt-in", "stt-out", "app-in", "phone-display")
"""All hops in the order of the audio path."""

HOP_NAME: Final = {
    Hop.PHONE_OUT: "phone-out", Hop.SFU: "sfu", Hop.BRIDGE_OUT: "bridge-out", Hop.CLOUD_IN: "cloud-in",
    Hop.STT_IN: "stt-in",
}  # fmt: skip

DAMAGE: Final = Flag.SWAPPED | Flag.SLIPPED | Flag.CORRUPT


def records(
    t_ns: int, hop: Hop, speaker: int | NDArray[np.uint16], index: NDArray[np.uint32], flags: int | NDArray[np.uint8]
) -> NDArray[np.void]:
    """Return the records of one chunk: all heard at ``t_ns`` at ``hop``; ``index`` gives the count."""
    out = np.empty(len(index), FRAME)
    out["t_ns"], out["index"], out["speaker"], out["hop"], out["flags"] = t_ns, index, speaker, int(hop), flags
    return out
