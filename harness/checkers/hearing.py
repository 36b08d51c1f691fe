"""What each hop heard of the speech after a moment, and whose fault a silence is: the path's or our own ear's."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np

from harness import events as ev
from harness.checkers.timeline import Span, distinct, first_index_after, observed_end_ns, spoken
from harness.frames import HOP_NAME, HOPS, Flag, Hop
from harness.history import History
from harness.speech import word_frames

SILENT_BELOW = 0.1
"""A hop that heard less than this share of what was spoken counts as silent: what slips through as a path dies is no
recovery."""
APP_LINK = "app->cloud"
TO_BRIDGE = "->bridge"
"""How the link to a bridge ends; what comes back through it is heard at ``bridge-out``."""
_UNSENT = int(Flag.NO_ROOM | Flag.MIC_OFF)


class Hearing(enum.StrEnum):
    """What can be said of a hop."""

    HEARD = "heard"
    SILENT = "silent"
    DEAF = "ear deaf"
    UNOBSERVED = "not observed"


@dataclass(frozen=True)
class HopState:
    """What one hop heard of the speech in question."""

    hop: str
    state: Hearing
    count: int
    """Frames at PCM hops, words at text hops."""
    first_ns: int | None
    note: str = ""


def deaf_spans(history: History, hop: str) -> list[Span]:
    """Return when an ear of ours could not hear at ``hop``."""
    spans: list[Span] = []
    since: ev.EarDeaf | None = None
    for event in history.iter(ev.EarDeaf, ev.EarHearing):
        if isinstance(event, ev.EarDeaf) and event.hop == hop:
            since = since or event
        elif isinstance(event, ev.EarHearing) and event.hop == hop and since is not None:
            spans.append(Span(since.t_ns, event.t_ns, since.reason))
            since = None
    if since is not None:
        spans.append(Span(since.t_ns, history.end_ns, since.reason))
    return spans


def deaf_in(history: History, hop: str, span: Span) -> Span | None:
    """Return the first deaf stretch of ``hop`` that touches ``span``."""
    return next((d for d in deaf_spans(history, hop) if d.overlap_ns(span) > 0), None)


def app_ear_at_fault(history: History, span: Span) -> str | None:
    """Return why a silence of the captions app in ``span`` is our own ear's doing, or None when it is not.

    The app is a stand-in of ours, but its socket lives by the cloud: the cloud must call the webhook (or take the
    app's own reconnection) before anything can be heard. So a deaf app ear is the cloud's doing as long as the cloud
    did not call, refused the app's dial, or took it and never acknowledged. It is ours only when the cloud called
    and the app never dialed back.
    """
    deaf = deaf_in(history, "app-in", span)
    if deaf is None or deaf.end_ns < span.end_ns:
        return None
    called = [w for w in history.all(ev.AppWebhook) if deaf.start_ns <= w.t_ns < span.end_ns and "stop" not in w.type]
    if not called:
        return None
    since_ns = called[0].t_ns
    dials = [e.t_ns for e in history.all(ev.LinkOpened) if e.link == APP_LINK]
    dials += [e.t_ns for e in history.all(ev.LinkRefused) if e.link == APP_LINK]
    dials += [e.t_ns for e in (*history.all(ev.AppSocketOpen), *history.all(ev.AppSocketClosed))]
    if any(t_ns >= since_ns for t_ns in dials):
        return None
    return f"the captions app's ear was deaf ({deaf.what}): called by the cloud, it never dialed back"


def observed(history: History, hop: str) -> bool:
    """Tell whether an ear of ours was there to hear at ``hop`` at any time."""
    if hop == "sfu":
        return _any_frame(history, Hop.SFU) or any(e.hop == "sfu" for e in history.all(ev.EarHearing))
    if hop == "bridge-out":
        return _bridge_is_read(history)
    if hop == "cloud-in":
        asked = any("audio_chunk" in e.subscriptions for e in history.all(ev.AppSubscribed))
        return asked or _any_frame(history, Hop.CLOUD_IN)
    return True  # the phone is ours; the STT and app stand-ins listen from the start: who never came is silent


def _bridge_is_read(history: History) -> bool:
    """Tell whether what a bridge says was read along, never given up, and its audio not compressed."""
    if any(e.link.endswith(TO_BRIDGE) for e in history.all(ev.WireUnreadable)):
        return False
    said = [e.name for e in history.all(ev.WireSaid) if e.link.endswith(TO_BRIDGE)]
    return (bool(said) or _any_frame(history, Hop.BRIDGE_OUT)) and "compressed" not in said


def _any_frame(history: History, hop: Hop) -> bool:
    return bool((history.frames["hop"] == int(hop)).any())


def hop_states(
    history: History, from_ns: int, *, speaker: int | None = None, until_ns: int | None = None
) -> tuple[HopState, ...]:
    """Return what each hop, in the order of the path, heard of the speech spoken from ``from_ns`` on."""
    speakers = [speaker] if speaker is not None else sorted(history.speakers())
    low = first_index_after(history, from_ns)
    high = first_index_after(history, until_ns) if until_ns is not None else np.iinfo(np.int64).max
    said = sum(int(((i >= low) & (i < high)).sum()) for i in (spoken(history, s) for s in speakers))
    span = Span(from_ns, until_ns or observed_end_ns(history))
    pcm = [_pcm_state(history, hop, speakers, (low, high), said, span) for hop in Hop]
    text = [_text_state(history, hop, speakers, (low, high), span) for hop in HOPS if hop not in HOP_NAME.values()]
    return (*pcm, *text)


def first_silent_hop(
    history: History, from_ns: int, *, speaker: int | None = None, until_ns: int | None = None
) -> HopState | None:
    """Return the first hop that was silent though it was observed and its ear heard; None when all of them heard."""
    states = hop_states(history, from_ns, speaker=speaker, until_ns=until_ns)
    return next((s for s in states if s.state is Hearing.SILENT), None)


def _pcm_state(
    history: History, hop: Hop, speakers: list[int], bounds: tuple[int, int], said: int, span: Span
) -> HopState:
    name = HOP_NAME[hop]
    got = history.at_hop(hop)
    got = got[np.isin(got["speaker"], speakers) & (got["index"] >= bounds[0]) & (got["index"] < bounds[1])]
    flags, note = got["flags"], ""
    if hop is Hop.PHONE_OUT:
        unsent = (flags & _UNSENT) != 0
        if len(got) and unsent.all():
            note = "no room" if (flags & int(Flag.NO_ROOM)).any() else "microphone off"
        got = got[~unsent]
    count = len(distinct(got["index"].astype(np.int64)))
    first_ns = int(got["t_ns"][0]) if len(got) else None
    if count > SILENT_BELOW * said:
        return HopState(name, Hearing.HEARD, count, first_ns)
    return HopState(name, _silence(history, name, span), count, first_ns, note)


def _text_state(history: History, hop: str, speakers: list[int], bounds: tuple[int, int], span: Span) -> HopState:
    named = [
        (c.t_ns, w)
        for c in history.captions(hop, final=True if hop == "app-in" else None)
        if c.speaker in speakers
        for w in c.words
        if bounds[0] <= word_frames(w)[0] < bounds[1]
    ]
    first_ns = min((t for t, _ in named), default=None)
    count = len({w for _, w in named})
    return HopState(hop, Hearing.HEARD if count else _silence(history, hop, span), count, first_ns)


def _silence(history: History, hop: str, span: Span) -> Hearing:
    """Name a silence: an ear that was away most of the time says nothing about the path."""
    if not observed(history, hop):
        return Hearing.UNOBSERVED
    deaf_ns = sum(d.overlap_ns(span) for d in deaf_spans(history, hop))
    if deaf_ns * 2 < span.end_ns - span.start_ns or deaf_ns == 0:
        return Hearing.SILENT
    if hop == "app-in" and app_ear_at_fault(history, span) is None:
        return Hearing.SILENT  # the app's socket is down because the cloud did not call it
    return Hearing.DEAF
