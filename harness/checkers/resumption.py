"""Resumes: a final caption for words spoken after the story's anchor, within the budget."""

from __future__ import annotations

from harness import events as ev
from harness.checkers.hearing import app_ear_at_fault, hop_states
from harness.checkers.timeline import (
    FINAL_AFTER_FRAMES,
    FRAME_NS,
    SPEECH_FRAMES,
    Span,
    anchors,
    at,
    fault_windows,
    first_index_after,
    observed_end_ns,
    spoken,
)
from harness.checkers.verdict import Evidence, Outcome, Params, Verdict
from harness.clock import SECOND_NS
from harness.history import History
from harness.speech import UTTERANCE_FRAMES, WORD_FRAMES, word_frames

NAME = "resumes"


def check_resumes(history: History, params: Params) -> Verdict:
    """Judge Resumes; ``within_s`` counts from each person's last anchor. The worst person decides.

    Stale captions do not count: the caption must name a word whose first frame was spoken after the anchor.
    """
    within_s = params["within_s"]
    never = never_steady(history)
    if never is not None:
        return never
    verdicts = [_judge_person(history, anchor, within_s) for _, anchor in sorted(anchors(history).items())]
    verdicts += _without_anchor(history)
    if not verdicts:
        return Verdict(NAME, Outcome.UNKNOWN, "the story has no anchor: nothing says from when captions are owed")
    order = [Outcome.BROKEN, Outcome.UNKNOWN, Outcome.HOLDS]
    return min(verdicts, key=lambda v: order.index(v.outcome))


def never_steady(history: History) -> Verdict | None:
    """Return BROKEN for a baseline that never got steady: with no fault, the system alone is to blame."""
    failed = history.first(ev.SteadyFailed)
    if failed is None or not history.run_started.baseline:
        return None
    what = "captions flowed but never steadily" if failed.flowed else "captions never flowed"
    proof = at(history, failed.t_ns, failed.proc or "rig", failed.reason)
    return Verdict(NAME, Outcome.BROKEN, f"{what}, without any fault: {failed.reason}", (proof,))


def first_caption_after(history: History, speaker: int, from_ns: int) -> ev.Caption | None:
    """Return the first final at app-in that names a word of ``speaker`` spoken wholly after ``from_ns``."""
    low = first_index_after(history, from_ns)
    return next(
        (
            c for c in history.captions("app-in", final=True, speaker=speaker)
            if c.t_ns >= from_ns and any(word_frames(w)[0] >= low for w in c.words)
        ),
        None,
    )  # fmt: skip


def _judge_person(history: History, anchor: ev.Anchor, within_s: float) -> Verdict:
    limit_ns = anchor.moment_ns + int(within_s * SECOND_NS)
    start = at(history, anchor.moment_ns, anchor.proc or "rig", f"anchor of {anchor.person}: {anchor.name}")
    speaker = next((s for s, p in history.speakers().items() if p == anchor.person), None)
    if speaker is None:
        return Verdict(NAME, Outcome.UNKNOWN, f"{anchor.person} never talked", (start,))
    found = first_caption_after(history, speaker, anchor.moment_ns)
    if found is not None:
        took_s = (found.t_ns - anchor.moment_ns) / SECOND_NS
        proof = at(history, found.t_ns, "app-in", f"first final for words spoken since: “{found.text}”")
        text = f"captions of {anchor.person} flowed again {took_s:.2f} s after {anchor.name} (budget {within_s:.1f} s)"
        return Verdict(NAME, Outcome.HOLDS if found.t_ns <= limit_ns else Outcome.BROKEN, text, (start, proof))
    unknown = _cannot_tell(history, anchor, speaker, limit_ns)
    if unknown is not None:
        return Verdict(NAME, Outcome.UNKNOWN, unknown, (start,))
    text = f"no final caption of {anchor.person} within {within_s:.1f} s of {anchor.name}, nor later"
    return Verdict(NAME, Outcome.BROKEN, text, (start, *_hops(history, anchor, speaker)))


def _cannot_tell(history: History, anchor: ev.Anchor, speaker: int, limit_ns: int) -> str | None:
    """Return why the lack of a caption proves nothing."""
    end_ns = observed_end_ns(history)
    missed = any(m.t_ns >= anchor.moment_ns for m in history.all(ev.RecoveryMissed))
    if end_ns < limit_ns and not missed:
        seen_s = (end_ns - anchor.moment_ns) / SECOND_NS
        return f"the run ended {seen_s:.1f} s after {anchor.name}, before the budget was over, without a caption"
    said = spoken(history, speaker)
    said = said[said >= first_index_after(history, anchor.moment_ns)]
    if len(said) == 0:
        return f"{anchor.person} said nothing after {anchor.name}"
    utterance, position = divmod(int(said[0]), UTTERANCE_FRAMES)
    if position > SPEECH_FRAMES - WORD_FRAMES:
        utterance += 1  # none of this utterance's words is wholly after the anchor
    owed_ns = history.run_started.epoch_ns + (utterance * UTTERANCE_FRAMES + FINAL_AFTER_FRAMES) * FRAME_NS
    if owed_ns > limit_ns:
        return f"{anchor.person} finished no utterance within the budget after {anchor.name}"
    return app_ear_at_fault(history, Span(anchor.moment_ns, limit_ns))


def _hops(history: History, anchor: ev.Anchor, speaker: int) -> tuple[Evidence, ...]:
    states = hop_states(history, anchor.moment_ns, speaker=speaker)
    return tuple(
        at(history, s.first_ns or anchor.moment_ns, s.hop, f"{s.state}: {s.count} after the anchor {s.note}".rstrip())
        for s in states
    )


def _without_anchor(history: History) -> list[Verdict]:
    """Judge people who have no anchor: broken when their socket never opened (again), else unknown if nobody has one.

    The rig writes an anchor when it really happens, so a socket that stays closed leaves none.
    """
    found, known = [], anchors(history)
    windows = fault_windows(history)
    since_ns = windows[-1].landed_ns if windows else history.start_ns
    for person in sorted({t.person for t in history.all(ev.Talking)} - known.keys()):
        opened = [e.t_ns for e in history.all(ev.PhoneSocketOpen) if e.person == person]
        closed = [e.t_ns for e in history.all(ev.PhoneSocketClosed) if e.person == person]
        closed += [e.t_ns for e in history.all(ev.PhoneDialing) if e.person == person]
        if opened and (not windows or max(opened) >= max(closed, default=0)):
            missed = history.last(ev.RecoveryMissed)
            if not known and missed is not None:
                why = f"{person} never came as far as the anchor of the story: {missed.reason}"
                found.append(Verdict(NAME, Outcome.BROKEN, why))
            elif not known:
                why = f"no anchor was written for {person}, though the phone's socket was open"
                found.append(Verdict(NAME, Outcome.UNKNOWN, why))
            continue
        word = "again after the fault" if opened else "at all"
        tries = [e for e in history.all(ev.PhoneDialFailed) if e.person == person and e.t_ns >= since_ns]
        proof = tuple(at(history, e.t_ns, e.proc, f"dial {e.attempt} failed: {e.reason}") for e in tries[-3:])
        found.append(Verdict(NAME, Outcome.BROKEN, f"the phone of {person} never reopened its socket {word}", proof))
    return found
