"""Honest: spoken audio that makes no captions for longer than the budget must be told to somebody who can act.

Told is a state, not a moment. A message at the phone holds until it is contradicted: by ``audio_status`` available,
by a new ACK, or by a caption for words spoken after it. A closed socket of the phone's own holds until it opens. A
health endpoint holds from an answer that is not fine (or none) to its next fine answer. The budget counts from the
end of the last such state. Pauses in speech start a new count: what nobody says cannot be missed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import numpy as np

from harness import events as ev
from harness.checkers.hearing import app_ear_at_fault
from harness.checkers.timeline import (
    FRAME_NS,
    Span,
    at,
    first_frame,
    first_index_after,
    observed_end_ns,
    spoken,
    spoken_times,
    subtract,
    talk_end_ns,
    whole_words,
)
from harness.checkers.verdict import Evidence, Outcome, Params, Verdict
from harness.clock import SECOND_NS
from harness.history import History
from harness.speech import WORD_FRAMES, word_frames

NAME = "honest"
PAUSE_NS = SECOND_NS
"""A gap in speech longer than this (an utterance's silence is 0.4 s) ends a stretch: the phone or its wearer was
silent, and a phone that is not running tells so by itself."""
HEALTH_STALE_NS = 3 * SECOND_NS
"""Health is asked once a second: an answer says nothing about moments later than this."""


def check_honest(history: History, params: Params) -> Verdict:
    """Judge Honest; ``within_s`` defaults to the budget of Resumes that the story declares."""
    within_s = params.get("within_s") or _resumes_budget(history)
    if within_s is None:
        return Verdict(NAME, Outcome.UNKNOWN, "no budget: the story declares neither within_s nor Resumes")
    worst: tuple[Span, str] | None = None
    for speaker, person in sorted(history.speakers().items()):
        holes = told_spans(history, person, speaker)
        for stretch in uncaptioned(history, speaker, within_s):
            for piece in subtract(stretch, holes):
                if worst is None or piece.length_s > worst[0].length_s:
                    worst = (piece, person)
    if worst is None:
        if not history.speakers():
            return Verdict(NAME, Outcome.UNKNOWN, "nobody talked, so nobody had to be told")
        return Verdict(NAME, Outcome.HOLDS, "all speech became captions, or it was told that it does not")
    piece, person = worst
    if piece.length_s <= within_s:
        text = f"at most {piece.length_s:.1f} s of {person}'s speech made no captions untold (budget {within_s:.1f} s)"
        return Verdict(NAME, Outcome.HOLDS, text)
    ear = app_ear_at_fault(history, piece)
    if ear is not None:
        return Verdict(NAME, Outcome.UNKNOWN, ear)
    start_s = history.seconds(piece.start_ns)
    text = (
        f"{piece.length_s:.1f} s of {person}'s speech from {start_s:.1f} s on made no captions and nobody was told "
        f"(budget {within_s:.1f} s)"
    )
    return Verdict(NAME, Outcome.BROKEN, text, tuple(said_fine(history, person, piece)))


def _resumes_budget(history: History) -> float | None:
    declared = history.last(ev.Declared)
    specs = declared.checks if declared else ()
    return next((s.params["within_s"] for s in specs if s.name == "resumes"), None)


def uncaptioned(history: History, speaker: int, within_s: float) -> list[Span]:
    """Return the stretches of speech of which no word became a final at app-in within ``within_s``.

    A stretch lasts until captions come again; if none do, it ends a pause after its last word (or with the record):
    so long the wearer still waits for that word.
    """
    said = spoken(history, speaker)
    said = said[spoken_times(history, said) <= talk_end_ns(history)]
    words = whole_words(said)
    if len(words) == 0:
        return []
    start_ns = spoken_times(history, first_frame(words)) - FRAME_NS
    end_ns = start_ns + WORD_FRAMES * FRAME_NS
    came = _first_finals(history, speaker)
    came_ns = np.array([came.get(int(w), np.iinfo(np.int64).max) for w in words], np.int64)
    late = came_ns - end_ns > int(within_s * SECOND_NS)
    spans: list[Span] = []
    open_at: int | None = None
    for i in range(len(words)):
        paused = i > 0 and start_ns[i] - end_ns[i - 1] > PAUSE_NS
        if open_at is not None and (paused or not late[i]):
            waited_ns = int(end_ns[i - 1]) + PAUSE_NS
            spans.append(Span(int(start_ns[open_at]), waited_ns if late[i] else min(waited_ns, int(came_ns[i]))))
            open_at = None
        if late[i] and open_at is None:
            open_at = i
    if open_at is not None:
        spans.append(Span(int(start_ns[open_at]), min(int(end_ns[-1]) + PAUSE_NS, observed_end_ns(history))))
    return spans


def _first_finals(history: History, speaker: int) -> dict[int, int]:
    came: dict[int, int] = {}
    for caption in history.captions("app-in", final=True, speaker=speaker):
        for word in caption.words:
            came.setdefault(word, caption.t_ns)
    return came


def told_spans(history: History, person: str, speaker: int) -> list[Span]:
    """Return when somebody who can act knew that audio of ``person`` is lost."""
    return [
        *_socket_away(history, person), *_messages(history, person, speaker), *_health(history),
    ]  # fmt: skip


def _socket_away(history: History, person: str) -> Iterator[Span]:
    """The phone's own socket: closed, or not open yet. A dial proves that the one before is gone."""
    since_ns: int | None = history.start_ns
    for e in history.iter(ev.PhoneSocketOpen, ev.PhoneSocketClosed, ev.PhoneDialing):
        if getattr(e, "person", None) != person:
            continue
        if isinstance(e, ev.PhoneSocketOpen):
            if since_ns is not None:
                yield Span(since_ns, e.t_ns, "the phone's socket was not open")
            since_ns = None
        elif since_ns is None:
            since_ns = e.t_ns
    if since_ns is not None:
        yield Span(since_ns, history.end_ns, "the phone's socket was not open")


def _messages(history: History, person: str, speaker: int) -> Iterator[Span]:
    patterns = [re.compile(p) for p in history.run_started.told]
    messages = [m for m in history.all(ev.PhoneMessage) if m.person == person]
    spoken_from = [
        (c.t_ns, max(word_frames(w)[0] for w in c.words))
        for c in history.captions("app-in", final=True, speaker=speaker)
    ]
    for m in messages:
        if not _tells(m, patterns):
            continue
        low = first_index_after(history, m.t_ns)
        ends = [o.t_ns for o in messages if o.t_ns > m.t_ns and _withdraws(o)]
        ends += [t for t, newest in spoken_from if t > m.t_ns and newest >= low]
        yield Span(m.t_ns, min(ends, default=history.end_ns), f"phone message {m.type}")


def _tells(message: ev.PhoneMessage, patterns: list[re.Pattern[str]]) -> bool:
    if message.type in {"connection_error", "auth_error"}:
        return True
    if message.type == "audio_status" and _status(message) == "unavailable":
        return True
    return any(p.search(message.body) for p in patterns)


def _withdraws(message: ev.PhoneMessage) -> bool:
    if message.type == "connection_ack":
        return True
    return message.type == "audio_status" and _status(message) == "available"


def _status(message: ev.PhoneMessage) -> str:
    try:
        body = json.loads(message.body)
    except json.JSONDecodeError:
        return ""
    return str(body.get("status", "")) if isinstance(body, dict) else ""


def _health(history: History) -> Iterator[Span]:
    """Not fine, or no answer: from that reading to the next fine one, at most as long as a reading is fresh.

    An unanswered reading of a cloud is over when a phone's socket opens: then the cloud answers again.
    """
    opened = [e.t_ns for e in history.all(ev.PhoneSocketOpen)]
    reads: dict[str, list[ev.HealthRead]] = {}
    for e in history.all(ev.HealthRead):
        reads.setdefault(e.component, []).append(e)
    for component, own in reads.items():
        for read, after in zip(own, [*own[1:], None], strict=True):
            if read.answered and read.says_fine:
                continue
            ends = [read.t_ns + HEALTH_STALE_NS, *([after.t_ns] if after else [])]
            if not read.answered and component.startswith("cloud"):
                ends += [t_ns for t_ns in opened if t_ns > read.t_ns]
            yield Span(read.t_ns, min(ends), f"health of {component}")


def said_fine(history: History, person: str, piece: Span) -> Iterator[Evidence]:
    """Return what claimed, meanwhile or just before, that all was well."""
    groups: dict[str, list[tuple[int, str]]] = {}
    for t_ns, where, name in _fine_words(history, person):
        if piece.start_ns - 2 * SECOND_NS <= t_ns <= piece.end_ns:
            groups.setdefault(name, []).append((t_ns, where))
    for name, seen in groups.items():
        times = f"{name}, {len(seen)} times" if len(seen) > 1 else name
        yield at(history, seen[0][0], seen[0][1], times)


def _fine_words(history: History, person: str) -> Iterator[tuple[int, str, str]]:
    """Give when, where and what: everything that claims that audio is well."""
    for m in history.all(ev.PhoneMessage):
        if m.person == person and m.type == "connection_ack":
            yield m.t_ns, m.proc or "phone", "ACK said connected" + (", with livekit" if "livekit" in m.body else "")
    for h in history.all(ev.HealthRead):
        if h.answered and h.says_fine:
            yield h.t_ns, h.component, f"health of {h.component} said fine"
    for k in history.all(ev.SttKeepalive):
        yield k.t_ns, "stt-in", "STT keepalive"
    for b in history.all(ev.BridgeRead):
        if any(b.connected.values()):
            yield b.t_ns, "bridge", "bridge GetStatus said connected"
