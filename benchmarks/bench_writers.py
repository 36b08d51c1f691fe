"""How many events and frames a process can write down, each in the kernel's hands before the call returns.

Prints one JSON line. Events are one write each; frames one write per chunk of 40 ms (two frames) as the ears do it, and
per chunk of 50 frames. The best of three, by the wall clock of a quiet machine.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from harness import events as ev
from harness.frames import FRAME, MAGIC, Hop
from harness.history import Recorder

EVENTS, CHUNKS, REPEATS = 20_000, 20_000, 3
LINE = ev.LogLine(component="cloud", line=1, text="DEBUG Received audio chunks from gRPC bridge count=100 userId=a@b.c")
WORDS = ev.Caption(hop="app-in", speaker=7, words=(5, 6, 7, 8, 9), final=True, text="alice five six seven eight nine")


def per_second(count: int, work: Callable[[Recorder], None]) -> tuple[int, Path]:
    """Return how many of ``count`` things the work gets through in a second, and where its records lie."""
    taken_s = []
    for _ in range(REPEATS):
        run_dir = Path(tempfile.mkdtemp(dir=sys.argv[1] if len(sys.argv) > 1 else None))
        recorder = Recorder(run_dir, "bench", "bench")
        begun_s = time.perf_counter()
        work(recorder)
        taken_s.append(time.perf_counter() - begun_s)
        recorder.close()
    return round(count / min(taken_s)), run_dir


def lines(event: ev.Event) -> int:
    """Measure events of one kind; make sure that each became a line."""
    rate, run_dir = per_second(EVENTS, lambda recorder: [recorder.emit(event) for _ in range(EVENTS)] and None)
    written = (run_dir / "events" / "bench.jsonl").read_bytes().count(b"\n")
    if written != EVENTS:
        sys.exit(f"{EVENTS} events were written down and {written} lines are there: the figures would mean nothing")
    return rate


def records(frames: int) -> int:
    """Measure chunks of so many frames; make sure that each frame became a record."""
    index = np.arange(frames, dtype=np.uint32)

    def work(recorder: Recorder) -> None:
        for _ in range(CHUNKS):
            recorder.frames(Hop.CLOUD_IN, 7, index)

    rate, run_dir = per_second(CHUNKS * frames, work)
    written = ((run_dir / "frames" / "bench.bin").stat().st_size - len(MAGIC)) // FRAME.itemsize
    if written != CHUNKS * frames:
        sys.exit(f"{CHUNKS * frames} frames were written down and {written} are there: the figures would mean nothing")
    return rate


def main() -> None:
    """Measure and print."""
    result = {
        "benchmark": "writers",
        "log_lines_per_s": lines(LINE),
        "captions_per_s": lines(WORDS),
        "frames_in_40ms_chunks_per_s": records(2),
        "frames_in_1s_chunks_per_s": records(50),
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
