"""From packets to PCM in the reference bridge: the sequence byte goes, and no packet changes another; but by defect."""

from harness.reference.bridge.unpacking import Unpacking
from harness.reference.defects import Defects, parse


def unpacking(*names):
    return Unpacking(Defects("bridge", parse("bridge", list(names))))


def test_the_sequence_byte_goes_and_a_packet_of_even_length_is_passed_as_it_is():
    bridge = unpacking()
    assert bridge.pcm_of(b"\x01abcd") == b"abcd"
    assert bridge.pcm_of(b"\x02abcde") == b"\x02abcde"
    assert bridge.pcm_of(b"\x03abcd") == b"abcd"
    assert bridge.pcm_of(b"\x09abcd") == b"abcd"  # a gap is nobody's affair
    assert bridge.pcm_of(b"") == b""


def test_with_the_defect_an_odd_byte_shifts_everything_after_it():
    bridge = unpacking("keep-odd-byte")
    assert bridge.pcm_of(b"\x01abcd") == b"abcd"
    assert bridge.pcm_of(b"\x02abcde") == b"abcd"
    assert bridge.pcm_of(b"\x03fghi") == b"efgh"
    assert bridge.pcm_of(b"\x04jklm") == b"ijkl"


def test_with_the_defect_the_packet_behind_a_gap_is_dropped_as_well():
    bridge = unpacking("drop-after-gap")
    assert [bool(bridge.pcm_of(bytes((n,)) + b"ab")) for n in (254, 255, 0, 2, 3, 3, 4)] == [
        True, True, True, False, True, False, True,
    ]  # fmt: skip
