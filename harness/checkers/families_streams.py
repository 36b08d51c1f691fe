"""What goes wrong with the audio streams of one session: two that share it, an old one that ends the new one's."""

from __future__ import annotations

import numpy as np

from harness import events as ev
from harness.checkers.people import is_user
from harness.checkers.scene import CAPTIONS, Scene
from harness.checkers.timeline import at, fault_windows, spoken, spoken_times
from harness.checkers.verdict import Diagnosis, Evidence
from harness.clock import SECOND_NS
from harness.frames import Hop

ENDS_WITHIN_NS = 2 * SECOND_NS
"""How soon a new session's stream ends that the error of an old one took down."""
ASKED = r"Calling JoinRoom RPC|Reconnection failed|Attempting to reconnect|Left LiveKit room|LeaveRoom RPC failed"
"""What a cloud's log says when it ends or replaces a session itself."""


SHARED = "SecondStream"
"""The fault that opens a second stream, and holds it until its heal."""
CHUNK_FRAMES = 5
"""The largest chunk that a bridge sends: 100 ms."""


def two_streams_split_audio(s: Scene) -> Diagnosis | None:
    """A second stream of one session was let in and brought audio, which the cloud's own then lacked."""
    if not s.broken("bounded_loss", "resumes"):
        return None
    shared = [
        e for e in s.history.all(ev.ForeignStream)
        if e.outcome == "accepted" and 0 < _lacking(s, e) <= e.chunks * CHUNK_FRAMES
    ]  # fmt: skip
    if not shared:
        return None
    said = [
        at(s.history, e.t_ns, "bridge", f"a second stream of {e.user} brought {e.chunks} chunks; {e.detail}")
        for e in shared
    ]
    why = "two streams of one session were open, and what one of them brought the other lacked"
    lost = s.verdicts.get("bounded_loss")
    return Diagnosis("two-streams-split-audio", why, (*said, *(lost.evidence[:1] if lost is not None else ())))


def _lacking(s: Scene, stream: ev.ForeignStream) -> int:
    """Return how many frames of this user, spoken while the stream was open, the room heard and the cloud did not.

    What a stream of the harness brought is only counted: it cannot have had more than it brought.
    """
    opened = [w.landed_ns for w in fault_windows(s.history) if w.fault.startswith(SHARED) and w.landed_ns < stream.t_ns]
    since_ns = max(opened, default=s.struck_ns)
    lacking = 0
    for speaker, person in s.history.speakers().items():
        if is_user(s.history, person, stream.user):
            said = spoken(s.history, speaker)
            times = spoken_times(s.history, said)
            said = said[(times >= since_ns) & (times <= stream.t_ns)]
            room, cloud = (s.history.at_hop(hop, speaker)["index"] for hop in (Hop.SFU, Hop.CLOUD_IN))
            lacking += int((np.isin(said, room) & ~np.isin(said, cloud)).sum())
    return lacking


def old_stream_error(s: Scene) -> Diagnosis | None:
    """An old stream broke when its session had been replaced, and the new session's stream ended with it."""
    if not s.broken(*CAPTIONS):
        return None
    for t_ns, broke in _broken_streams(s):
        asked = s.log("cloud", ASKED, t_ns - ENDS_WITHIN_NS)
        for ended in s.log("cloud", r"Audio stream ended", t_ns):
            if ended.t_ns > t_ns + ENDS_WITHIN_NS or any(t_ns <= line.t_ns <= ended.t_ns for line in asked):
                break
            why = "an old stream broke after its session was replaced, and the new session ended with it"
            return Diagnosis("old-stream-error-deletes-new-session", why, (broke, *s.proof(ended), s.hop_proof()))
    return None


def _broken_streams(s: Scene) -> list[tuple[int, Evidence]]:
    """Return when old streams broke: by what was done to them, and by what the bridge's log says after a join."""
    unread = [e for e in s.history.all(ev.ForeignStream) if e.outcome == "unread"]
    done = [(e.t_ns, at(s.history, e.t_ns, "bridge", f"an old stream of {e.user}: {e.detail}")) for e in unread]
    joined = s.log("bridge", r"Successfully joined room", s.struck_ns)
    since_ns = joined[0].t_ns if joined else s.until_ns
    lines = s.log("bridge", r"Cleaning up session for .* due to stream error", since_ns)
    return [*done, *((line.t_ns, s.proof(line)[0]) for line in lines)]
