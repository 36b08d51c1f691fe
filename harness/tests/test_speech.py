"""The PCM code: every frame is recognised on any path, and nothing else is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.speech import (
    FRAME_BYTES,
    FRAME_SAMPLES,
    UTTERANCE_FRAMES,
    Damage,
    Decoder,
    encode,
    is_silence,
    order,
    parse_words,
    speaker_id,
    utterance_of,
    word_frames,
    word_of,
    word_text,
)
from harness.tests.speech_world import (
    CHUNKINGS,
    FIRSTS,
    QUICK,
    SPEAKERS,
    WEIGHED,
    WHOLE,
    cut_up,
    hear,
    noise,
    rows,
    run,
    swap,
)

# what is spoken


@given(SPEAKERS, FIRSTS)
@QUICK
def test_a_frame_is_the_same_however_many_are_encoded_with_it(speaker, first):
    together = encode(speaker, first, 3)
    assert len(together) == 3 * FRAME_BYTES
    assert together == b"".join(encode(speaker, first + i, 1) for i in range(3))


@pytest.mark.parametrize("speaker", range(1, 9))
def test_speech_is_loud_and_silence_is_low(speaker):
    samples = np.frombuffer(encode(speaker, 0, UTTERANCE_FRAMES), "<i2").astype(int).reshape(-1, FRAME_SAMPLES)
    loudest = np.abs(samples).max(axis=1)
    silent = np.array([is_silence(index) for index in range(UTTERANCE_FRAMES)])
    assert silent.sum() == 20
    assert loudest.max() <= 12_000
    assert loudest[silent].max() <= 600
    assert loudest[~silent].min() > 600
    assert loudest.max() > 8_000


@pytest.mark.parametrize("speaker", range(1, 9))
def test_no_stamp_looks_alike_in_both_byte_orders(speaker):
    high = np.frombuffer(encode(speaker, 0, UTTERANCE_FRAMES), np.uint8)[1::2].reshape(-1, 16)
    assert (high != high[:, :1]).any(axis=1).all()


def test_the_code_does_not_change():
    """A recorded run must stay readable."""
    digest = np.frombuffer(encode(0xBEEF, 123_456_789, 140), np.uint8).astype(np.uint64)
    weighed = int((digest * np.arange(1, digest.size + 1, dtype=np.uint64)).sum())
    assert weighed == WEIGHED


@pytest.mark.parametrize(
    ("speaker", "first", "count"), [(0, 0, 1), (65_536, 0, 1), (1, -1, 1), (1, 2**32, 1), (1, 0, -1)]
)
def test_numbers_that_do_not_fit_are_refused(speaker, first, count):
    with pytest.raises(ValueError, match="but"):
        encode(speaker, first, count)


# whole frames


@given(SPEAKERS, FIRSTS, CHUNKINGS)
@QUICK
def test_any_chunking_of_whole_frames_gives_them_all(speaker, first, sizes):
    heard = hear(*cut_up(encode(speaker, first, 30), sizes))
    assert rows(heard) == run(speaker, first, 30)
    assert heard.stray_bytes == 0


def test_single_bytes_are_enough():
    heard = hear(*cut_up(encode(9, 45, 12), [1]))
    assert rows(heard) == run(9, 45, 12)


def test_a_whole_frame_is_given_with_its_last_byte():
    decoder, audio = Decoder(), encode(3, 10, 300)
    counts = [len(decoder.feed(audio[at : at + 1280])) for at in range(0, len(audio), 1280)]
    assert counts == [2] * 150


def test_the_last_index_of_all_is_heard_and_the_stream_may_go_on():
    audio = encode(1, 2**32 - 3, 3) + encode(1, 0, 2)
    for sizes in ([1280], [len(audio)], [7]):
        assert rows(hear(*cut_up(audio, sizes))) == run(1, 2**32 - 3, 3) + run(1, 0, 2, offset=3 * FRAME_BYTES)


@given(st.integers(0, 700), st.integers(0, 5), CHUNKINGS)
@QUICK
def test_garbage_in_front_hides_nothing(length, seed, sizes):
    heard = hear(*cut_up(noise(length, seed) + encode(5, 48, 6), sizes))
    assert rows(heard) == run(5, 48, 6, Damage.SLIPPED if length % 2 else WHOLE, length)
    assert heard.stray_bytes == length


@given(SPEAKERS, FIRSTS, CHUNKINGS)
@QUICK
def test_swapped_bytes_are_recognised(speaker, first, sizes):
    heard = hear(*cut_up(swap(encode(speaker, first, 8)), sizes))
    assert rows(heard) == run(speaker, first, 8, Damage.SWAPPED)
    assert heard.stray_bytes == 0


def test_swapping_may_begin_and_end_in_the_middle_of_a_stream():
    audio = encode(1, 0, 5) + swap(encode(1, 5, 5)) + encode(1, 10, 5)
    heard = hear(*cut_up(audio, [1280]))
    assert [damage for _, _, damage, _ in rows(heard)] == [WHOLE] * 5 + [Damage.SWAPPED] * 5 + [WHOLE] * 5
    assert heard.index.tolist() == list(range(15))


def test_a_byte_left_in_front_of_each_packet_is_stray_and_slips_every_second_one():
    packets = [bytes([number]) + encode(1, 2 * number, 2) for number in range(10)]
    heard = hear(*packets)
    assert heard.index.tolist() == list(range(20))
    assert heard.damage.tolist() == [Damage.SLIPPED, Damage.SLIPPED, 0, 0] * 5
    assert heard.stray_bytes == 10


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 200)), max_size=30), CHUNKINGS)
@QUICK
def test_speakers_mixed_twice_or_out_of_turn_are_whole(spoken, sizes):
    heard = hear(*cut_up(b"".join(encode(speaker, index, 1) for speaker, index in spoken), sizes))
    assert rows(heard) == [(speaker, index, WHOLE, i * FRAME_BYTES) for i, (speaker, index) in enumerate(spoken)]
    assert heard.stray_bytes == 0


# words


@given(st.integers(0, 2**32 - 100))
@QUICK
def test_words_and_frames_agree(index):
    word = word_of(index)
    assert (word is None) is is_silence(index)
    if word is not None:
        assert index in word_frames(word)
        assert word // 5 == utterance_of(index)
    assert utterance_of(index) == index // 70


def test_the_first_words_are_where_the_contract_says():
    assert [word_of(index) for index in (0, 9, 10, 49, 50, 69, 70)] == [0, 0, 1, 4, None, None, 5]
    assert word_frames(6) == range(80, 90)


@given(
    st.lists(st.tuples(SPEAKERS, st.integers(0, 300_000_000)), max_size=8), st.sampled_from([" ", ", ", ". ", "\n", ""])
)
@QUICK
def test_words_survive_a_caption(words, between):
    text = between.join(word_text(speaker, word) for speaker, word in words)
    for shown in (text, text.lower(), text.upper(), f"Well, {text}."):
        assert parse_words(shown) == words


@pytest.mark.parametrize("text", ["", "hello", "s0w1", "s65536w1", "s1w01", "s1 w1", "news1w2", "s1w9999999999", "s1w"])
def test_other_text_names_no_word(text):
    assert parse_words(text) == []


def test_a_speaker_has_one_number():
    assert speaker_id("Alice@example.com") == speaker_id("alice") == speaker_id("alice@staging")
    numbers = {speaker_id(f"user{number}") for number in range(50)}
    assert len(numbers) == 50
    assert all(1 <= number <= 0xFFFF for number in numbers)
    with pytest.raises(ValueError, match="needs a name"):
        speaker_id("@example.com")


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        ([], (0, 0, 0)),
        ([5, 6, 7], (0, 0, 0)),
        ([5, 6, 6, 7], (1, 0, 0)),
        ([5, 7, 6, 8], (0, 1, 0)),
        ([5, 8, 9], (0, 0, 2)),
        ([5, 6, 7, 5, 6], (2, 0, 0)),
        ([4, 5, 1, 9, 9], (1, 1, 5)),
    ],
)
def test_order_is_counted(index, expected):
    assert order(np.array(index, np.uint32)) == expected
