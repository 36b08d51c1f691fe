"""What a phone does wrong, or is not told: rooms it does not get into, a microphone that stays off."""

from __future__ import annotations

from harness import events as ev
from harness.checkers.scene import CAPTIONS, Scene
from harness.checkers.timeline import at
from harness.checkers.verdict import Diagnosis


def phone_fails_rejoin(s: Scene) -> Diagnosis | None:
    """The phone's socket works, and it has no room."""
    if s.silent_from not in {"phone-out", "sfu"} or not s.broken(*CAPTIONS):
        return None
    if s.silent_from == "phone-out" and s.hops["phone-out"].note != "no room":
        return None
    failed = [e for e in s.history.all(ev.RoomDialFailed) if e.t_ns >= s.struck_ns]
    lost = [e for e in s.history.all(ev.RoomLost) if e.t_ns >= s.struck_ns]
    proof = [at(s.history, e.t_ns, e.proc or "phone", f"dial {e.attempt} to the room: {e.reason}") for e in failed[:2]]
    proof += [at(s.history, e.t_ns, e.proc or "phone", f"room lost: {e.reason}") for e in lost[:2]]
    why = "the phone's socket works, but its audio never got into a room"
    return Diagnosis("phone-fails-room-rejoin", why, (*proof, s.hop_proof()))


def mic_state_lost(s: Scene) -> Diagnosis | None:
    """The microphone stayed off after a reconnect."""
    if s.silent_from != "phone-out" or s.hops["phone-out"].note != "microphone off" or not s.broken(*CAPTIONS):
        return None
    why = "the phone's microphone stayed off: the cloud never switched it on again"
    return Diagnosis("mic-state-lost-while-away", why, (s.hop_proof(),))
