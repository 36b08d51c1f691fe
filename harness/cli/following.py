"""Follows a run while it writes its records: what happened, which hops carry speech, how long captions are away."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from harness import events as ev
from harness.cli.news import TELLING
from harness.clock import MS_NS, SECOND_NS
from harness.frames import FRAME, HOP_NAME, HOPS, MAGIC, Flag, Hop
from harness.history import read_new_events
from harness.speech import word_frames

SLOT_NS = 100 * MS_NS
SLOTS = 10
"""Frames per second are counted over the last ten slots of 100 ms."""
FRAME_NS = 20 * MS_NS


@dataclass
class FrameCounts:
    """How many frames each hop heard, per slot of 100 ms; the files are read as they grow."""

    offsets: dict[Path, int] = field(default_factory=dict)
    slots: dict[str, Counter[int]] = field(default_factory=dict)

    def look(self, run_dir: Path) -> None:
        """Read what was appended since."""
        for path in run_dir.glob("frames/*.bin"):
            offset = self.offsets.get(path, len(MAGIC))
            whole = (path.stat().st_size - offset) // FRAME.itemsize
            if whole <= 0:
                continue
            with path.open("rb") as file:
                file.seek(offset)
                got = np.frombuffer(file.read(whole * FRAME.itemsize), FRAME)
            self.offsets[path] = offset + got.nbytes
            got = got[(got["flags"] & int(Flag.SENT)) == 0]
            for hop, name in HOP_NAME.items():
                times = got["t_ns"][got["hop"] == int(hop)]
                slots, counts = np.unique(times // SLOT_NS, return_counts=True)
                self.slots.setdefault(name, Counter()).update(dict(zip(slots.tolist(), counts.tolist(), strict=True)))

    def per_second(self, hop: str, now_ns: int) -> int:
        """Return the frames a hop heard in the last whole second."""
        last = now_ns // SLOT_NS
        return sum(count for slot, count in self.slots.get(hop, Counter()).items() if last - SLOTS <= slot < last)

    def total(self, hop: str) -> int:
        """Return the frames a hop heard in all."""
        return self.slots.get(hop, Counter()).total()


@dataclass
class Following:
    """What is known of a run so far; ``look`` reads on."""

    run_dir: Path
    start_ns: int = 0
    epoch_ns: int = 0
    step: str = "starting"
    faults: list[str] = field(default_factory=list)
    injected_ns: int = 0
    """When the last fault landed; 0 before that."""
    anchor_ns: int = 0
    """The moment from which captions are owed again; 0 before that."""
    back_ns: int = 0
    """When the first final caption for words spoken after the anchor came; 0 before that."""
    words: Counter[str] = field(default_factory=Counter)
    """Text hop -> words in finals."""
    last_caption: str = ""
    frames: FrameCounts = field(default_factory=FrameCounts)
    _offsets: dict[Path, int] = field(default_factory=dict)
    _unreadable: set[Path] = field(default_factory=set)

    def look(self) -> list[ev.AnyEvent]:
        """Return the events that are new, in order of time, after taking note of them."""
        found: list[ev.AnyEvent] = []
        for path in self.run_dir.glob("events/*.jsonl"):
            if path in self._unreadable:
                continue
            try:
                new, self._offsets[path] = read_new_events(path, self._offsets.get(path, 0))
            except (msgspec.DecodeError, UnicodeDecodeError):
                self._unreadable.add(path)  # the judging of the run says what is wrong with it
                continue
            found += new
        found.sort(key=lambda event: event.t_ns)
        for event in found:
            self._note(event)
        self.frames.look(self.run_dir)
        return found

    def seconds(self, t_ns: int) -> float:
        """Return a moment as seconds since the run's first event."""
        return (t_ns - self.start_ns) / SECOND_NS if self.start_ns else 0.0

    def _note(self, event: ev.AnyEvent) -> None:
        self.start_ns = min(self.start_ns or event.t_ns, event.t_ns)
        match event:
            case ev.RunStarted():
                self.epoch_ns = event.epoch_ns
            case ev.Step():
                self.step = event.text
            case ev.Note() if event.proc in TELLING:
                self.step = event.text
            case ev.Injected():
                self.faults.append(f"{event.fault}: {event.proof}")
                self.injected_ns, self.anchor_ns, self.back_ns = event.t_ns, 0, 0
            case ev.Healed():
                self.faults.append(f"{event.fault} healed: {event.proof}")
            case ev.FaultFailed():
                self.faults.append(f"{event.fault} did not land: {event.reason}")
            case ev.Anchor():
                self.anchor_ns, self.back_ns = event.moment_ns, 0
            case ev.Caption() if event.words and event.final:
                self.words[event.hop] += len(event.words)
                if event.hop == "app-in":
                    self._heard(event)
            case _:
                pass

    def _heard(self, caption: ev.Caption) -> None:
        self.last_caption = caption.text
        spoken_ns = self.epoch_ns + word_frames(caption.words[-1])[0] * FRAME_NS
        if self.anchor_ns and not self.back_ns and spoken_ns >= self.anchor_ns:
            self.back_ns = caption.t_ns


def hop_rows(seen: Following, now_ns: int) -> list[tuple[str, str, str]]:
    """Return (hop, heard in the last second, heard in all) along the audio path; text hops count words."""
    rows: list[tuple[str, str, str]] = []
    pcm: set[str] = {HOP_NAME[hop] for hop in Hop}
    for hop in HOPS:
        if hop in pcm:
            total = seen.frames.total(hop)
            rate = f"{seen.frames.per_second(hop, now_ns)} frames/s" if total else "-"
            rows.append((hop, rate, f"{total} frames" if total else "not observed"))
        else:
            rows.append((hop, "", f"{seen.words[hop]} words"))
    return rows


def stopwatch(seen: Following, now_ns: int) -> str:
    """Return how long ago the fault landed and the anchor was, and whether captions are back; "" before any."""
    said = []
    if seen.injected_ns:
        said.append(f"fault landed {(now_ns - seen.injected_ns) / SECOND_NS:.1f} s ago")
    if seen.back_ns:
        said.append(f"captions back {(seen.back_ns - seen.anchor_ns) / SECOND_NS:.2f} s after the anchor")
    elif seen.anchor_ns:
        said.append(f"captions owed for {(now_ns - seen.anchor_ns) / SECOND_NS:.1f} s")
    return ", ".join(said)
