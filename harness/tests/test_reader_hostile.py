"""Whatever passes, a reader gives up with a reason at worst, and says the same however the bytes are cut."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.links.reading import UNASKED_BYTES, Conversation
from harness.tests import fuzz_readers
from harness.tests import wire_bytes as wb


@given(st.lists(st.tuples(st.sampled_from(["to-target", "to-dialer"]), st.binary(max_size=300)), max_size=6))
@settings(max_examples=60, deadline=None)
def test_noise_never_breaks_a_reader(steps):
    fuzz_readers.told(steps)


@given(st.sampled_from(fuzz_readers.SEEDS), st.binary(min_size=1, max_size=200), st.data())
@settings(max_examples=40, deadline=None)
def test_noise_in_the_middle_of_a_conversation_never_breaks_a_reader(steps, noise, data):
    at = data.draw(st.integers(1, len(steps)))
    way = data.draw(st.sampled_from(["to-target", "to-dialer"]))
    fuzz_readers.agree([*steps[:at], (way, noise), *steps[at:]], Random(0))


@pytest.mark.parametrize("seed", range(150))
def test_hurt_conversations_say_the_same_however_they_are_cut(seed):
    random = Random(seed)
    fuzz_readers.agree(fuzz_readers.hurt(random), random)


@pytest.mark.parametrize("steps", fuzz_readers.SEEDS, ids=["phone", "web", "signals", "squeezed", "calls"])
def test_sound_conversations_are_read_to_their_end(steps):
    said, is_whole = fuzz_readers.told(steps)
    assert said
    assert is_whole
    fuzz_readers.agree(steps, Random(1))


def test_little_is_kept_of_what_is_hostile():
    assert fuzz_readers.peak_bytes(Random(3)) < 2_000_000


def test_a_target_that_speaks_unasked_is_not_stored():
    conversation = Conversation()
    for _ in range(3):
        conversation.feed("to-dialer", bytes(UNASKED_BYTES // 2 + 1))
    assert "expected the dialer to speak" in conversation.unreadable


def test_settings_before_the_preface_are_read_behind_it():
    (first, second, *rest) = wb.calls()
    late, _ = fuzz_readers.told([first, second, *rest])
    early, is_whole = fuzz_readers.told([second, first, *rest])
    assert is_whole
    assert [one.name for one, _ in early] == [one.name for one, _ in late]
