"""Intact: bytes of PCM are right wherever they are heard. A frame cut by a lost packet is loss, not damage."""

from __future__ import annotations

from harness import events as ev
from harness.checkers.timeline import at
from harness.checkers.verdict import Evidence, Outcome, Params, Verdict
from harness.frames import DAMAGE, HOP_NAME, HOPS, Flag, Hop
from harness.history import History

NAME = "intact"
DAMAGES = ("swapped", "slipped", "corrupt", "stray")


def check_intact(history: History, _params: Params) -> Verdict:
    """Judge Intact; BROKEN names the first hop of the path that heard damage."""
    proofs: dict[str, list[Evidence]] = {}
    for e in history.all(ev.Damaged):
        if e.what in DAMAGES:
            near = f" near frame {e.near_index}" if e.near_index >= 0 else ""
            proofs.setdefault(e.hop, []).append(at(history, e.t_ns, e.hop, f"{e.what}: {e.count}{near}"))
    for hop in Hop:
        got = history.at_hop(hop)
        bad = got[(got["flags"] & int(DAMAGE)) != 0]
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
    return Verdict(NAME, Outcome.HOLDS, f"{heard} frames heard after the phone, all bit-exact")
