"""The PCM code: what one 20 ms frame of a speaker sounds like, and where its stamps are in a run of bytes.

A frame is 20 stamps of 16 samples. In each sample the high byte is a voice and the low byte is code: a stamp's
16 low bytes say speaker, frame index and position in the frame, proved by 64 bits of hash. So any 63 bytes of a frame
name it, and every one of its 640 bytes can be checked. Whole numbers only: the same samples on every machine.
"""

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SAMPLE_RATE = 16_000
"""Samples per second, mono, signed 16 bits, little endian (the phone's audio format)."""
FRAME_MS = 20
FRAME_SAMPLES = 320
FRAME_BYTES = 640
WORD_FRAMES = 10
UTTERANCE_WORDS = 5
SILENCE_FRAMES = 20
UTTERANCE_FRAMES = WORD_FRAMES * UTTERANCE_WORDS + SILENCE_FRAMES
MAX_SPEAKER = 0xFFFF
INDICES = 1 << 32
"""Frame indices run from 0 to INDICES - 1."""

STAMPS = 20
STAMP_SAMPLES = FRAME_SAMPLES // STAMPS
STAMP_BYTES = 2 * STAMP_SAMPLES

_MARK = 0xA7
_VOICES = 8
_SPEECH_FRAMES = WORD_FRAMES * UTTERANCE_WORDS
_WORD_SAMPLES = WORD_FRAMES * FRAME_SAMPLES
_WINDOW = STAMP_BYTES + 1
_U64 = np.dtype("<u8")
_MARKED = (np.uint64(_MARK) << np.uint64(56)) | (np.arange(STAMPS, dtype=_U64) << np.uint64(48))

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class Stamps:
    """Stamps found in a run of bytes, in stream order; all columns have the same length."""

    start: npt.NDArray[np.int64]
    """Where the stamp's frame begins, as an offset into the bytes searched, if nothing was lost before the stamp."""
    position: npt.NDArray[np.int64]
    """Which of the frame's 20 stamps this is."""
    speaker: npt.NDArray[np.uint16]
    index: npt.NDArray[np.uint32]
    swapped: npt.NDArray[np.bool_]
    """True where the two bytes of each sample are exchanged."""
    exact: npt.NDArray[np.bool_]
    """True where all 32 bytes are right, not only the 16 that carry the code."""

    @property
    def begin(self) -> npt.NDArray[np.int64]:
        """Where each stamp itself begins."""
        return self.start + STAMP_BYTES * self.position

    def beginning_at(self, offset: int) -> "Stamps":
        """Leave out the stamps that begin before an offset."""
        late = self.begin >= offset
        if late.all():
            return self
        return Stamps(
            self.start[late], self.position[late], self.speaker[late],
            self.index[late], self.swapped[late], self.exact[late],
        )  # fmt: skip


def encode(speaker: int, first: int, count: int) -> bytes:
    """Give `count` frames of a speaker from index `first`, as s16le mono at 16 kHz (640 bytes a frame).

    Raises ValueError when the speaker is outside 1..65535 or an index outside 0..2**32 - 1.
    """
    return frames(speaker, first, count).tobytes()


def frames(speaker: int, first: int, count: int, *, swapped: bool = False) -> Bytes:
    """Give frames as bytes of shape (count, 640); `swapped` exchanges the bytes of each sample.

    Raises ValueError when the speaker is outside 1..65535 or an index outside 0..2**32 - 1.
    """
    if not 1 <= speaker <= MAX_SPEAKER:
        message = f"a speaker is a number from 1 to {MAX_SPEAKER}, but this one is {speaker}"
        raise ValueError(message)
    if count < 0 or first < 0 or first + count > INDICES:
        message = f"frame indices run from 0 to {INDICES - 1}, but {count} frames from {first} were asked for"
        raise ValueError(message)
    index = np.arange(first, first + count, dtype=_U64)
    words = (_MARKED | np.uint64(speaker)) | (index << np.uint64(16))[:, None]
    proof = _mix(words)
    low = np.empty((count, STAMPS, 2), _U64)
    low[:, :, 0] = proof
    low[:, :, 1] = words ^ proof
    samples = low.view(np.uint8).reshape(count, FRAME_SAMPLES).astype("<u2")
    samples |= _voiced_words()[speaker % _VOICES, (index % np.uint64(UTTERANCE_FRAMES)).astype(np.intp)]
    if swapped:
        samples = samples.byteswap()
    return samples.view(np.uint8).reshape(count, FRAME_BYTES)


def find_stamps(data: Bytes) -> Stamps:
    """Find every stamp that lies wholly in `data`, at any byte offset and in either byte order.

    The first byte only serves to tell the byte order of a stamp that begins right behind it; a stamp needs one byte
    on either side of its 31 code bytes. A stamp that is not there is found with a chance of 2**-64 per offset.
    """
    offsets = max(0, data.size - _WINDOW + 1)
    mark = data[15 : 15 + offsets] ^ data[31 : 31 + offsets]
    at = np.flatnonzero(mark == _MARK)
    windows: Bytes = np.ndarray((offsets, _WINDOW), np.uint8, buffer=data, strides=(1, 1))[at]
    code = np.ascontiguousarray(windows[:, 1::2]).view(_U64)
    words = code[:, 0] ^ code[:, 1]
    position = ((words >> np.uint64(48)) & np.uint64(0xFF)).astype(np.int64)
    speaker = words.astype(np.uint16)
    proved = (_mix(words) == code[:, 0]) & (position < STAMPS) & (speaker > 0)
    if not proved.all():
        at, windows, words, position, speaker = (
            at[proved], windows[proved], words[proved], position[proved], speaker[proved]
        )  # fmt: skip
    index = (words >> np.uint64(16)).astype(np.uint32)
    voice = _voices()[speaker % _VOICES, index % UTTERANCE_FRAMES, position]
    right = (windows[:, 2::2] == voice).sum(axis=1)
    right_swapped = (windows[:, 0:-1:2] == voice).sum(axis=1)
    swapped = right_swapped > right
    return Stamps(
        start=at + 1 - STAMP_BYTES * position - swapped,
        position=position,
        speaker=speaker,
        index=index,
        swapped=swapped,
        exact=np.maximum(right, right_swapped) == STAMP_SAMPLES,
    )


def _mix(words: Words) -> Words:
    """Hash 64 bits to 64 bits: the finaliser of SplitMix64 (Steele, Lea, Flood 2014) behind a key."""
    mixed = words ^ np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


@functools.cache
def _voices() -> Bytes:
    """Give the high bytes of every voice's utterance, of shape (8, 70, 20, 16).

    Three harmonics under a word's rise and fall, |sample| <= 12000; in silence |sample| <= 512. The noise in the two
    lowest bits keeps neighbours different, which is what tells the byte order.
    """
    shape = (_VOICES, UTTERANCE_FRAMES, STAMPS, STAMP_SAMPLES)
    count = UTTERANCE_FRAMES * FRAME_SAMPLES
    noise = (_mix(np.arange(_VOICES * count, dtype=_U64)).reshape(_VOICES, count) & np.uint64(3)).astype(np.int64) - 2
    sample = np.arange(_SPEECH_FRAMES * FRAME_SAMPLES, dtype=np.int64)
    in_word, word = sample % _WORD_SAMPLES, sample // _WORD_SAMPLES
    loudness = np.minimum(np.minimum(in_word, _WORD_SAMPLES - 1 - in_word) + 40, 400)
    high = noise
    for voice in range(_VOICES):
        pitch_hz = 95 + 18 * voice
        tone = sum(
            (_wave(sample * pitch_hz * harmonic) * (1 + (word + harmonic) % 3) for harmonic in (1, 2, 3)),
            start=np.zeros_like(sample),
        )
        high[voice, : sample.size] += tone * loudness * 44 // (6 * 400 * 32768)
    return high.astype(np.int8).view(np.uint8).reshape(shape)


@functools.cache
def _voiced_words() -> npt.NDArray[np.uint16]:
    """Give the voices as samples whose low byte is still empty, of shape (8, 70, 320)."""
    return (_voices().astype("<u2") << np.uint16(8)).reshape(_VOICES, UTTERANCE_FRAMES, FRAME_SAMPLES)


def _wave(turns: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Give a sine-like wave of amplitude 32768 made of parabolas; one period is SAMPLE_RATE turns."""
    phase = (turns * 65536 // SAMPLE_RATE) & 0xFFFF
    half = phase & 0x7FFF
    arch = (half * (0x8000 - half)) >> 13
    return np.where(phase < 0x8000, arch, -arch)
