"""The recovery waterfall: fault landed, healed, anchor, first frame per hop, first caption; and the outage."""

from __future__ import annotations

from harness import events as ev
from harness.checkers.hearing import Hearing, HopState, hop_states
from harness.checkers.resumption import first_caption_after
from harness.checkers.timeline import FaultWindow, anchors, fault_windows
from harness.checkers.verdict import Recovery
from harness.checkers.zombies import gate_text
from harness.clock import SECOND_NS
from harness.history import History

LABEL_WIDTH = 14


def recovery_of(history: History) -> Recovery:
    """Return the waterfall of the person who took longest to get captions back (or never did)."""
    windows = fault_windows(history)
    anchor, speaker = _slowest(history)
    first = first_caption_after(history, speaker, anchor.moment_ns) if anchor and speaker else None
    landed_ns = windows[0].landed_ns if windows else None
    last_ns, next_ns = _outage(history, speaker, windows, anchor)
    times: dict[str, float | None] = {
        "injected_s": _moment(history, landed_ns),
        "healed_s": _moment(history, max((w.end_ns for w in windows if w.end_ns), default=None)),
        "anchor_s": _moment(history, anchor.moment_ns if anchor else None),
        "last_good_s": _moment(history, last_ns),
        "next_good_s": _moment(history, next_ns),
        "outage_s": _span(last_ns, next_ns),
        "anchor_to_recovered_s": _span(anchor.moment_ns if anchor else None, first.t_ns if first else None),
        "injected_to_recovered_s": _span(landed_ns, first.t_ns if first else None),
    }
    states = hop_states(history, anchor.moment_ns, speaker=speaker) if anchor else ()
    for state in states:
        seen_ns = state.first_ns if state.hop != "app-in" else (first.t_ns if first else None)
        times[f"first_{state.hop.replace('-', '_')}_s"] = _moment(history, seen_ns)
    return Recovery(times, tuple(_lines(history, times, windows, anchor, states)))


def _slowest(history: History) -> tuple[ev.Anchor | None, int | None]:
    ids = {person: speaker for speaker, person in history.speakers().items()}
    worst: tuple[int, ev.Anchor | None, int | None] = (-1, None, None)
    for person, anchor in sorted(anchors(history).items()):
        speaker = ids.get(person)
        found = first_caption_after(history, speaker, anchor.moment_ns) if speaker else None
        took_ns = found.t_ns - anchor.moment_ns if found else history.end_ns
        if took_ns > worst[0]:
            worst = (took_ns, anchor, speaker)
    return worst[1], worst[2]


def _outage(
    history: History, speaker: int | None, windows: tuple[FaultWindow, ...], anchor: ev.Anchor | None
) -> tuple[int | None, int | None]:
    """Return when the last caption before the fault came and when the first good one after it."""
    if not windows:
        return None, None
    struck_ns = windows[0].start_ns
    before = [c.t_ns for c in history.captions("app-in", final=True, speaker=speaker) if c.t_ns <= struck_ns]
    if speaker is None:
        return max(before, default=None), None
    after = first_caption_after(history, speaker, anchor.moment_ns if anchor else struck_ns)
    return max(before, default=None), after.t_ns if after else None


def _moment(history: History, t_ns: int | None) -> float | None:
    return None if t_ns is None else round(history.seconds(t_ns), 3)


def _span(start_ns: int | None, end_ns: int | None) -> float | None:
    return None if start_ns is None or end_ns is None else round((end_ns - start_ns) / SECOND_NS, 3)


def _lines(
    history: History, times: dict[str, float | None], windows: tuple[FaultWindow, ...], anchor: ev.Anchor | None,
    states: tuple[HopState, ...],
) -> list[str]:  # fmt: skip
    lines = [_line("injected", _moment(history, w.landed_ns), f"{w.fault}  {w.proof}") for w in windows]
    healed = {e.number: e for e in history.all(ev.Healed)}
    lines += [_line("healed", _moment(history, e.t_ns), f"{e.fault}  {e.proof}") for _, e in sorted(healed.items())]
    lines += [_line("gate", _moment(history, g.t_ns), gate_text(g)) for g in history.all(ev.Gate)]
    if windows:
        lines.append(_line("last good", times["last_good_s"], "last final caption before the fault"))
    if anchor is not None:
        lines.append(_line("anchor", times["anchor_s"], f"{anchor.name} ({anchor.person})"))
    for state in states:
        seen_s = times[f"first_{state.hop.replace('-', '_')}_s"]
        word = f"{state.state} {state.note}".rstrip() if state.state is not Hearing.HEARD else "none in time"
        since = f"+{seen_s - (times['anchor_s'] or 0.0):.2f} s after the anchor" if seen_s is not None else ""
        lines.append(_line(state.hop, seen_s, since, none=word))
    if times["outage_s"] is not None:
        lines.append(_line("outage", times["outage_s"], "from the last good caption to the next"))
    elif windows:
        none = "no good caption after the fault" if times["next_good_s"] is None else "no caption before the fault"
        lines.append(_line("outage", None, "", none=none))
    return lines


def _line(label: str, moment_s: float | None, text: str, *, none: str = "never") -> str:
    shown = f"{moment_s:8.3f} s  {text}" if moment_s is not None else f"         {none}"
    return f"{label:<{LABEL_WIDTH}} {shown}".rstrip()
