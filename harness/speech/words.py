"""Words: which frames make a word or an utterance, and how a word is written in a caption.

An utterance is five words of ten frames and then twenty frames of silence; words are numbered through all utterances.
"""

import binascii
import re

from harness.speech.code import INDICES, MAX_SPEAKER, UTTERANCE_FRAMES, UTTERANCE_WORDS, WORD_FRAMES

_SPEECH_FRAMES = WORD_FRAMES * UTTERANCE_WORDS
_WORD = re.compile(r"(?<![a-z])s([1-9][0-9]{0,4})w(0|[1-9][0-9]{0,9})(?![0-9])", re.IGNORECASE | re.ASCII)


def is_silence(index: int) -> bool:
    """Tell whether the frame of this index is the silence after an utterance."""
    return index % UTTERANCE_FRAMES >= _SPEECH_FRAMES


def utterance_of(index: int) -> int:
    """Give the number of the utterance the frame belongs to; the silence belongs to the utterance before it."""
    return index // UTTERANCE_FRAMES


def word_of(index: int) -> int | None:
    """Give the number of the word the frame belongs to; None in silence."""
    if is_silence(index):
        return None
    return index // UTTERANCE_FRAMES * UTTERANCE_WORDS + index % UTTERANCE_FRAMES // WORD_FRAMES


def word_frames(word: int) -> range:
    """Give the ten frame indices of a word."""
    first = word // UTTERANCE_WORDS * UTTERANCE_FRAMES + word % UTTERANCE_WORDS * WORD_FRAMES
    return range(first, first + WORD_FRAMES)


def word_text(speaker: int, word: int) -> str:
    """Write a word as captions show it, such as `s1w120`."""
    return f"s{speaker}w{word}"


def parse_words(text: str) -> list[tuple[int, int]]:
    """Give every (speaker, word) that a caption names, in its order, and ignore the rest of the text."""
    named = ((int(speaker), int(word)) for speaker, word in _WORD.findall(text))
    return [(speaker, word) for speaker, word in named if speaker <= MAX_SPEAKER and word_frames(word)[-1] < INDICES]


def speaker_id(name: str) -> int:
    """Give the speaker number of a person, 1..65535: the CRC-16 (CCITT) of the name before any `@`, in lower case.

    Raises ValueError when there is no name before the `@`. Two names share a number with a chance of 1 in 65,000.
    """
    local = name.split("@", 1)[0].strip().lower()
    if not local:
        message = f"a speaker needs a name such as 'alice' or 'alice@example.com', but this one is {name!r}"
        raise ValueError(message)
    return binascii.crc_hqx(local.encode(), 0xFFFF) or MAX_SPEAKER
