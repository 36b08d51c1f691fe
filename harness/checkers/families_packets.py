"""What a system does wrong with audio packets that come late, damaged or not at all."""

from __future__ import annotations

import numpy as np

from harness.checkers.accounting import lost_unexplained
from harness.checkers.hearing import observed
from harness.checkers.injections import injections
from harness.checkers.scene import CAPTIONS, Scene
from harness.checkers.timeline import at
from harness.checkers.verdict import Diagnosis
from harness.frames import HOP_NAME, Hop

MOST = 0.75
"""So large a share of the losses stands right behind a packet that was missing already: no chance does that."""
FEWEST = 2


def packet_loss_doubled(s: Scene) -> Diagnosis | None:
    """Behind each packet that is missing the next one is lost, too, at the first hop that lacks any."""
    if not s.broken(*CAPTIONS):
        return None
    for speaker, person in sorted(s.history.speakers().items()):
        dropped = injections(s.history, speaker).of("dropped")
        for hop in Hop:
            if len(dropped) == 0 or not observed(s.history, HOP_NAME[hop]):
                continue
            lost = lost_unexplained(s.history, hop, speaker, person)
            if len(lost) == 0:
                continue
            begins = lost[np.flatnonzero(np.diff(lost, prepend=-2) != 1)]
            behind = int(np.isin(begins - 1, dropped).sum())
            if behind < FEWEST or behind < MOST * len(begins):
                break
            text = f"{behind} of {len(begins)} gaps ({len(lost)} frames) begin where a packet was missing already"
            proof = at(s.history, s.history.spoken_ns(int(begins[0])), HOP_NAME[hop], text)
            why = f"what came behind a missing packet was lost as well, on the way to {HOP_NAME[hop]}"
            return Diagnosis("packet-loss-doubled", why, (proof, s.hop_proof()))
    return None
