"""The PCM code: what a phone says, and the decoder that tells on any hop which frames came, whole or how damaged."""

from harness.speech.code import (
    FRAME_BYTES,
    FRAME_MS,
    FRAME_SAMPLES,
    SAMPLE_RATE,
    SILENCE_FRAMES,
    UTTERANCE_FRAMES,
    UTTERANCE_WORDS,
    WORD_FRAMES,
    encode,
)
from harness.speech.decoder import Decoder
from harness.speech.heard import Damage, Heard, Order, order
from harness.speech.words import (
    is_silence,
    parse_words,
    speaker_id,
    utterance_of,
    word_frames,
    word_of,
    word_text,
)

__all__ = [
    "FRAME_BYTES",
    "FRAME_MS",
    "FRAME_SAMPLES",
    "SAMPLE_RATE",
    "SILENCE_FRAMES",
    "UTTERANCE_FRAMES",
    "UTTERANCE_WORDS",
    "WORD_FRAMES",
    "Damage",
    "Decoder",
    "Heard",
    "Order",
    "encode",
    "is_silence",
    "order",
    "parse_words",
    "speaker_id",
    "utterance_of",
    "word_frames",
    "word_of",
    "word_text",
]
