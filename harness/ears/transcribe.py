"""From frames heard to the words of captions, as a recogniser would give them: words as they end, then the utterance.

Pure: what is heard is told in the order it was heard, and what is heard twice is told twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.speech import Heard, is_silence, utterance_of, word_frames, word_of

WORD_HEARD_FROM_FRAMES = 6
"""A word is heard from this many of its 10 frames on: more than half, so that a word cut in two by a reconnect is
recognised on one side at most, and one lost 40 ms packet (2 frames) costs no word."""
BYTES_PER_MS = 32
"""16 kHz, 16 bits, mono."""


@dataclass(frozen=True)
class Word:
    """A word that was heard: its global number, and where in the stream's audio it stood."""

    number: int
    start_ms: int
    end_ms: int


@dataclass(frozen=True)
class Spoken:
    """The words of one utterance of one speaker so far (``final`` False), or all of them (True)."""

    speaker: int
    words: tuple[Word, ...]
    final: bool


@dataclass
class _Utterance:
    """What was heard of an utterance since it was opened: how often each frame, and the words told."""

    times: dict[int, int] = field(default_factory=dict)
    told_times: dict[int, int] = field(default_factory=dict)
    first_ms: dict[int, int] = field(default_factory=dict)
    last_ms: dict[int, int] = field(default_factory=dict)
    words: list[Word] = field(default_factory=list)

    def hear(self, word: int, index: int, at_ms: int) -> None:
        self.times[index] = self.times.get(index, 0) + 1
        self.first_ms.setdefault(word, at_ms)
        self.last_ms[word] = at_ms + 20
        self.told_times.setdefault(word, 0)

    def tell(self, *, but: int | None = None) -> bool:
        """Take up every word heard once more than it was told, ``but`` for one that is still being spoken."""
        grew = False
        for word, told in self.told_times.items():
            if word == but:
                continue
            again = sum(self.times.get(index, 0) > told for index in word_frames(word))
            if again >= WORD_HEARD_FROM_FRAMES:
                self.words.append(Word(word, self.first_ms[word], self.last_ms[word]))
                self.told_times[word] = told + 1
                grew = True
        return grew


class Transcriber:
    """Hears one audio stream, of any number of speakers."""

    def __init__(self) -> None:
        """Begin with silence."""
        self._open: dict[int, dict[int, _Utterance]] = {}

    def hear(self, heard: Heard) -> list[Spoken]:
        """Take frames in stream order and return what a recogniser would say of them, in order.

        Only intact frames make words; damaged ones still show that time goes on.
        """
        said: list[Spoken] = []
        columns = (heard.speaker.tolist(), heard.index.tolist(), heard.damage.tolist(), heard.offset.tolist())
        for speaker, index, damage, offset in zip(*columns, strict=True):
            said += self._frame(speaker, index, intact=damage == 0, at_ms=offset // BYTES_PER_MS)
        return said

    def finish(self) -> list[Spoken]:
        """End all that is open."""
        said = [end for speaker in list(self._open) for end in self._close(speaker, list(self._open[speaker]))]
        self._open.clear()
        return said

    def _frame(self, speaker: int, index: int, *, intact: bool, at_ms: int) -> list[Spoken]:
        mine, number = self._open.setdefault(speaker, {}), utterance_of(index)
        # A frame of a later utterance ends the ones before it; a late frame of an earlier one ends nothing.
        said = self._close(speaker, [open_ for open_ in sorted(mine) if open_ < number])
        if is_silence(index):
            return said + self._close(speaker, [number] if number in mine else [])
        word = word_of(index)
        assert word is not None, "a frame that is no silence belongs to a word"
        if not intact:
            return said
        utterance = mine.setdefault(number, _Utterance())
        utterance.hear(word, index, at_ms)
        ends = index == word_frames(word)[-1]
        if utterance.tell(but=None if ends else word):
            said.append(Spoken(speaker, tuple(utterance.words), final=False))
        return said

    def _close(self, speaker: int, numbers: list[int]) -> list[Spoken]:
        said = []
        for number in numbers:
            utterance = self._open[speaker].pop(number)
            utterance.tell()
            if utterance.words:
                said.append(Spoken(speaker, tuple(utterance.words), final=True))
        return said
