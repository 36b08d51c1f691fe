"""What a cloud does wrong with its bridge: joins and streams it does not try again, silence that it does not see."""

from __future__ import annotations

import re

from harness import events as ev
from harness.checkers.scene import CAPTIONS, JOIN_FAILED, Scene
from harness.checkers.timeline import at
from harness.checkers.verdict import Diagnosis
from harness.clock import SECOND_NS

NO_LIVEKIT = r"failed to connect to room"
"""What a bridge answers when it cannot reach LiveKit."""
TAKEN_AWAY = r"Replacing existing bridge session|Closing room session for user"
"""What a bridge's log says when a join takes the place of a session."""


JOINED = r"Joined LiveKit room|Bridge rejoined LiveKit room|Rejoined LiveKit room|Connected to LiveKit room via gRPC"
"""What a cloud's log says of a join that came about."""
STREAM_LOST = r"Audio stream ended|Audio stream error"
ASKED_AGAIN = r"Calling JoinRoom RPC|Attempting to reconnect|Audio stream started|Bridge re-?join"
"""What a cloud's log says when it tries to have its audio again."""
FLAPPING = 3
"""So many joins of one user within `FLAPPING_WITHIN_NS`, none of them asked for by a phone, are a quarrel."""
FLAPPING_WITHIN_NS = 10 * SECOND_NS


def old_close_disposes(s: Scene) -> Diagnosis | None:
    """The grace of an old socket ran out while the phone had a newer one open."""
    if not s.broken("clean", *CAPTIONS):
        return None
    for line in s.log("cloud", r"Cleanup grace period expired|Session disposed and removed", s.struck_ns):
        opened = _newest_open(s, line)
        if opened is not None:
            proof = at(s.history, opened.t_ns, opened.proc or "phone", "socket open, and still open when that was said")
            why = "the session of a phone whose newer socket was open was disposed, for an old socket's late close"
            return Diagnosis("old-close-disposes-live-session", why, (*s.proof(line), proof))
    return None


def _newest_open(s: Scene, line: ev.LogLine) -> ev.PhoneSocketOpen | None:
    """Return the newest opening of somebody whose every socket cannot have been closed at this line, if there is one.

    It must have been open for a while: what opens as the grace ends is another matter. And it must be theirs whom the
    line names, where it names anybody.
    """
    t_ns, users = line.t_ns, {e.person: e.user for e in s.history.all(ev.PhoneDialing) if e.user}
    named = {user for user in users.values() if user in line.text}
    for person in {e.person for e in s.history.all(ev.PhoneSocketOpen)}:
        if named and users.get(person) not in named:
            continue
        opened = [e for e in s.history.all(ev.PhoneSocketOpen) if e.person == person and e.t_ns < t_ns - SECOND_NS]
        closed = [e for e in s.history.all(ev.PhoneSocketClosed) if e.person == person and e.t_ns < t_ns]
        if len(opened) > max(1, len(closed)):
            return opened[-1]
    return None


def orphan_ping_pong(s: Scene) -> Diagnosis | None:
    """Two bridge clients of one cloud take the user's session from each other, again and again."""
    if not s.broken("clean", *CAPTIONS):
        return None
    clients = s.log("cloud", r"gRPC client initialized")
    for user, joins in _joins_by_user(s).items():
        for first, last in zip(joins, joins[FLAPPING - 1 :], strict=False):
            if last.t_ns - first.t_ns > FLAPPING_WITHIN_NS or _dials(s, first.t_ns, last.t_ns) >= FLAPPING - 1:
                continue
            ended = [e for e in s.log("cloud", STREAM_LOST, first.t_ns) if e.t_ns <= last.t_ns]
            replaced = [e for e in s.log("bridge", TAKEN_AWAY, first.t_ns) if e.t_ns <= last.t_ns]
            if not (ended or replaced) or len(clients) < 2:
                continue
            why = f"{user} was joined again and again though no phone asked: two clients take the session in turns"
            return Diagnosis("orphan-client-ping-pong", why, (*s.proof(*clients[-2:]), *s.proof(first, last)))
    return None


def _joins_by_user(s: Scene) -> dict[str, list[ev.LogLine]]:
    joins: dict[str, list[ev.LogLine]] = {}
    for line in s.log("bridge", r"JoinRoom request", s.struck_ns):
        found = re.search(r"userId=([^,\s]+)", line.text)
        joins.setdefault(found[1] if found else "", []).append(line)
    return joins


def _dials(s: Scene, from_ns: int, until_ns: int) -> int:
    """Return how many joins in this time somebody had a reason for: a phone's socket, a fault, its heal."""
    opened = [e.t_ns for e in s.history.all(ev.PhoneSocketOpen)]
    struck = [e.t_ns for e in (*s.history.all(ev.Injected), *s.history.all(ev.Healed))]
    return sum(from_ns <= t_ns <= until_ns for t_ns in (*opened, *struck))


def sfu_down_at_join(s: Scene) -> Diagnosis | None:
    """LiveKit was away when the bridge was asked to join, and nobody asked again."""
    failed = s.log("cloud", r"(JoinRoom returned failure|Bridge rejoin failed|Reconnection failed).*" + NO_LIVEKIT)
    failed = failed or s.log("bridge", NO_LIVEKIT)
    if not failed or not s.broken(*CAPTIONS) or s.log("cloud", JOINED, failed[-1].t_ns):
        return None
    why = "the bridge could not reach LiveKit when it was asked to join, and nobody asked again"
    return Diagnosis("sfu-down-at-join", why, (*s.proof(*failed), s.hop_proof()))


def stream_end_not_retried(s: Scene) -> Diagnosis | None:
    """The audio stream ended with OK, and nothing was done about it."""
    lost = s.last_log("cloud", STREAM_LOST)
    if lost is None or "Audio stream ended" not in lost.text or not s.broken(*CAPTIONS):
        return None
    if s.log("cloud", ASKED_AGAIN, lost.t_ns) or not s.nothing_from_bridge:
        return None
    why = "the bridge ended the audio stream in good order, and the cloud never opened another"
    return Diagnosis("stream-end-not-retried", why, (*s.proof(lost), s.hop_proof()))


def bridge_restart_slower(s: Scene) -> Diagnosis | None:
    """The bridge came back later than the one time the cloud tried."""
    lines = s.log("cloud", r"Reconnection failed", s.struck_ns)
    broke = s.log("cloud", r"Audio stream error", s.struck_ns)
    if not (lines or _never_called(s, broke)) or not s.broken(*CAPTIONS):
        return None
    if s.refused or not _bridge_is_up(s) or (lines and s.log("cloud", JOINED, lines[-1].t_ns)):
        return None  # it was turned away, there was nothing to come back to, or it did come back
    tried = f"tried its bridge {'once' if len(lines) == 1 else f'{len(lines)} times'}, too early, and never again"
    why = f"after a stream error the cloud {tried if lines else 'never called its bridge again, though it was back'}"
    return Diagnosis("bridge-restart-slower-than-retry", why, (*s.proof(*broke[:1], *lines[-2:]), s.hop_proof()))


def _never_called(s: Scene, broke: list[ev.LogLine]) -> bool:
    """Tell whether the stream broke with its bridge, which came back, and no join was ever asked of it.

    What a cloud tries while the bridge's port is closed leaves nothing on the wire.
    """
    if not broke or s.log("cloud", r"Calling JoinRoom RPC", broke[-1].t_ns):
        return False
    ready = [e for e in s.history.all(ev.ComponentReady) if e.component.startswith("bridge")]
    return any(e.t_ns > broke[-1].t_ns for e in ready)


def _bridge_is_up(s: Scene) -> bool:
    """Tell whether the bridge was up when the story ended, as far as anybody saw."""
    exits = [e for e in s.history.all(ev.ComponentExited) if e.component.startswith("bridge") and e.t_ns <= s.until_ns]
    ready = [e for e in s.history.all(ev.ComponentReady) if e.component.startswith("bridge")]
    return not exits or any(e.t_ns > exits[-1].t_ns for e in ready)


def silent_gap(s: Scene) -> Diagnosis | None:
    """Nothing comes out of the bridge, and nobody says why."""
    if s.silent_from not in {"bridge-out", "cloud-in"} or s.heard("bridge-out") or not s.broken(*CAPTIONS):
        return None
    if s.refused or s.log("cloud", JOIN_FAILED + "|Reconnection failed", s.struck_ns):
        return None
    lost = s.last_log("cloud", STREAM_LOST)
    if lost is not None and not s.log("cloud", ASKED_AGAIN, lost.t_ns):
        return None  # the lost stream explains the silence
    if s.zombies and not s.replaced:
        return None  # the session without an owner explains the silence
    read = [r for r in s.history.all(ev.BridgeRead) if any(r.connected.values()) and r.t_ns >= s.struck_ns]
    proof = [at(s.history, r.t_ns, "bridge", "GetStatus says connected") for r in read[-1:]]
    status = ", though the bridge says connected" if read else ""
    why = f"the room hears the phone and nothing comes out of the bridge{status}; nobody watches for silence"
    return Diagnosis("silent-audio-gap", why, (s.hop_proof(), *proof))


def getstatus_missing(s: Scene) -> Diagnosis | None:
    """The cloud's gRPC client has no GetStatus."""
    lines = s.log("cloud", r"GetStatus threw")
    if not lines:
        return None
    why = f"the cloud cannot ask the bridge for its status (GetStatus threw, {len(lines)} times): it reconnects blindly"
    return Diagnosis("getstatus-missing", why, s.proof(*lines))


def ack_hides_failure(s: Scene) -> Diagnosis | None:
    """An ACK with LiveKit, though the join had failed."""
    failed = s.log("cloud", JOIN_FAILED, s.struck_ns)
    if not s.broken("honest") or not s.acks or not (failed or s.refused):
        return None
    ack = s.acks[0]
    said = at(s.history, ack.t_ns, ack.proc or "phone", "ACK with livekit: connected")
    why = "the phone was told it is connected, with LiveKit, though the bridge had not joined; no message followed"
    return Diagnosis("ack-hides-audio-failure", why, (said, *s.proof(*(failed or s.refused))))


def pcm_byte_order(s: Scene) -> Diagnosis | None:
    """Samples arrive with exchanged or shifted bytes."""
    verdict = s.verdicts.get("intact")
    if verdict is None or not s.broken("intact") or not any(w in verdict.because for w in ("swapped", "slipped")):
        return None
    return Diagnosis("pcm-byte-order", "samples arrive with exchanged or shifted bytes", verdict.evidence)
