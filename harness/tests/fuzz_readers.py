"""Hostile conversations for every reader: ``python -m harness.tests.fuzz_readers --for 600``.

Each input is a conversation that was hurt at random, fed whole and cut anywhere: both must say the same, nothing but
Unreadable may come of it, it may take neither long nor much memory. Ends with 1 at the first that does not hold.
"""

import argparse
import sys
import time
import tracemalloc
from itertools import zip_longest
from random import Random

from harness.events.wire import Fact
from harness.links.reading import Conversation, Said, Way
from harness.tests import wire_bytes as wb

SLOWEST_S = 5.0
"""No input of at most some 100 KB may take longer, on a busy machine either."""
MEMORY_BYTES = 16 * 1024 * 1024
Steps = list[tuple[Way, bytes]]
SEEDS: tuple[Steps, ...] = (wb.PHONE, wb.WEB, wb.signals(), wb.squeezed(), wb.calls())


def hurt(random: Random) -> Steps:
    """Return a conversation with something wrong in it, or mere noise."""
    steps = [(way, bytearray(data)) for way, data in random.choice(SEEDS)]
    kind = random.randrange(10)
    if kind == 0:
        return [(random.choice(("to-target", "to-dialer")), random.randbytes(random.randrange(200))) for _ in range(5)]
    if kind == 1:  # another's bytes go on in the middle
        steps[random.randrange(1, len(steps)) :] = [(w, bytearray(d)) for w, d in random.choice(SEEDS)]
    if kind == 2:  # it is joined in the middle
        del steps[: random.randrange(len(steps))]
    for _ in range(random.randrange(6)):
        _way, data = random.choice(steps) if steps else ("to-target", bytearray())
        at = random.randrange(len(data) + 1)
        change = random.randrange(5)
        if change == 0 and at < len(data):
            data[at] ^= 1 << random.randrange(8)
        elif change == 1:
            del data[at : at + random.randrange(20)]
        elif change == 2:
            data[at:at] = random.randbytes(random.randrange(1, 20))
        elif change == 3:
            data[at:at] = data[at : at + random.randrange(200)]
        elif at < len(data):
            data[at] = random.choice((0, 0x7F, 0x80, 0xFF, 0x0D, 0x0A, 0x20))
    return [(way, bytes(data)) for way, data in steps]


def told(steps: Steps, random: Random | None = None) -> tuple[list[tuple[Said, dict[str, Fact]]], bool]:
    """Feed a conversation, cut anywhere if there is a ``random``; return what was said, and whether all was read.

    Raises:
        AssertionError: the reader broke, or settled where no byte is.
    """
    conversation = Conversation()
    fed = {"to-target": 0, "to-dialer": 0}
    found: list[Said] = []
    for way, data in steps:
        at = 0
        while at < len(data):
            size = random.choice((1, 2, 5, 40, 3000)) if random else len(data)
            found += conversation.feed(way, data[at : at + size])
            fed[way] += len(data[at : at + size])
            at += size
            assert 0 <= conversation.settled(way) <= fed[way], f"settled at {conversation.settled(way)} of {fed[way]}"
        assert not conversation.unreadable.startswith("the reader broke"), conversation.unreadable
    for one in found:
        assert 0 <= one.start <= one.end <= fed[one.way], one
    plain = [(one, {k: v for k, v in one.facts.items() if k != "took_ms"}) for one in found]
    return plain, not conversation.unreadable


def agree(steps: Steps, random: Random) -> int:
    """Check one conversation; return how many things it said."""
    whole, cut = told(steps), told(steps, random)
    first = next((way for way, data in steps if data), "to-target")
    if first == "to-dialer":
        return len(whole[0])  # an answer before the question: what it is called depends on when it came
    bare = [
        [(s.way, s.kind, s.name, s.start, s.end, s.stream, len(s.pcm), facts) for s, facts in one[0]]
        for one in (whole, cut)
    ]
    for at, pair in enumerate(zip_longest(*bare)):
        assert pair[0] == pair[1], f"thing {at}: whole {pair[0]}, cut {pair[1]}"
    assert whole[1] == cut[1], "only one of them was read to its end"
    return len(bare[0])


def peak_bytes(random: Random) -> int:
    """Return how much memory was held at most while a hostile conversation went on for 8 MB."""
    steps = hurt(random)
    conversation = Conversation()
    tracemalloc.start()
    for way, data in steps:
        conversation.feed(way, data)
    noise = random.randbytes(65_536)
    for _ in range(64):
        for way in ("to-target", "to-dialer"):
            conversation.feed(way, noise)
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def main() -> int:
    """Fuzz for as long as is asked."""
    parser = argparse.ArgumentParser(prog="python -m harness.tests.fuzz_readers", description=__doc__)
    parser.add_argument("--for", type=float, default=60, dest="for_s", metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=0, help="number of the first input; inputs count up from it")
    asked = parser.parse_args()
    began, tried, said, slowest, most = time.monotonic(), 0, 0, 0.0, 0
    while time.monotonic() - began < asked.for_s:
        number = asked.seed + tried
        random = Random(number)
        at = time.monotonic()
        try:
            said += agree(hurt(random), random)
            if tried % 1_000 == 0:
                most = max(most, peak_bytes(random))
                assert most < MEMORY_BYTES, f"{most} bytes were held"
            took = time.monotonic() - at
            assert took < SLOWEST_S, f"it took {took:.1f} s"
        except AssertionError as error:
            print(f"input {number} does not hold (run again with --seed {number}): {error}")
            return 1
        tried, slowest = tried + 1, max(slowest, took)
    print(
        f"{tried} inputs from seed {asked.seed} in {time.monotonic() - began:.0f} s: {said} things said, "
        f"no reader broke, the same however cut; slowest {slowest * 1000:.0f} ms, at most {most / 1e6:.1f} MB held"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
