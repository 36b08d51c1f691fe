"""What goes wrong with the audio streams of one session: two that share it, an old one that ends the new one's."""

from __future__ import annotations

from harness import events as ev
from harness.checkers.scene import Scene
from harness.checkers.timeline import at
from harness.checkers.verdict import Diagnosis


def two_streams_split_audio(s: Scene) -> Diagnosis | None:
    """A second stream of one session was let in and brought audio, which the cloud's own then lacked."""
    shared = [e for e in s.history.all(ev.ForeignStream) if e.outcome == "accepted" and e.chunks]
    if not shared or not s.broken("bounded_loss", "resumes"):
        return None
    said = [
        at(s.history, e.t_ns, "bridge", f"a second stream of {e.user} brought {e.chunks} chunks; {e.detail}")
        for e in shared
    ]
    why = "two streams of one session were open, and what one of them brought the other lacked"
    lost = s.verdicts.get("bounded_loss")
    return Diagnosis("two-streams-split-audio", why, (*said, *(lost.evidence[:1] if lost is not None else ())))
