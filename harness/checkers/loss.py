"""Bounded loss: milliseconds of speech that never reached the cloud, or became no final caption.

A lost frame is one that the phone spoke and nobody heard whole at cloud-in or stt-in; a lost word is one of a finished
utterance that no final names, and counts as its ten frames. A frame lost in both ways counts once. What a fault dropped
or damaged on purpose is no loss, and no word is owed that it touched; but where packets were hurt, each of the cloud's
ears has to account for the rest: beyond what was done on purpose nothing may be missing, or out of its place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness import events as ev
from harness.checkers.accounting import accounts
from harness.checkers.hearing import app_ear_at_fault, deaf_in, observed
from harness.checkers.injections import DAMAGED, injections
from harness.checkers.timeline import (
    FINAL_AFTER_FRAMES,
    FINAL_IN_FLIGHT_NS,
    FRAME_NS,
    Indices,
    Span,
    at,
    distinct,
    finished_utterances,
    first_frame,
    impacts,
    observed_end_ns,
    spoken,
    spoken_times,
    steady_spans,
    whole_words,
)
from harness.checkers.verdict import MS_PER_FRAME, Evidence, Outcome, Params, Verdict
from harness.clock import SECOND_NS
from harness.frames import HOP_NAME, Flag, Hop
from harness.history import History
from harness.speech import UTTERANCE_FRAMES, UTTERANCE_WORDS, WORD_FRAMES

NAME = "bounded_loss"
EDGE_NS = 1_000
"""Moments of frames are told to the nanosecond before or after the frame's edge."""
ACCOUNTED = ("cloud-in", "stt-in")
STEADY, IMPACT, ENDLESS = "while steady", "during the impact", "and was never steady again after the fault"


@dataclass(frozen=True)
class Loss:
    """What one person lost in some stretches of time."""

    person: str
    frames: Indices
    """Indices of all lost frames, those of lost words included, once each."""
    words: int
    spoken_frames: int

    @property
    def ms(self) -> int:
        """The loss in milliseconds of speech."""
        return len(self.frames) * MS_PER_FRAME


def check_bounded_loss(history: History, params: Params) -> Verdict:
    """Judge Bounded loss: ``steady_ms`` over the steady stretches together, ``impact_ms`` over the impacts together."""
    found: list[Verdict] = []
    for speaker, person in sorted(history.speakers().items()):
        steady, hit = steady_spans(history, person), impacts(history, person)
        steady_words = steady_spans(history, person, FINAL_IN_FLIGHT_NS)
        hit_words = impacts(history, person, FINAL_IN_FLIGHT_NS)
        # Without an end there is no total to compare with the budget: what is lost goes on being lost.
        endless = not any(again.person == person for again in history.all(ev.SteadyAgain))
        for kind, when, when_words, budget_ms in (
            (STEADY, steady, steady_words, params["steady_ms"]),
            (ENDLESS if endless else IMPACT, hit, hit_words, 0.0 if endless else params["impact_ms"]),
        ):
            spans = [_owed(history, s) for s in when]
            word_spans = [_owed(history, s) for s in when_words]
            loss = lost_in(history, speaker, person, spans, word_spans, straddling=kind != STEADY)
            if loss.spoken_frames:
                found.append(_verdict(history, speaker, loss, kind, budget_ms, spans))
    if not found:
        return Verdict(NAME, Outcome.UNKNOWN, "nobody spoke while the system was steady or during an impact")
    found += _unexplained(history, params["steady_ms"])
    order = [Outcome.BROKEN, Outcome.UNKNOWN]
    worst = [v for o in order for v in found if v.outcome is o]
    return worst[0] if worst else Verdict(NAME, Outcome.HOLDS, "; ".join(v.because for v in found))


def _unexplained(history: History, budget_ms: float) -> list[Verdict]:
    """Return what the books of the cloud's ears cannot explain, where packets were hurt: loss, and order."""
    if not history.all(ev.PacketHurt):
        return []
    found = []
    for account in accounts(history):
        lost_ms, late = account.lost_unexplained * MS_PER_FRAME, account.reordered_unexplained
        if account.hop in ACCOUNTED and (lost_ms > budget_ms or late):
            text = (
                f"beyond what was done to packets, {lost_ms} ms of {account.person} are missing at {account.hop} "
                f"(budget {budget_ms:.0f} ms), and {late} frames came there behind later ones"
            )
            first_ns = history.spoken_ns(account.lost[0]) if account.lost else history.start_ns
            proof = (at(history, first_ns, account.hop, text),)
            found.append(Verdict(NAME, Outcome.BROKEN, text, proof))
    return found


def _owed(history: History, span: Span) -> Span:
    """Cut the tail that was still on its way when the record ended without a drain."""
    if history.last(ev.Drained) is not None:
        return span
    return Span(span.start_ns, min(span.end_ns, observed_end_ns(history) - 2 * SECOND_NS), span.what)


def lost_in(
    history: History, speaker: int, person: str, spans: list[Span], word_spans: list[Span], *, straddling: bool
) -> Loss:
    """Return what ``speaker`` said in ``spans`` that was lost on its way to the cloud, or to a final caption.

    Words are weighed by ``word_spans``, as a final is longer on its way than a frame; what was said counts both.
    ``straddling``: words count whose utterance lies only partly in a span (an impact has its say over those).
    """
    said = spoken(history, speaker)
    times = spoken_times(history, said)
    inside = _inside(times - FRAME_NS, times, spans, straddling=straddling)
    heard = np.concatenate([_whole(history, hop, speaker) for hop in (Hop.CLOUD_IN, Hop.STT_IN)])
    on_purpose = injections(history, speaker)
    lost_frames = said[inside][~np.isin(said[inside], heard)]
    lost_frames = lost_frames[~np.isin(lost_frames, on_purpose.of("dropped", *DAMAGED))]
    words = _owed_words(history, said, word_spans, straddling=straddling)
    named = {w for c in history.captions("app-in", final=True, speaker=speaker) for w in c.words}
    named |= on_purpose.unowed_words
    lost_words = words[~np.isin(words, np.fromiter(named, np.int64, len(named)))]
    lost = distinct(np.concatenate((lost_frames, _frames_of(lost_words))))
    weighed = distinct(np.concatenate((said[inside], _frames_of(words))))
    return Loss(person, lost, len(lost_words), len(weighed))


def _frames_of(words: Indices) -> Indices:
    found: Indices = (first_frame(words)[:, None] + np.arange(WORD_FRAMES)).ravel()
    return found


def _whole(history: History, hop: Hop, speaker: int) -> Indices:
    got = history.at_hop(hop, speaker)
    whole: Indices = got["index"][(got["flags"] & int(Flag.CUT)) == 0].astype(np.int64)
    return whole


def _inside(
    begin_ns: Indices, end_ns: Indices, spans: list[Span], *, straddling: bool
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Tell which stretches of speech lie wholly in a span or, if ``straddling``, touch one."""
    inside = np.zeros(len(begin_ns), np.bool_)
    for span in spans:
        if straddling:
            inside |= (end_ns > span.start_ns) & (begin_ns < span.end_ns - EDGE_NS)
        else:
            inside |= (begin_ns + EDGE_NS >= span.start_ns) & (end_ns <= span.end_ns)
    return inside


def _owed_words(history: History, said: Indices, spans: list[Span], *, straddling: bool) -> Indices:
    """Return the words of finished utterances that began and (``straddling``: or) whose final fell due in a span."""
    words = whole_words(said)
    utterance = words // UTTERANCE_WORDS
    finished = np.isin(utterance, finished_utterances(said))
    begin_ns = spoken_times(history, first_frame(words)) - FRAME_NS
    due_ns = spoken_times(history, utterance * UTTERANCE_FRAMES + FINAL_AFTER_FRAMES - 1)
    found: Indices = words[finished & _inside(begin_ns, due_ns, spans, straddling=straddling)]
    return found


def _verdict(history: History, speaker: int, loss: Loss, kind: str, budget_ms: float, spans: list[Span]) -> Verdict:
    said_ms = loss.spoken_frames * MS_PER_FRAME
    text = f"{loss.person} lost {loss.ms} ms of {said_ms} ms {kind} (budget {budget_ms:.0f} ms)"
    if loss.ms <= budget_ms:
        return Verdict(NAME, Outcome.HOLDS, text)
    unheard = _ears_away(history, spans)
    if unheard is not None:
        return Verdict(NAME, Outcome.UNKNOWN, f"{text}, but {unheard}")
    if loss.words:
        text += f", {loss.words} words without a final"
    return Verdict(NAME, Outcome.BROKEN, text, tuple(_evidence(history, speaker, loss)))


def _ears_away(history: History, spans: list[Span]) -> str | None:
    """Return why a loss may be our own ears': neither ear of the cloud's PCM was there, or the app's was at fault."""
    for span in spans:
        app = app_ear_at_fault(history, span)
        if app is not None:
            return app
        stt = deaf_in(history, "stt-in", span)
        cloud = deaf_in(history, "cloud-in", span)
        if stt is not None and (cloud is not None or not observed(history, "cloud-in")):
            return f"the ears at cloud-in and stt-in were deaf ({stt.what})"
    return None


def _evidence(history: History, speaker: int, loss: Loss) -> list[Evidence]:
    """Name the first and the longest lost stretch, and how much of the lost frames each PCM hop heard."""
    runs = np.split(loss.frames, np.flatnonzero(np.diff(loss.frames) != 1) + 1)
    longest = max(runs, key=len)
    shown = [runs[0]] if longest is runs[0] else [runs[0], longest]
    found = []
    for run in shown:
        t_ns = history.spoken_ns(int(run[0]))
        text = f"frames {run[0]} to {run[-1]} lost ({len(run) * MS_PER_FRAME} ms; {len(runs)} gaps in all)"
        found.append(at(history, t_ns, "phone-out", text))
    first_ns = history.spoken_ns(int(loss.frames[0]))
    for hop in Hop:
        got = _whole(history, hop, speaker)
        if len(got):
            count = int(np.isin(loss.frames, got).sum())
            found.append(at(history, first_ns, HOP_NAME[hop], f"heard {count} of the {len(loss.frames)} lost frames"))
    return found
