"""How many times faster than speech the PCM code is written and read, on one core.

Prints one JSON line; the figures are seconds of audio per second of processor time, the best of three. The target is
1,000 for decoding. Run from the project's root: `python benchmarks/bench_speech.py`.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence

from harness.speech import FRAME_BYTES, FRAME_MS, Decoder, encode

AUDIO_S = 60
FRAMES = AUDIO_S * 1000 // FRAME_MS
CHUNK_BYTES = 2 * FRAME_BYTES
REPEATS = 3


def times_real(work: Callable[[], object]) -> int:
    """Give how many seconds of audio the work gets through in a second of processor time."""
    taken_s = []
    for _ in range(REPEATS):
        begun_s = time.process_time()
        work()
        taken_s.append(time.process_time() - begun_s)
    return round(AUDIO_S / min(taken_s))


def chunks(audio: bytes, chunk_bytes: int) -> list[bytes]:
    """Cut audio into chunks of one size."""
    return [audio[at : at + chunk_bytes] for at in range(0, len(audio), chunk_bytes)]


def decode(pieces: Sequence[bytes], expected_frames: int) -> None:
    """Decode chunks and make sure that the right number of frames came out."""
    decoder = Decoder()
    heard_frames = sum(len(decoder.feed(piece)) for piece in pieces) + len(decoder.finish())
    if heard_frames != expected_frames:
        sys.exit(
            f"{expected_frames} frames were expected and {heard_frames} were heard: the figures would mean nothing"
        )


def main() -> None:
    """Measure and print."""
    audio = encode(7, 0, FRAMES)
    streaming = chunks(audio, CHUNK_BYTES)
    one_in_20_lost = [piece for number, piece in enumerate(streaming) if number % 20]
    stray_byte_each = [b"\x00" + piece for piece in streaming]
    ten_ms_lost = b"".join(piece for number, piece in enumerate(chunks(audio, FRAME_BYTES // 2)) if number % 20)
    two_speakers = [
        piece for pair in zip(streaming, chunks(encode(8, 0, FRAMES), CHUNK_BYTES), strict=True) for piece in pair
    ]
    result = {
        "benchmark": "speech",
        "audio_s": AUDIO_S,
        "encode_40ms_x": times_real(lambda: [encode(7, first, 2) for first in range(0, FRAMES, 2)]),
        "encode_bulk_x": times_real(lambda: encode(7, 0, FRAMES)),
        "decode_40ms_x": times_real(lambda: decode(streaming, FRAMES)),
        "decode_bulk_x": times_real(lambda: decode([audio], FRAMES)),
        "decode_40ms_one_packet_in_20_lost_x": times_real(lambda: decode(one_in_20_lost, FRAMES * 19 // 20)),
        "decode_40ms_stray_byte_in_each_x": times_real(lambda: decode(stray_byte_each, FRAMES)),
        "decode_bulk_one_10ms_in_20_lost_x": times_real(lambda: decode([ten_ms_lost], FRAMES)),
        # Twice the audio goes by.
        "decode_40ms_two_speakers_x": 2 * times_real(lambda: decode(two_speakers, 2 * FRAMES)),
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
