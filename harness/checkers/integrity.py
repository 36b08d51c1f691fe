"""Intact: bytes of PCM are right wherever they are heard. A frame cut by a lost packet is loss, not damage.

Frames that a fault damaged on purpose, before they left the phone, are left out: those, and no others.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness import events as ev
from harness.checkers.injections import DAMAGED, ODD_STRAYS, injections
from harness.checkers.timeline import Indices, at
from harness.checkers.verdict import Evidence, Outcome, Params, Verdict
from harness.frames import DAMAGE, HOP_NAME, HOPS, Flag, Hop
from harness.history import History

NAME = "intact"
DAMAGES = ("swapped", "slipped", "corrupt", "stray")


def check_intact(history: History, _params: Params) -> Verdict:
    """Judge Intact; BROKEN names the first hop of the path that heard damage."""
    proofs: dict[str, list[Evidence]] = {}
    excused, strays = _on_purpose(history)
    for e in history.all(ev.Damaged):
        if e.what in DAMAGES and not _excused(history, e, excused, strays):
            near = f" near frame {e.near_index}" if e.near_index >= 0 else ""
            proofs.setdefault(e.hop, []).append(at(history, e.t_ns, e.hop, f"{e.what}: {e.count}{near}"))
    for hop in Hop:
        got = history.at_hop(hop)
        bad = got[((got["flags"] & int(DAMAGE)) != 0) & ~_hurt(got, excused)]
        if len(bad):
            what = " and ".join(
                (f.name or "").lower() for f in (Flag.SWAPPED, Flag.SLIPPED, Flag.CORRUPT) if (bad["flags"] & f).any()
            )
            text = f"{len(bad)} of {len(got)} frames {what}, the first is frame {bad['index'][0]}"
            proofs.setdefault(HOP_NAME[hop], []).insert(0, at(history, int(bad["t_ns"][0]), HOP_NAME[hop], text))
    if proofs:
        first = min(proofs, key=lambda h: HOPS.index(h) if h in HOPS else len(HOPS))
        shown = tuple(e for h in sorted(proofs, key=lambda h: h != first) for e in proofs[h][:3])
        text = f"PCM is not bit-exact from {first} on: {proofs[first][0].text}"
        return Verdict(NAME, Outcome.BROKEN, text, shown, stands=True)
    heard = int((history.frames["hop"] != int(Hop.PHONE_OUT)).sum())
    if heard == 0:
        return Verdict(NAME, Outcome.UNKNOWN, "no PCM was heard at any hop after the phone")
    text = f"{heard} frames heard after the phone, all bit-exact"
    if strays or any(len(frames) for frames in excused.values()):
        text += f" but the {sum(len(frames) for frames in excused.values())} that were damaged on purpose"
    return Verdict(NAME, Outcome.HOLDS, text)


def _on_purpose(history: History) -> tuple[dict[int, Indices], int]:
    """Return speaker -> the frames damaged on purpose, and how many stray bytes odd packets left at each hop."""
    found = {speaker: injections(history, speaker) for speaker in history.speakers()}
    strays = sum(ODD_STRAYS * done.packets["odd"] for done in found.values())
    return {speaker: done.of(*DAMAGED) for speaker, done in found.items()}, strays


def _hurt(got: NDArray[np.void], excused: dict[int, Indices]) -> NDArray[np.bool_]:
    found = np.zeros(len(got), np.bool_)
    for speaker, frames in excused.items():
        if len(frames):
            found |= (got["speaker"] == speaker) & np.isin(got["index"], frames)
    return found


def _excused(history: History, told: ev.Damaged, excused: dict[int, Indices], strays: int) -> bool:
    """Tell whether all damage of this kind at this hop is what was done on purpose; the records tell it frame by frame.

    Odd packets leave so many stray bytes at a hop, and no more.
    """
    if not any(len(frames) for frames in excused.values()):
        return False
    total = sum(e.count for e in history.all(ev.Damaged) if (e.hop, e.what) == (told.hop, told.what))
    if told.what == "stray":
        return total <= strays
    hop = next(hop for hop, name in HOP_NAME.items() if name == told.hop)
    got = history.at_hop(hop)
    got = got[(got["flags"] & int(Flag[told.what.upper()])) != 0]
    return total <= int(_hurt(got, excused).sum())
