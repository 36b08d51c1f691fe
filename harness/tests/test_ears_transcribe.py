"""The transcriber tells what was heard: words as they end, repeats twice, cuts not at all."""

import numpy as np

from harness.ears.transcribe import Spoken, Transcriber
from harness.speech import Heard


def heard(*indices, speaker=1, damage=0):
    flat = [i for part in indices for i in (part if isinstance(part, range) else [part])]
    n = len(flat)
    return Heard(
        np.full(n, speaker, np.uint16), np.array(flat, np.uint32), np.full(n, damage, np.uint8),
        np.array(flat, np.int64) * 640, 0,
    )  # fmt: skip


def numbers(said: list[Spoken], *, final):
    return [[word.number for word in spoken.words] for spoken in said if spoken.final is final]


def test_words_come_as_they_end_and_the_utterance_at_its_first_silence():
    said = Transcriber().hear(heard(range(51)))
    assert numbers(said, final=False) == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3, 4]]
    assert numbers(said, final=True) == [[0, 1, 2, 3, 4]]
    assert said[-1].final
    assert (said[-1].words[1].start_ms, said[-1].words[1].end_ms) == (200, 400)


def test_silence_alone_says_nothing():
    assert Transcriber().hear(heard(range(50, 70), range(120, 140))) == []


def test_a_word_needs_six_of_its_ten_frames():
    assert numbers(Transcriber().hear(heard(range(5), range(10, 20), range(50, 52))), final=True) == [[1]]
    assert numbers(Transcriber().hear(heard(range(6), range(10, 20), range(50, 52))), final=True) == [[0, 1]]


def test_damaged_frames_make_no_word_but_time_goes_on():
    ears = Transcriber()
    ears.hear(heard(range(20)))
    assert numbers(ears.hear(heard(range(20, 52), damage=1)), final=True) == [[0, 1]]


def test_a_later_utterance_ends_the_earlier_one_when_its_silence_was_lost():
    ears = Transcriber()
    ears.hear(heard(range(30)))
    assert numbers(ears.hear(heard(70)), final=True) == [[0, 1, 2]]


def test_the_end_of_audio_ends_all():
    ears = Transcriber()
    ears.hear(heard(range(30)))
    assert numbers(ears.finish(), final=True) == [[0, 1, 2]]
    assert ears.finish() == []


def test_repeated_audio_repeats_words():
    ears = Transcriber()
    assert numbers(ears.hear(heard(range(52), range(52))), final=True) == [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]
    within = Transcriber().hear(heard(range(20), range(10, 52)))
    assert numbers(within, final=True) == [[0, 1, 1, 2, 3, 4]]


def test_a_late_straggler_repeats_nothing():
    ears = Transcriber()
    ears.hear(heard(range(52)))
    assert ears.hear(heard(46, 47, 53, range(70, 74), 54, 48)) == []
    assert numbers(ears.hear(heard(range(74, 82), 47, range(82, 122))), final=True) == [[5, 6, 7, 8, 9]]


def test_reordered_packets_cost_no_word_and_swapped_words_stay_swapped():
    packets = Transcriber().hear(heard(range(8), 10, 11, 8, 9, range(12, 52)))
    assert numbers(packets, final=True) == [[0, 1, 2, 3, 4]]
    words = Transcriber().hear(heard(range(10), range(20, 30), range(10, 20), range(30, 52)))
    assert numbers(words, final=True) == [[0, 2, 1, 3, 4]]


def test_two_speakers_do_not_end_each_other():
    ears = Transcriber()
    said = []
    for first in range(0, 52, 2):
        said += ears.hear(heard(range(first, first + 2), speaker=1))
        said += ears.hear(heard(range(700 + first, 702 + first), speaker=2))
    finals = [(s.speaker, [w.number for w in s.words]) for s in said if s.final]
    assert finals == [(1, [0, 1, 2, 3, 4]), (2, [50, 51, 52, 53, 54])]
