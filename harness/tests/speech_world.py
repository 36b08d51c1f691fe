"""What the tests of the PCM code use: rubbish, rows to compare, and ways to cut a stream up."""

import functools

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from harness.speech import (
    FRAME_BYTES,
    Damage,
    Decoder,
)
from harness.speech.heard import Heard, joined

WHOLE = Damage.NONE
WEIGHED = 517046391248
SPEAKERS = st.integers(1, 0xFFFF)
FIRSTS = st.integers(0, 2**32 - 40)
QUICK = settings(max_examples=25, deadline=None, database=None)
CHUNKINGS = st.lists(st.integers(1, 3199), min_size=1, max_size=6)


@functools.cache
def noise(length: int, seed: int = 1) -> bytes:
    return np.random.default_rng(seed).bytes(length)


def swap(audio: bytes) -> bytes:
    return np.frombuffer(audio, "<u2").byteswap().tobytes()


def hear(*chunks: bytes) -> Heard:
    decoder = Decoder()
    parts = [*[decoder.feed(chunk) for chunk in chunks], decoder.finish()]
    assert all(part.stray_bytes >= 0 for part in parts)
    return joined(parts)


def rows(heard: Heard) -> list[tuple[int, int, Damage, int]]:
    """(speaker, index, damage, offset) of every frame."""
    return [
        (int(speaker), int(index), Damage(int(damage)), int(offset))
        for speaker, index, damage, offset in zip(heard.speaker, heard.index, heard.damage, heard.offset, strict=True)
    ]


def run(
    speaker: int, first: int, count: int, damage: Damage = WHOLE, offset: int = 0
) -> list[tuple[int, int, Damage, int]]:
    return [(speaker, first + i, damage, offset + i * FRAME_BYTES) for i in range(count)]


def cut_up(audio: bytes, sizes: list[int]) -> list[bytes]:
    chunks: list[bytes] = []
    at = 0
    while at < len(audio):
        size = sizes[len(chunks) % len(sizes)]
        chunks.append(audio[at : at + size])
        at += size
    return chunks
