"""Hand-made histories: a plausible green run as a draft, which tests mutate before it becomes a History.

The story is "the cloud vanishes": captions flow from 1.2 s, the fault lands at 6.1 s, the gate sees a zombie, the phone
reopens at 8.6 s, audio flows from 9 s on, captions are steady at 12 s, talk ends at 14 s.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from harness import events as ev
from harness.checkers import alive, bounded_loss, clean, honest, intact, ordered, resumes, unique
from harness.frames import FRAME, Flag, Hop
from harness.history import History
from harness.speech import UTTERANCE_FRAMES, word_frames, word_text

START_NS = 1_000_000_000_000
EPOCH_S = 0.5
ALICE, BOB = 7, 8
PATH = {Hop.PHONE_OUT: 0.001, Hop.SFU: 0.005, Hop.CLOUD_IN: 0.02, Hop.STT_IN: 0.03}
DROPPED = "SocketDropped(alice)"
GUARANTEES = (resumes(6), honest(), bounded_loss(100, 6_000), ordered, unique, intact, alive, clean)


def ns(seconds: float) -> int:
    return START_NS + round(seconds * 1e9)


def at(seconds: float, event: ev.Event, proc: str = "rig") -> Any:
    return msgspec.structs.replace(event, t_ns=ns(seconds), run="r1", proc=proc)


def ack(seconds: float, person: str = "alice") -> Any:
    body = json.dumps({"type": "connection_ack", "livekit": {"url": "ws://x", "token": "***"}})
    return at(seconds, ev.PhoneMessage(person=person, type="connection_ack", body=body), f"phone-{person}-1")


def log(seconds: float, component: str, text: str, line: int = 1) -> Any:
    return at(seconds, ev.LogLine(component=component, line=line, text=text))


def audio_status(seconds: float, status: str, person: str = "alice") -> Any:
    body = json.dumps({"type": "audio_status", "status": status})
    return at(seconds, ev.PhoneMessage(person=person, type="audio_status", body=body), f"phone-{person}-1")


@dataclass
class Draft:
    """A run being written: its events, who talks when, and where speech is lost."""

    events: list[Any]
    talks: dict[int, list[tuple[float, float]]]
    silent: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """Hop -> when (by the time of speaking) nothing arrives there nor later; ``hop of 7`` is of one speaker alone."""
    flags: list[tuple[Hop, float, float, Flag]] = field(default_factory=list)
    finals: list[tuple[float, list[int]]] = field(default_factory=list)
    """More finals at app-in."""

    def drop(self, kind: type[ev.Event], where: Callable[[Any], bool] = lambda _: True) -> Draft:
        before = len(self.events)
        self.events = [e for e in self.events if not (isinstance(e, kind) and where(e))]
        assert len(self.events) < before, f"no {kind.__name__} to drop"
        return self

    def add(self, *events: ev.Event) -> Draft:
        self.events += events
        return self

    def declare(self, *checks: ev.CheckSpec, steady: bool = True, checklist: bool = False) -> Draft:
        self.drop(ev.Declared)
        return self.add(at(15.6, ev.Declared(checks=checks, steady=steady, checklist=checklist)))

    def without_fault(self, *, baseline: bool = False) -> Draft:
        for kind in (ev.Injecting, ev.Injected, ev.Gate, ev.SteadyAgain, ev.PhoneSocketClosed):
            self.drop(kind)
        self.silent.clear()
        late = {ev.PhoneDialing, ev.PhoneSocketOpen, ev.PhoneMessage, ev.EarDeaf, ev.EarHearing, ev.Anchor}
        late |= {ev.ComponentStarted, ev.ComponentReady}
        self.events = [e for e in self.events if not (type(e) in late and e.t_ns > ns(6))]
        self.events = [e for e in self.events if not (isinstance(e, ev.ComponentExited) and e.t_ns < ns(15))]
        first = self.events.pop(0)
        self.events.insert(0, msgspec.structs.replace(first, baseline=baseline))
        return self.add(at(1.06, ev.Anchor(person="alice", name="socket open", moment_ns=ns(1.05))))

    def never_recovers(self, hop: str = "cloud-in") -> Draft:
        """Let everything from ``hop`` on stay silent after the fault, and the story end without recovery."""
        self.silent = {hop: [(6.0, 99.0)]}
        self.drop(ev.SteadyAgain).drop(ev.StoppedTalking).drop(ev.Drained)
        self.talks = {speaker: [(1.9, 14.7)] for speaker in self.talks}
        return self.add(
            at(14.65, ev.RecoveryMissed(reason="no caption")), at(14.7, ev.StoppedTalking()),
            at(14.9, ev.Drained(quiet=True, took_s=0.2)),
        )  # fmt: skip

    def history(self) -> History:
        frames: list[np.ndarray] = []
        finals: list[Any] = []
        for speaker, talks in self.talks.items():
            indices = np.concatenate([np.arange(_index(a), _index(b)) for a, b in talks])
            finals += self._hear(frames, speaker, indices)
        finals += [_caption("app-in", t, ALICE, words) for t, words in self.finals]
        return History.of([*self.events, *finals], np.concatenate(frames))

    def _hear(self, frames: list[np.ndarray], speaker: int, indices: np.ndarray) -> list[Any]:
        heard = indices
        for hop, latency_s in PATH.items():
            name = hop.name.lower().replace("_", "-")
            heard = self._left(self._left(heard, name), f"{name} of {speaker}")
            rows = np.zeros(len(heard), FRAME)
            rows["t_ns"] = ns(EPOCH_S + latency_s) + (heard + 1) * 20_000_000
            rows["index"], rows["speaker"], rows["hop"] = heard, speaker, int(hop)
            for where, a, b, flag in self.flags:
                if where is hop:
                    rows["flags"][(heard >= _index(a)) & (heard < _index(b))] |= int(flag)
            frames.append(rows)
        return self._finals(speaker, heard)

    def _finals(self, speaker: int, heard: np.ndarray) -> list[Any]:
        found: list[Any] = []
        got = set(heard.tolist())
        for utterance in sorted({int(i) // UTTERANCE_FRAMES for i in got}):
            end = utterance * UTTERANCE_FRAMES + 50
            words = [w for w in range(utterance * 5, utterance * 5 + 5) if sum(i in got for i in word_frames(w)) >= 6]
            if not words or not any(i >= end for i in got):
                continue
            moment_s = EPOCH_S + (end + 1) * 0.02 + 0.1
            hops = [h for h in ("stt-out", "app-in", "phone-display") if len(self._left(np.array([end]), h))]
            if "stt-out" not in hops:
                continue
            found += [_caption(h, moment_s + 0.01 * n, speaker, words) for n, h in enumerate(hops)]
        return found

    def _left(self, indices: np.ndarray, hop: str) -> np.ndarray:
        for a, b in self.silent.get(hop, []):
            indices = indices[~((indices >= _index(a)) & (indices < _index(b)))]
        return indices


def _index(seconds: float) -> int:
    return max(0, round((seconds - EPOCH_S) / 0.02))


def _caption(hop: str, seconds: float, speaker: int, words: list[int]) -> Any:
    text = " ".join(word_text(speaker, w) for w in words)
    return at(seconds, ev.Caption(hop=hop, speaker=speaker, words=tuple(words), final=True, text=text), "ears")


def green() -> Draft:
    """A run of the vanish story that holds."""
    events = [
        at(0, ev.RunStarted(
            scenario="kill-cloud[vanish]", seed=11, profile="short", system="reference", epoch_ns=ns(EPOCH_S),
            timers={"grace_s": 6.0}, alarm=("panic:", "Traceback"), expected=("panic: rehearsed",), rerun="run it",
        )),
        at(0.1, ev.Tested(component="bridge", runtime="process", facts={"sha256": "ab12", "version": "1"})),
        at(0.2, ev.ComponentStarted(component="bridge", identity="pid 10")),
        at(0.2, ev.ComponentStarted(component="cloud", identity="pid 11")),
        at(0.5, ev.ComponentReady(component="bridge", took_s=0.3)),
        at(0.8, ev.ComponentReady(component="cloud", took_s=0.6)),
        at(1.0, ev.StackReady(took_s=1.0)),
        at(1.0, ev.PhoneDialing(person="alice", attempt=1), "phone-alice-1"),
        at(1.05, ev.PhoneSocketOpen(person="alice", attempt=1), "phone-alice-1"),
        ack(1.1),
        at(1.15, ev.AppSocketOpen(session="s"), "ears"),
        at(1.16, ev.AppSubscribed(session="s", subscriptions=("transcription:en-US", "audio_chunk")), "ears"),
        at(1.2, ev.Talking(person="alice", speaker=ALICE, on=True, first_index=70), "phone-alice-1"),
        at(1.3, ev.SttOpened(conn=1), "ears"),
        at(2.0, ev.HealthRead(component="cloud", answered=True, says_fine=True, answer="ok")),
        at(6.0, ev.SteadyReached(for_s=3.0, since_ns=ns(3.0))),
        at(6.05, ev.Injecting(number=1, fault="Vanish(cloud)", target="cloud", blast=("cloud",), held=False)),
        at(6.1, ev.Injected(number=1, fault="Vanish(cloud)", proof="pid 11 exited -9")),
        at(6.1, ev.ComponentExited(component="cloud", identity="pid 11", exit_text="exited -9", by_us=True)),
        at(6.12, ev.PhoneSocketClosed(person="alice", code=1006, reason="", by="network"), "phone-alice-1"),
        at(6.12, ev.EarDeaf(hop="app-in", reason="app socket down"), "ears"),
        at(6.12, ev.EarDeaf(hop="cloud-in", reason="app socket down"), "ears"),
        at(7.0, ev.Gate(user="alice@x", outcome="zombie", promised=True, detail="connected=true")),
        at(7.1, ev.ComponentStarted(component="cloud", identity="pid 12")),
        at(8.0, ev.ComponentReady(component="cloud", took_s=0.9)),
        at(8.5, ev.PhoneDialing(person="alice", attempt=2), "phone-alice-1"),
        at(8.6, ev.PhoneSocketOpen(person="alice", attempt=2), "phone-alice-1"),
        at(8.61, ev.Anchor(person="alice", name="socket open", moment_ns=ns(8.6))),
        log(8.65, "cloud", "DEBUG Calling JoinRoom RPC", 40),
        log(8.68, "bridge", '{"message":"Replacing existing bridge session"}', 9),
        ack(8.7),
        at(8.75, ev.AppWebhook(type="session_request", session="s"), "ears"),
        at(8.8, ev.EarHearing(hop="app-in"), "ears"),
        at(8.8, ev.EarHearing(hop="cloud-in"), "ears"),
        at(12.1, ev.SteadyAgain(person="alice", moment_ns=ns(12.0))),
        at(14.0, ev.StoppedTalking()),
        at(14.6, ev.Drained(quiet=True, took_s=0.6)),
        at(14.7, ev.BridgeRead(why="end", answered=True, active_sessions=1, connected={"alice@x": True})),
        at(14.7, ev.RoomRead(why="end", room="alice@x", participants=("alice@x", "cloud-agent:alice@x"))),
        at(14.7, ev.Connected(users=("alice@x",))),
        at(15.0, ev.ComponentExited(component="cloud", identity="pid 12", exit_text="exited 0", by_us=True)),
        at(15.5, ev.RunEnded(took_s=15.5)),
        at(15.6, ev.Declared(checks=GUARANTEES, steady=True)),
    ]  # fmt: skip
    return Draft(events, {ALICE: [(1.9, 14.0)]}, {"cloud-in": [(6.0, 9.0)]})


def neighbours() -> Draft:
    """A run in which only alice's phone is hit, from 6.1 s to 8.6 s; bob talks beside her until 18 s, unharmed."""
    draft = green()
    for kind in (ev.ComponentExited, ev.Gate, ev.EarDeaf, ev.EarHearing, ev.Injecting, ev.Injected):
        draft.drop(kind)
    draft.drop(ev.StoppedTalking).drop(ev.Drained).drop(ev.ComponentStarted, lambda e: e.identity == "pid 12")
    draft.talks = {ALICE: [(1.9, 18.0)], BOB: [(1.9, 18.0)]}
    draft.silent = {f"sfu of {ALICE}": [(6.0, 9.0)]}
    return draft.add(
        at(1.0, ev.PhoneDialing(person="bob", attempt=1), "phone-bob-1"),
        at(1.1, ev.PhoneSocketOpen(person="bob", attempt=1), "phone-bob-1"),
        at(1.2, ev.Talking(person="bob", speaker=BOB, on=True, first_index=70), "phone-bob-1"),
        at(1.3, ev.RoomConnected(person="alice", room="alice@x", attempt=1), "phone-alice-1"),
        at(1.3, ev.RoomConnected(person="bob", room="bob@x", attempt=1), "phone-bob-1"),
        at(6.05, ev.Injecting(number=1, fault=DROPPED, target="phone of alice", blast=("alice",), held=True)),
        at(6.1, ev.Injected(number=1, fault=DROPPED, proof="dropped")),
        at(8.6, ev.Healed(number=1, fault=DROPPED, proof="open")),
        at(18.0, ev.StoppedTalking()),
        at(18.6, ev.Drained(quiet=True, took_s=0.6)),
    )
