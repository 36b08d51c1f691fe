"""Stretches of a run's time: when it was steady, when a fault had its say, when talk ended; and what was spoken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness import events as ev
from harness.checkers.reach import outsiders
from harness.checkers.verdict import Evidence
from harness.clock import MS_NS, SECOND_NS
from harness.frames import Hop
from harness.history import History
from harness.speech import UTTERANCE_FRAMES, UTTERANCE_WORDS, WORD_FRAMES

FRAME_NS: Final = 20 * MS_NS
IN_FLIGHT_NS: Final = 500 * MS_NS
"""What was spoken this shortly before a fault was still on its way and is lost to the fault, not to a steady system:
a packet of 100 ms, and the hops."""
FINAL_IN_FLIGHT_NS: Final = 1500 * MS_NS
"""The same for a final caption that fell due this shortly before a fault: its way back takes up to 1 s on a loaded
machine (measured), on top of the frames' own way."""
SPEECH_FRAMES: Final = WORD_FRAMES * UTTERANCE_WORDS
FINAL_AFTER_FRAMES: Final = SPEECH_FRAMES + 5
"""A final is owed once this much of an utterance was spoken: its words, and a silence as long as the largest packet
(100 ms), so that its first silent frame has surely been sent."""
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Span:
    """A stretch of time, in CLOCK_MONOTONIC nanoseconds."""

    start_ns: int
    end_ns: int
    what: str = ""

    @property
    def length_s(self) -> float:
        """Its length in seconds."""
        return (self.end_ns - self.start_ns) / SECOND_NS

    def overlap_ns(self, other: Span) -> int:
        """Return how much of the two is common."""
        return max(0, min(self.end_ns, other.end_ns) - max(self.start_ns, other.start_ns))


def subtract(span: Span, holes: list[Span]) -> list[Span]:
    """Return what is left of ``span`` without the holes, in order."""
    left, at_ns = [], span.start_ns
    for hole in sorted(holes, key=lambda h: h.start_ns):
        if hole.end_ns <= at_ns or hole.start_ns >= span.end_ns:
            continue
        if hole.start_ns > at_ns:
            left.append(Span(at_ns, hole.start_ns))
        at_ns = max(at_ns, hole.end_ns)
    if at_ns < span.end_ns:
        left.append(Span(at_ns, span.end_ns))
    return left


@dataclass(frozen=True)
class FaultWindow:
    """One fault that landed: from its first touch (Injecting) to its heal, if it has one."""

    number: int
    fault: str
    start_ns: int
    landed_ns: int
    end_ns: int | None
    held: bool
    proof: str
    stops: tuple[str, ...]


def fault_windows(history: History) -> tuple[FaultWindow, ...]:
    """Return the faults that landed, in order."""
    begun = {e.number: e for e in history.all(ev.Injecting)}
    healed = {e.number: e.t_ns for e in history.all(ev.Healed)}
    found = []
    for e in history.all(ev.Injected):
        start = begun.get(e.number)
        found.append(
            FaultWindow(
                e.number, e.fault, start.t_ns if start else e.t_ns, e.t_ns, healed.get(e.number),
                bool(start and start.held), e.proof, e.stops,
            )
        )  # fmt: skip
    return tuple(found)


def anchors(history: History) -> dict[str, ev.Anchor]:
    """Return each person's last anchor."""
    return {a.person: a for a in history.all(ev.Anchor)}


def talk_end_ns(history: History) -> int:
    """Return when the phones were told to stop talking, or the end of the record."""
    stopped = history.last(ev.StoppedTalking)
    return stopped.t_ns if stopped else history.end_ns


def observed_end_ns(history: History) -> int:
    """Return until when captions could still be heard: the end of draining, or of the record."""
    drained = history.last(ev.Drained)
    return drained.t_ns if drained else history.end_ns


def impacts(
    history: History, person: str, in_flight_ns: int = IN_FLIGHT_NS, windows: tuple[FaultWindow, ...] | None = None
) -> list[Span]:
    """Return the stretches from a fault until captions flow steadily again for ``person``, merged.

    Of all faults, or only of those in ``windows``.

    Each begins ``in_flight_ns`` before its fault: what was on its way then is lost to the fault.
    A person without steady-again events of their own takes everybody's. Whom no fault may touch has no impacts.
    """
    if person in outsiders(history):
        return []
    own = [s.moment_ns for s in history.all(ev.SteadyAgain) if s.person == person]
    again = own or [s.moment_ns for s in history.all(ev.SteadyAgain)]
    spans: list[Span] = []
    for window in fault_windows(history) if windows is None else windows:
        end_ns = min((m for m in again if m > window.landed_ns), default=talk_end_ns(history))
        start_ns = window.start_ns - in_flight_ns
        if spans and start_ns <= spans[-1].end_ns:
            spans[-1] = Span(spans[-1].start_ns, max(end_ns, spans[-1].end_ns), spans[-1].what)
        else:
            spans.append(Span(start_ns, end_ns, window.fault))
    return spans


def steady_spans(history: History, person: str, in_flight_ns: int = IN_FLIGHT_NS) -> list[Span]:
    """Return the stretches in which the system was steady and owed ``person`` every word (outside the impacts)."""
    first_ns = steady_since_ns(history, person)
    if first_ns is None:
        return []
    return subtract(Span(first_ns, talk_end_ns(history)), impacts(history, person, in_flight_ns))


def steady_since_ns(history: History, person: str) -> int | None:
    """Return when the system was first steady (for ``person``, where it is told only after a fault), or None."""
    reached = history.first(ev.SteadyReached)
    again = [s.moment_ns for s in history.all(ev.SteadyAgain) if s.person == person]
    return min([*([reached.since_ns] if reached else []), *again], default=None)


def spoken_times(history: History, index: Indices) -> Indices:
    """Return when each frame was fully spoken (ns)."""
    times: Indices = history.run_started.epoch_ns + (index + 1) * FRAME_NS
    return times


def first_index_after(history: History, t_ns: int) -> int:
    """Return the first frame index that was fully spoken at ``t_ns`` or later."""
    return max(0, -((history.run_started.epoch_ns - t_ns) // FRAME_NS) - 1)


def distinct(values: Indices) -> Indices:
    """Return the values once each, in order (frames come almost sorted, so sorting is much faster than hashing)."""
    values = np.sort(values, kind="stable")
    keep = np.ones(len(values), np.bool_)
    keep[1:] = values[1:] != values[:-1]
    found: Indices = values[keep]
    return found


def spoken(history: History, speaker: int) -> Indices:
    """Return the frame indices a person spoke (phone-out, whatever became of them), once each, in order."""
    return distinct(history.at_hop(Hop.PHONE_OUT, speaker)["index"].astype(np.int64))


def whole_words(index: Indices) -> Indices:
    """Return the numbers of the words of which all ten frames are in ``index`` (which holds each once)."""
    in_speech = index[index % UTTERANCE_FRAMES < SPEECH_FRAMES]
    words = in_speech // UTTERANCE_FRAMES * UTTERANCE_WORDS + in_speech % UTTERANCE_FRAMES // WORD_FRAMES
    number, count = np.unique(words, return_counts=True)
    found: Indices = number[count == WORD_FRAMES]
    return found


def finished_utterances(index: Indices) -> Indices:
    """Return the numbers of the utterances that were spoken far enough for a final to be owed."""
    at_end = index[index % UTTERANCE_FRAMES >= FINAL_AFTER_FRAMES - 1]
    return distinct(at_end // UTTERANCE_FRAMES)


def first_frame(word: Indices) -> Indices:
    """Return the first frame index of each word."""
    found: Indices = word // UTTERANCE_WORDS * UTTERANCE_FRAMES + word % UTTERANCE_WORDS * WORD_FRAMES
    return found


def at(history: History, t_ns: int, where: str, text: str) -> Evidence:
    """Return a piece of evidence, its time told from the run's start."""
    return Evidence(round(history.seconds(t_ns), 3), where, text)


def of_log(history: History, line: ev.LogLine) -> Evidence:
    """Return a log line as evidence, with where to find it."""
    text = line.text if len(line.text) <= 200 else line.text[:200] + "…"
    return at(history, line.t_ns, place_of(line), text)


def place_of(line: ev.LogLine) -> str:
    """Return where a line stands: in a log, or on the wire."""
    return str(getattr(line, "where", "")) or f"logs/{line.component}.log:{line.line}"
