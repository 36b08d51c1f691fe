"""A run's records on disk: the recorder that writes them, and the history that reads them back, merged by time.

A run directory holds ``events/<proc>.jsonl`` and ``frames/<proc>.bin``, append-only, one of each per process.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness import events as ev
from harness import frames as fr
from harness.clock import now_ns
from harness.errors import CorruptRun
from harness.redact import mask
from harness.spare import append

E = TypeVar("E", bound=ev.Event)


class Recorder:
    """Appends this process's events and frames; every call is one write, so SIGKILL loses nothing that returned.

    A full disk raises nothing here (``harness/spare.py``): it costs the run's last records, and the rig ends the run.
    """

    def __init__(self, run_dir: Path, run: str, proc: str) -> None:
        """Open (creating) the two files of ``proc`` below ``run_dir``."""
        self.run_dir, self.run, self.proc = run_dir, run, proc
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        for name in ("events", "frames"):
            (run_dir / name).mkdir(parents=True, exist_ok=True)
        self._events = os.open(run_dir / "events" / f"{proc}.jsonl", flags, 0o644)
        self._frames_path = run_dir / "frames" / f"{proc}.bin"
        self._frames, self._begun = -1, False

    def emit(self, event: ev.Event, *, t_ns: int | None = None) -> None:
        """Append one event, stamped now (or ``t_ns``), with its secrets masked."""
        stamped = msgspec.structs.replace(event, t_ns=t_ns or event.t_ns or now_ns(), run=self.run, proc=self.proc)
        line = mask(ev.encode(stamped).decode())
        append(self._events, line.encode(), self.run_dir)

    def frames(
        self, hop: fr.Hop, speaker: int | NDArray[np.uint16], index: NDArray[np.uint32],
        flags: int | NDArray[np.uint8] = 0, *, t_ns: int | None = None,
    ) -> None:  # fmt: skip
        """Append the records of one chunk; call it before the chunk goes on."""
        if len(index) == 0:
            return
        if self._frames < 0:
            self._frames = os.open(self._frames_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if not self._begun:
            self._begun = os.fstat(self._frames).st_size > 0 or append(self._frames, fr.MAGIC, self.run_dir)
        if self._begun:  # else the disk is full, and a record without a header could not be read
            append(self._frames, fr.records(t_ns or now_ns(), hop, speaker, index, flags).tobytes(), self.run_dir)

    def close(self) -> None:
        """Close both files."""
        os.close(self._events)
        if self._frames >= 0:
            os.close(self._frames)
            self._frames = -1


@dataclass(frozen=True, eq=False)
class History:
    """Everything a run recorded, in order of time: the only input of checkers."""

    events: tuple[ev.AnyEvent, ...]
    frames: NDArray[np.void] = field(default_factory=lambda: np.empty(0, fr.FRAME))
    notes: tuple[str, ...] = ()
    """What was odd on reading (a torn last line or record that was cut off)."""

    @classmethod
    def load(cls, run_dir: Path) -> History:
        """Read a run directory.

        Raises:
            CorruptRun: there are no events, or a record in the middle cannot be read.
        """
        notes: list[str] = []
        events: list[ev.AnyEvent] = []
        for path in sorted((run_dir / "events").glob("*.jsonl")):
            events += _read_events(path, notes)
        if not events:
            raise CorruptRun(f"expected events below {run_dir}/events; saw none; is this a run directory?")
        chunks = [_read_frames(path, notes) for path in sorted((run_dir / "frames").glob("*.bin"))]
        frames = np.concatenate(chunks) if chunks else np.empty(0, fr.FRAME)
        kept = next((e.t_ns for e in events if isinstance(e, ev.Kept)), None)
        if kept is not None:
            events, frames = [e for e in events if e.t_ns <= kept], frames[frames["t_ns"] <= kept]
        return cls.of(events, frames, tuple(notes))

    @classmethod
    def of(
        cls, events: Sequence[ev.AnyEvent], frames: NDArray[np.void] | None = None, notes: tuple[str, ...] = ()
    ) -> History:
        """Return a history of these events and frames, put in order of time."""
        got = np.empty(0, fr.FRAME) if frames is None else frames
        order = np.argsort(got["t_ns"], kind="stable")
        return cls(tuple(sorted(events, key=lambda e: e.t_ns)), got[order], notes)

    # -- small queries ---------------------------------------------------------------------------------------------

    def all(self, kind: type[E]) -> tuple[E, ...]:
        """Return the events of one kind, in order."""
        found = self._kinds.get(kind)
        if found is None:
            found = self._kinds[kind] = tuple(self.events[place] for place in self._places.get(kind, ()))
        return found  # type: ignore[return-value]  # they are of this kind

    def first(self, kind: type[E]) -> E | None:
        """Return the first event of a kind, or None."""
        return next(iter(self.all(kind)), None)

    def last(self, kind: type[E]) -> E | None:
        """Return the last event of a kind, or None."""
        found = self.all(kind)
        return found[-1] if found else None

    def iter(self, *kinds: type[ev.Event]) -> Iterator[ev.AnyEvent]:
        """Iterate the events of several kinds in order of time."""
        places = [where for kind, where in self._places.items() if issubclass(kind, kinds)]
        return (self.events[place] for place in sorted(chain.from_iterable(places)))

    @cached_property
    def _places(self) -> dict[type[ev.Event], array[int]]:
        """Kind -> where its events stand: of a soak's million most are log lines, which few ask for."""
        found: dict[type[ev.Event], array[int]] = {}
        for place, event in enumerate(self.events):
            kind = type(event)
            if kind not in found:
                found[kind] = array("L")
            found[kind].append(place)
        return found

    @cached_property
    def _kinds(self) -> dict[type[ev.Event], tuple[ev.AnyEvent, ...]]:
        return {}

    @cached_property
    def run_started(self) -> ev.RunStarted:
        """The run's first event.

        Raises:
            CorruptRun: it is missing.
        """
        found = self.first(ev.RunStarted)
        if found is None:
            raise CorruptRun("expected a run-started event; saw none; the run ended before it began, or is damaged")
        return found

    def at_hop(self, hop: fr.Hop, speaker: int | None = None) -> NDArray[np.void]:
        """Return the records of one hop (and speaker), in order of time; ``sent`` stamps left out."""
        found = self._at_hops.get((hop, speaker))
        if found is None:
            if speaker is None:
                mask_ = (self.frames["hop"] == int(hop)) & ((self.frames["flags"] & int(fr.Flag.SENT)) == 0)
                found = self.frames[mask_]
            else:
                of_hop = self.at_hop(hop)
                found = of_hop[of_hop["speaker"] == speaker]
            found.flags.writeable = False  # everybody who asks gets the same records
            self._at_hops[hop, speaker] = found
        return found

    @cached_property
    def _at_hops(self) -> dict[tuple[fr.Hop, int | None], NDArray[np.void]]:
        return {}

    def captions(self, hop: str, *, final: bool | None = None, speaker: int | None = None) -> tuple[ev.Caption, ...]:
        """Return the captions of a text hop that name words of ours."""
        found = self._captions.get((hop, final, speaker))
        if found is None:
            those = self.all(ev.Caption) if speaker is None else self.captions(hop, final=final)
            found = self._captions[hop, final, speaker] = tuple(
                c for c in those
                if c.hop == hop and c.words and (final is None or c.final == final) and speaker in {None, c.speaker}
            )  # fmt: skip
        return found

    @cached_property
    def _captions(self) -> dict[tuple[str, bool | None, int | None], tuple[ev.Caption, ...]]:
        return {}

    def logs(self, component: str) -> tuple[ev.LogLine, ...]:
        """Return the recorded log lines of a component."""
        return tuple(e for e in self.all(ev.LogLine) if e.component == component)

    def speakers(self) -> dict[int, str]:
        """Return speaker id -> person, for everybody who talked."""
        return {t.speaker: t.person for t in self.all(ev.Talking)}

    def spoken_ns(self, index: int) -> int:
        """Return when frame ``index`` was fully spoken (CLOCK_MONOTONIC, ns)."""
        return self.run_started.epoch_ns + (index + 1) * 20_000_000

    @property
    def start_ns(self) -> int:
        """Time of the first event."""
        return self.events[0].t_ns

    @property
    def end_ns(self) -> int:
        """Time of the last event."""
        return self.events[-1].t_ns

    def seconds(self, t_ns: int) -> float:
        """Return a time as seconds since the run's first event, as reports print it."""
        return (t_ns - self.start_ns) / 1e9


def read_new_events(path: Path, offset: int) -> tuple[list[ev.AnyEvent], int]:
    """Return the whole lines of ``path`` from byte ``offset`` on, and the offset after them (for a live view)."""
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read()
    end = data.rfind(b"\n") + 1
    return [ev.decode(line) for line in data[:end].splitlines()], offset + end


def _read_events(path: Path, notes: list[str]) -> list[ev.AnyEvent]:
    data = path.read_bytes()
    lines = data.split(b"\n")
    torn = lines.pop()  # b"" when the file ends with a newline
    if torn:
        notes.append(f"{path.name}: a torn last line of {len(torn)} bytes was cut off")
    found: list[ev.AnyEvent] = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(ev.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise CorruptRun(
                f"expected an event in {path.name} line {number}; saw {line[:80]!r} ({error}); "
                "the file is damaged in the middle, so nothing is concluded from it"
            ) from error
    return found


def _read_frames(path: Path, notes: list[str]) -> NDArray[np.void]:
    data = path.read_bytes()
    if len(data) < len(fr.MAGIC):
        notes.append(f"{path.name}: a torn header of {len(data)} bytes was cut off")
        return np.empty(0, fr.FRAME)
    if not data.startswith(fr.MAGIC):
        raise CorruptRun(f"expected {fr.MAGIC!r} at the start of {path.name}; saw {data[:16]!r}; not a frame file")
    body = data[len(fr.MAGIC) :]
    torn = len(body) % fr.FRAME.itemsize
    if torn:
        notes.append(f"{path.name}: a torn last record of {torn} bytes was cut off")
        body = body[:-torn]
    got: NDArray[np.void] = np.frombuffer(body, fr.FRAME)
    wrong = np.flatnonzero((got["hop"] < min(fr.Hop)) | (got["hop"] > max(fr.Hop)) | (got["t_ns"] == 0))
    if len(wrong):
        raise CorruptRun(
            f"expected a frame record at number {int(wrong[0])} of {path.name}; saw hop {int(got['hop'][wrong[0]])}; "
            "the file is damaged in the middle, so nothing is concluded from it"
        )
    return got
