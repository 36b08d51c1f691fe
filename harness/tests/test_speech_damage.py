"""The PCM code on damaged streams: what is lost, cut or forged is told, and no whole frame is missed."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.speech import (
    FRAME_BYTES,
    Damage,
    Decoder,
    encode,
)
from harness.tests.speech_world import (
    CHUNKINGS,
    QUICK,
    WHOLE,
    cut_up,
    hear,
    noise,
    rows,
    run,
    swap,
)

# damaged frames


@given(st.integers(0, 10 * FRAME_BYTES - 1), st.integers(0, 7), CHUNKINGS)
@QUICK
def test_one_wrong_bit_is_seen_and_costs_one_frame(at, bit, sizes):
    audio = bytearray(encode(77, 45, 10))
    audio[at] ^= 1 << bit
    expected = run(77, 45, 10)
    hurt = at // FRAME_BYTES
    expected[hurt] = (77, 45 + hurt, Damage.CORRUPT, hurt * FRAME_BYTES)
    heard = hear(*cut_up(bytes(audio), sizes))
    assert rows(heard) == expected
    assert heard.stray_bytes == 0


@given(st.integers(0, 7), st.data())
@settings(max_examples=4, deadline=None, database=None)
def test_every_byte_of_a_frame_counts(bit, data):
    index = data.draw(st.integers(0, 69))
    audio = np.frombuffer(encode(2, index, 1), np.uint8)
    for at in range(0, FRAME_BYTES, 7):
        hurt = audio.copy()
        hurt[(at + bit) % FRAME_BYTES] ^= 1 << bit
        assert Damage.CORRUPT in rows(hear(hurt.tobytes()))[0][2]


@given(st.integers(FRAME_BYTES, 5 * FRAME_BYTES - 1), CHUNKINGS)
@example(at=3199, sizes=[1])
@example(at=3199, sizes=[9999])
@QUICK
def test_a_lost_byte_cuts_one_frame_and_slips_the_rest(at, sizes):
    audio = encode(4, 46, 8)
    arrived = audio[:at] + audio[at + 1 :]
    heard = hear(*cut_up(arrived, sizes))
    assert heard.index.tolist() == list(range(46, 54))
    flags = [damage for _, _, damage, _ in rows(heard)]
    hurt = at // FRAME_BYTES
    if arrived[hurt * FRAME_BYTES : (hurt + 1) * FRAME_BYTES] == audio[hurt * FRAME_BYTES : (hurt + 1) * FRAME_BYTES]:
        hurt += 1  # the next frame's first byte stands in for the last
    assert flags[:hurt] == [WHOLE] * hurt
    assert flags[hurt] & ~Damage.CORRUPT == Damage.CUT | Damage.SLIPPED
    assert flags[hurt + 1 :] == [Damage.SLIPPED] * (7 - hurt)


@given(st.integers(FRAME_BYTES, 5 * FRAME_BYTES - 1), CHUNKINGS)
@QUICK
def test_a_byte_too_many_slips_the_rest(at, sizes):
    audio = encode(4, 46, 8)
    heard = hear(*cut_up(audio[:at] + b"\x55" + audio[at:], sizes))
    hurt, inside = divmod(at, FRAME_BYTES)
    assert heard.index.tolist() == list(range(46, 54))
    flags = [damage for _, _, damage, _ in rows(heard)]
    assert flags[:hurt] == [WHOLE] * hurt
    assert flags[hurt + 1 :] == [Damage.SLIPPED] * (7 - hurt)
    if inside:
        assert Damage.CORRUPT in flags[hurt]
    else:
        assert (flags[hurt], heard.stray_bytes) == (Damage.SLIPPED, 1)


@given(st.sets(st.integers(0, 39), max_size=25), CHUNKINGS)
@QUICK
def test_lost_ten_ms_packets_cut_frames_and_corrupt_none(lost, sizes):
    audio = encode(6, 40, 20)
    arrived = b"".join(audio[320 * i : 320 * i + 320] for i in range(40) if i not in lost)
    heard = hear(*cut_up(arrived, sizes))
    halves = [(frame, [half for half in (0, 1) if 2 * frame + half not in lost]) for frame in range(20)]
    assert [(index, damage) for _, index, damage, _ in rows(heard)] == [
        (40 + frame, WHOLE if len(half) == 2 else Damage.CUT) for frame, half in halves if half
    ]
    assert heard.stray_bytes == 0


@given(st.integers(31, 1000), st.integers(300, 1500))
@example(begin=173, length=324)  # a stamp at the cut is completed by a byte of the frame before
@QUICK
def test_losses_of_any_even_size_cut_the_frames_at_their_ends(begin, length):
    begin, end = 2 * begin, 2 * (begin + length)
    audio = encode(6, 40, 12)
    heard = hear(audio[:begin], audio[end:])
    left = [max(0, min(begin, at + 640) - at) + max(0, at + 640 - max(end, at)) for at in range(0, len(audio), 640)]
    seen = {index: damage for _, index, damage, _ in rows(heard)}
    nameless = any(0 < left_bytes < 63 for left_bytes in left)
    for frame, left_bytes in enumerate(left):
        damage = seen.pop(40 + frame, None)
        if left_bytes == FRAME_BYTES:
            assert damage is WHOLE
        elif left_bytes < 63:
            assert damage in ({None} if left_bytes < 32 else {None, Damage.CUT})
        else:
            assert damage in ({Damage.CUT, Damage.CORRUPT} if nameless else {Damage.CUT})
    assert not seen
    assert heard.stray_bytes < 63


def test_a_lost_packet_filled_with_zeros_is_corrupt():
    audio = bytearray(encode(6, 40, 4))
    audio[700:1020] = bytes(320)
    heard = hear(bytes(audio))
    assert rows(heard) == [
        (6, 40, WHOLE, 0), (6, 41, Damage.CORRUPT, 640), (6, 42, WHOLE, 1280), (6, 43, WHOLE, 1920)
    ]  # fmt: skip


def test_a_stream_that_ends_in_a_frame_gives_it_as_cut_when_finished():
    audio = encode(6, 40, 3)[: 2 * FRAME_BYTES + 200]
    decoder = Decoder()
    assert rows(decoder.feed(audio)) == run(6, 40, 2)
    assert rows(decoder.finish()) == [(6, 42, Damage.CUT, 1280)]
    assert rows(decoder.feed(encode(6, 50, 1))) == run(6, 50, 1)


@pytest.mark.parametrize("missing", [1, 2, 31, 32, 33, 577])
def test_the_last_frame_may_lack_any_number_of_bytes(missing):
    audio = encode(6, 40, 2)[:-missing]
    assert rows(hear(audio)) == [(6, 40, WHOLE, 0), (6, 41, Damage.CUT, 640)]


def test_a_stream_that_begins_in_a_frame_gives_it_as_cut():
    assert rows(hear(encode(6, 40, 3)[200:])) == [(6, 40, Damage.CUT, 0), *run(6, 41, 2, offset=440)]


def test_a_half_frame_that_comes_twice_leaves_one_whole_frame():
    audio = encode(6, 40, 3)
    heard = hear(audio[:960] + audio[640:])
    assert [(index, damage) for _, index, damage, _ in rows(heard)] == [
        (40, WHOLE), (41, Damage.CUT), (41, WHOLE), (42, WHOLE)
    ]  # fmt: skip


# what is no speech


@pytest.mark.parametrize(
    "rubbish",
    [noise(300_000), bytes(100_000), b"\xff" * 100_000, b"\xa7" * 100_000, bytes(range(256)) * 400, b"\x00\x01" * 5000],
    ids=["noise", "zeros", "ones", "mark", "ramp", "alternating"],
)
def test_rubbish_is_stray_to_the_last_byte(rubbish):
    for sizes in ([len(rubbish)], [1280], [3199]):
        heard = hear(*cut_up(rubbish, sizes))
        assert (len(heard), heard.stray_bytes) == (0, len(rubbish))


def test_rubbish_is_reported_while_it_comes():
    decoder = Decoder()
    reported = sum(decoder.feed(bytes(1280)).stray_bytes for _ in range(10))
    assert reported > 10_000


@pytest.mark.parametrize("size", [256, 300, 9999])
def test_a_frame_known_only_by_its_end_keeps_its_beginning(size):
    audio = noise(2000) + noise(500, 2) + encode(6, 40, 3)[500:]
    heard = hear(*cut_up(audio, [size]))
    assert rows(heard) == [(6, 40, Damage.CORRUPT, 2000), *run(6, 41, 2, offset=2640)]
    assert heard.stray_bytes == 2000


def test_a_stamp_copied_elsewhere_makes_no_whole_frame():
    audio = encode(6, 40, 2)
    forged = audio[:32] * 20 + audio[640:]
    assert [row for row in rows(hear(forged)) if row[2] is WHOLE] == [(6, 41, WHOLE, 640)]


EDITS = st.lists(
    st.tuples(st.sampled_from(["drop", "insert", "flip", "swap", "repeat"]), st.integers(0, 9000), st.integers(1, 900)),
    max_size=6,
)


def edited(audio: bytes, edits: list[tuple[str, int, int]]) -> bytes:
    for kind, place, length in edits:
        at = place % max(1, len(audio))
        piece = audio[at : at + length]
        if kind == "drop":
            audio = audio[:at] + audio[at + length :]
        elif kind == "insert":
            audio = audio[:at] + noise(length) + audio[at:]
        elif kind == "flip" and piece:
            audio = audio[:at] + bytes([piece[0] ^ 16]) + audio[at + 1 :]
        elif kind == "swap":
            even = piece[: len(piece) // 2 * 2]
            audio = audio[:at] + swap(even) + audio[at + len(even) :]
        elif kind == "repeat":
            audio = audio[:at] + piece + audio[at:]
    return audio


@given(EDITS, CHUNKINGS)
@example(edits=[("insert", 0, 1), ("repeat", 2, 94)], sizes=[1])
@example(edits=[("swap", 637, 34)], sizes=[1])
@example(edits=[("repeat", 283, 900), ("drop", 221, 900)], sizes=[1])
@settings(max_examples=60, deadline=None, database=None)
def test_chunks_never_change_what_is_heard_in_a_mutilated_stream(edits, sizes):
    audio = edited(encode(6, 40, 14), edits)
    heard = hear(*cut_up(audio, sizes))
    at_once = hear(audio)
    assert rows(heard) == rows(at_once)
    assert heard.stray_bytes == at_once.stray_bytes
    for speaker, index, damage, offset in rows(at_once):
        seen = audio[offset : offset + FRAME_BYTES]
        if not damage & (Damage.CUT | Damage.CORRUPT):
            assert (swap(seen) if Damage.SWAPPED in damage else seen) == encode(speaker, index, 1)
            assert bool(offset & 1) is (Damage.SLIPPED in damage)
    offsets = at_once.offset.tolist()
    assert offsets == sorted(set(offsets))
    assert 0 <= at_once.stray_bytes <= len(audio)


@given(EDITS)
@settings(max_examples=60, deadline=None, database=None)
def test_no_whole_frame_in_a_mutilated_stream_is_missed(edits):
    audio = edited(encode(6, 40, 14), edits)
    whole = {(row[1], row[3]) for row in rows(hear(audio)) if not row[2] & ~Damage.SLIPPED}
    for index in range(40, 54):
        at = audio.find(encode(6, index, 1))
        assert at < 0 or (index, at) in whole
