"""What a phone does wrong, or is not told: rooms it is not in or fights for, a microphone that stays off."""

from __future__ import annotations

from harness import events as ev
from harness.checkers.families_stt_app import app_down
from harness.checkers.scene import CAPTIONS, Scene
from harness.checkers.timeline import at
from harness.checkers.verdict import Diagnosis
from harness.clock import SECOND_NS

MIC_MESSAGE = "microphone_state_change"
REPLACED = "DUPLICATE_IDENTITY"
"""LiveKit's reason for a participant whose identity another one took."""
QUARREL = 3
"""So many replacements within `QUARREL_WITHIN_NS` are no newcomer's: each of the two takes the place back."""
QUARREL_WITHIN_NS = 10 * SECOND_NS


def self_kick(s: Scene) -> Diagnosis | None:
    """Two phones of one user take the one place in the room from each other, again and again."""
    if not s.broken(*CAPTIONS):
        return None
    replaced = [e for e in s.history.all(ev.RoomLost) if REPLACED in e.reason and s.struck_ns <= e.t_ns <= s.until_ns]
    for first, last in zip(replaced, replaced[QUARREL - 1 :], strict=False):
        if last.t_ns - first.t_ns > QUARREL_WITHIN_NS:
            continue
        taken = [e for e in replaced if first.t_ns <= e.t_ns <= last.t_ns]
        proof = [at(s.history, e.t_ns, e.proc or "phone", f"{e.person} lost the room: {e.reason}") for e in taken]
        why = f"who joins takes the place of who is there, in turns: {len(replaced)} joins of one identity were kicked"
        return Diagnosis("concurrent-join-self-kick", why, (*proof, s.hop_proof()))
    return None


def phone_fails_rejoin(s: Scene) -> Diagnosis | None:
    """The phone's socket works, and it has no room."""
    if s.silent_from not in {"phone-out", "sfu"} or not s.broken(*CAPTIONS):
        return None
    if (s.silent_from == "phone-out" and s.unsent != "no room") or not _was_asked_in(s):
        return None
    failed = [e for e in s.history.all(ev.RoomDialFailed) if e.t_ns >= s.struck_ns]
    lost = [e for e in s.history.all(ev.RoomLost) if e.t_ns >= s.struck_ns]
    proof = [at(s.history, e.t_ns, e.proc or "phone", f"dial {e.attempt} to the room: {e.reason}") for e in failed[:2]]
    proof += [at(s.history, e.t_ns, e.proc or "phone", f"room lost: {e.reason}") for e in lost[:2]]
    why = "the phone's socket works, but its audio never got into a room"
    return Diagnosis("phone-fails-room-rejoin", why, (*proof, s.hop_proof()))


def mic_state_lost(s: Scene) -> Diagnosis | None:
    """The microphone stayed off after a reconnect."""
    if s.silent_from != "phone-out" or s.unsent != "microphone off" or not s.broken(*CAPTIONS):
        return None
    if app_down(s) is not None:
        return None  # it is off because nobody asks for it
    told = [m for m in s.history.all(ev.PhoneMessage) if m.type == MIC_MESSAGE and m.t_ns >= s.from_ns]
    opened = [e for e in s.history.all(ev.PhoneSocketOpen) if e.t_ns >= s.struck_ns]
    proof = [at(s.history, e.t_ns, e.proc or "phone", "socket open") for e in opened[-1:]]
    proof += [at(s.history, m.t_ns, m.proc or "phone", f"told: {m.body[:100]}") for m in told[-1:]]
    said = "" if told else f": no {MIC_MESSAGE} came after its socket was open"
    why = f"the phone's microphone stayed off, and the cloud never switched it on again{said}"
    return Diagnosis("mic-state-lost-while-away", why, (*proof, s.hop_proof()))


def _was_asked_in(s: Scene) -> bool:
    """Tell whether the phone's newest socket was acknowledged, so that there was a room for it to go to."""
    opened = s.history.last(ev.PhoneSocketOpen)
    acks = [m.t_ns for m in s.history.all(ev.PhoneMessage) if m.type == "connection_ack" and "livekit" in m.body]
    return opened is not None and any(t_ns >= opened.t_ns for t_ns in acks)
