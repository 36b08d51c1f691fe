"""Contained: nobody hears anybody else, and whoever lies outside every fault's blast radius feels nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness import events as ev
from harness.checkers.liveness import was_ready
from harness.checkers.loss import lost_in
from harness.checkers.reach import blasts_before, listed, outsiders, same_user
from harness.checkers.timeline import Span, at, fault_windows, observed_end_ns, steady_since_ns, talk_end_ns
from harness.checkers.timeliness import lags_in
from harness.checkers.verdict import MS_PER_FRAME, Evidence, Outcome, Params, Verdict
from harness.clock import SECOND_NS
from harness.history import History

NAME = "contained"
LAG_S: Final = 5.0
"""What a final of somebody unharmed may take where the story declares no Timely (incidents: end-to-end lag < 5 s)."""


def check_contained(history: History, _params: Params) -> Verdict:
    """Judge Contained: voices of strangers, components that end outside every blast, people outside that suffer.

    Voices and ends stand though we lagged: no lag makes a hop carry somebody else's speech, or ends a component.
    """
    strangers, ends = list(_misheard(history)), list(_harmed_components(history))
    harmed: list[Evidence] = []
    outside = outsiders(history) if fault_windows(history) else set()
    for speaker, person in sorted(history.speakers().items()):
        if person in outside:
            harmed += _harm(history, speaker, person)
    found = [*strangers, *ends, *harmed]
    if found:
        return Verdict(NAME, Outcome.BROKEN, found[0].text, tuple(found[:8]), stands=bool(strangers or ends))
    if not history.all(ev.ComponentReady):
        return Verdict(NAME, Outcome.UNKNOWN, "no component was seen to get ready, so nothing is known of their ends")
    silent = sorted(outside - set(history.speakers().values()))
    if silent:
        text = f"{listed(silent)}, outside every blast radius, never talked: whether they feel the fault is not known"
        return Verdict(NAME, Outcome.UNKNOWN, text)
    unsteady = sorted(p for p in outside if steady_since_ns(history, p) is None)
    if unsteady:
        text = f"{listed(unsteady)}, outside every blast radius, were never steady: what they feel is not known"
        return Verdict(NAME, Outcome.UNKNOWN, text)
    felt = f"{listed(outside)}, outside the blast radius, felt nothing; " if outside else ""
    return Verdict(NAME, Outcome.HOLDS, f"{felt}nobody was heard where another belongs; no component outside ended")


# --- Nobody hears anybody else --------------------------------------------------------------------------------------


def _misheard(history: History) -> Iterator[Evidence]:
    names = history.speakers()
    seen: set[tuple[str, str, int]] = set()
    for e in history.all(ev.Misheard):
        if (e.hop, e.owner, e.speaker) not in seen:
            seen.add((e.hop, e.owner, e.speaker))
            who = names.get(e.speaker, f"speaker {e.speaker}")
            yield at(history, e.t_ns, e.hop, f"{who} was heard at {e.hop} of {e.owner} from frame {e.first_index} on")
    yield from _shown_to_others(history, names)


def _shown_to_others(history: History, names: dict[int, str]) -> Iterator[Evidence]:
    """Find captions that a phone showed though somebody else said them; whose phone is not known, is left out."""
    owners, seen = _sole_owners(history), set[tuple[str, int]]()
    for caption in history.captions("phone-display"):
        owner = caption.person or owners.get(caption.proc, "")
        if not owner or caption.speaker not in names or (owner, caption.speaker) in seen:
            continue
        seen.add((owner, caption.speaker))
        if names[caption.speaker] not in same_user(history, owner):
            text = f"{names[caption.speaker]}'s words were shown on the phone of {owner}: “{caption.text}”"
            yield at(history, caption.t_ns, "phone-display", text)


def _sole_owners(history: History) -> dict[str, str]:
    """Return process -> whose phone it is, for those in which one person alone has dialed."""
    dialed: dict[str, set[str]] = {}
    for e in history.all(ev.PhoneDialing):
        dialed.setdefault(e.proc, set()).add(e.person)
    return {proc: min(those) for proc, those in dialed.items() if len(those) == 1}


# --- Components outside every blast -----------------------------------------------------------------------------------


def _harmed_components(history: History) -> Iterator[Evidence]:
    for e in history.all(ev.ComponentExited):
        if e.by_us or e.machine or not was_ready(history, e) or e.component in blasts_before(history, e.t_ns):
            continue
        yield at(history, e.t_ns, e.component, f"{e.component}, outside the blast radius, {e.exit_text}")
    first: dict[str, str] = {}
    for s in history.all(ev.ComponentStarted):
        was = first.setdefault(s.component, s.identity)
        if s.identity != was and s.component not in blasts_before(history, s.t_ns):
            text = f"{s.component}, outside the blast radius, was started anew: {s.identity}, before {was}"
            yield at(history, s.t_ns, s.component, text)


# --- People outside every blast ---------------------------------------------------------------------------------------


def _felt(e: ev.AnyEvent, person: str) -> str:
    match e:
        case ev.PhoneSocketClosed() if e.person == person:
            return f"socket closed ({e.reason})"
        case ev.RoomLost() if e.person == person:
            return f"room was lost ({e.reason})"
        case ev.RoomReconnecting() if e.person == person:
            return "room was lost (its library resumes)"
        case _:
            return ""


def _harm(history: History, speaker: int, person: str) -> Iterator[Evidence]:
    """Find what somebody whom no fault may touch lost, or felt, since the first fault began."""
    since_ns, steady_ns = fault_windows(history)[0].start_ns, steady_since_ns(history, person)
    end_ns = talk_end_ns(history)
    for e in history.iter(ev.PhoneSocketClosed, ev.RoomLost, ev.RoomReconnecting):
        what = _felt(e, person)
        if what and since_ns <= e.t_ns < end_ns:
            yield at(history, e.t_ns, e.proc or "phone", f"{person}, outside the blast radius: the {what}")
    if steady_ns is None:
        return
    if history.last(ev.Drained) is None:  # what was on its way when the record ended may still have come
        end_ns = min(end_ns, observed_end_ns(history) - 2 * SECOND_NS)
    span = Span(max(since_ns, steady_ns), end_ns)
    loss = lost_in(history, speaker, person, [span], [span], straddling=False)
    if len(loss.frames):
        first = int(loss.frames[0])
        text = f"{person}, outside the blast radius, lost {len(loss.frames) * MS_PER_FRAME} ms from frame {first} on"
        yield at(history, history.spoken_ns(first), "phone-out", text)
    budget_s = _lag_budget_s(history)
    lags = lags_in(history, speaker, Span(span.start_ns, observed_end_ns(history)))
    late = [one for one in lags if one.lag_s > budget_s]
    if late:
        text = f"{person}, outside the blast radius, got captions {late[0].lag_s:.2f} s late (budget {budget_s:.1f} s)"
        yield at(history, late[0].t_ns, "app-in", text)


def _lag_budget_s(history: History) -> float:
    declared = history.last(ev.Declared)
    specs = declared.checks if declared else ()
    return next((s.params["lag_s"] for s in specs if s.name == "timely"), LAG_S)
