"""What can happen in a run: one frozen record per kind of event, as it stands in ``events/<proc>.jsonl``.

Every event carries ``v`` (schema), ``t_ns`` (CLOCK_MONOTONIC), ``run`` and ``proc`` (who wrote it); ``kind`` is the
tag. Events are few and rich; who was heard where and when is in :mod:`harness.frames`.
"""

from __future__ import annotations

from typing import Union

import msgspec

SCHEMA = 1


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """Base of all events; the recorder fills in the four common fields."""

    v: int = SCHEMA
    t_ns: int = 0
    run: str = ""
    proc: str = ""


# --- the rig -------------------------------------------------------------------------------------------------------


class RunStarted(Event, frozen=True, tag="run-started"):
    """The first event of a run."""

    scenario: str
    """Scenario id with its variant, e.g. ``kill-cloud[vanish]``."""
    seed: int
    profile: str
    system: str
    epoch_ns: int
    """Time of frame index 0 of every speaker: frame i is fully spoken at ``epoch_ns + (i + 1) * 20 ms``."""
    timers: dict[str, float]
    """The timers of the system under test that stories and checkers count with, in seconds."""
    told: tuple[str, ...] = ()
    """Regexes: a phone message of this text tells the wearer that audio is lost."""
    alarm: tuple[str, ...] = ()
    """Regexes of log lines that break Alive."""
    expected: tuple[str, ...] = ()
    """Regexes of log lines that are no alarm though one of ``alarm`` matches."""
    rerun: str = ""
    """The command that runs this once more."""
    baseline: bool = False
    """True for the story without a fault: captions that never flow are BROKEN there, not UNKNOWN."""


class Tested(Event, frozen=True, tag="tested"):
    """What a component really was: runtime, sha256 of its binary or image digest, versions, defects."""

    component: str
    runtime: str
    facts: dict[str, str]


class ComponentStarted(Event, frozen=True, tag="component-started"):
    """A component was started; ``identity`` (pid or container id) changes with each start."""

    component: str
    identity: str
    addresses: dict[str, str] = {}


class ComponentReady(Event, frozen=True, tag="component-ready"):
    """A component answered its readiness check."""

    component: str
    took_s: float


class ComponentExited(Event, frozen=True, tag="component-exited"):
    """A component ended; ``by_us`` when a fault or the teardown ended it, ``machine`` when the machine did (OOM)."""

    component: str
    identity: str
    exit_text: str
    by_us: bool
    machine: bool = False


class StackReady(Event, frozen=True, tag="stack-ready"):
    """Everything declared in the system is up."""

    took_s: float


class LogLine(Event, frozen=True, tag="log-line"):
    """A line of a component's log (``line`` counts from 1 in ``logs/<component>.log``)."""

    component: str
    line: int
    text: str


class Step(Event, frozen=True, tag="step"):
    """A step of the story, as a sentence."""

    text: str


class DeclaredWait(Event, frozen=True, tag="declared-wait"):
    """The story itself lets time pass."""

    seconds: float
    why: str


class SteadyReached(Event, frozen=True, tag="steady-reached"):
    """The declared steady state was there for ``for_s`` seconds, first seen at ``since_ns``."""

    for_s: float
    since_ns: int


class SteadyFailed(Event, frozen=True, tag="steady-failed"):
    """The declared steady state never came; ``flowed`` when any caption had been heard before."""

    reason: str
    flowed: bool


class Injecting(Event, frozen=True, tag="injecting"):
    """A fault begins; ``number`` ties its four events together."""

    number: int
    fault: str
    target: str
    blast: tuple[str, ...]
    """Components, links and people it may touch."""
    held: bool
    """True when it must be healed."""


class Injected(Event, frozen=True, tag="injected"):
    """A fault landed; ``proof`` says how we know."""

    number: int
    fault: str
    proof: str
    stops: tuple[str, ...] = ()
    """Processes of ours (``proc`` names) that it stops, so that their lag until Healed is not held against them."""


class Healing(Event, frozen=True, tag="healing"):
    """A fault is being undone."""

    number: int


class Healed(Event, frozen=True, tag="healed"):
    """A fault is undone; ``proof`` says how we know."""

    number: int
    fault: str
    proof: str


class FaultFailed(Event, frozen=True, tag="fault-failed"):
    """A fault could not prove that it landed (or was healed): nothing can be concluded."""

    number: int
    fault: str
    reason: str


class Gate(Event, frozen=True, tag="gate"):
    """The zombie gate asked the bridge for a user while no cloud lived."""

    user: str
    outcome: str
    """``zombie``, ``none`` or ``no-answer``."""
    promised: bool
    """True when the way promises a zombie: then any other outcome makes the run UNKNOWN."""
    detail: str


class Anchor(Event, frozen=True, tag="anchor"):
    """The moment from which captions are owed again; ``moment_ns`` is when it really happened."""

    person: str
    name: str
    moment_ns: int


class SteadyAgain(Event, frozen=True, tag="steady-again"):
    """Captions flow again (whole utterances without loss)."""

    person: str
    moment_ns: int


class RecoveryMissed(Event, frozen=True, tag="recovery-missed"):
    """The live wait for recovery came to its limit; the checkers say what that means."""

    reason: str


class HealthRead(Event, frozen=True, tag="health-read"):
    """A health endpoint was asked (written when the answer changes, and once a second)."""

    component: str
    answered: bool
    says_fine: bool
    """False when the answer itself says that something is wrong (or there was none)."""
    answer: str


class BridgeRead(Event, frozen=True, tag="bridge-read"):
    """GetStatus and HealthCheck of the bridge, read by the harness; ``why`` is baseline, gate or end."""

    why: str
    answered: bool
    active_sessions: int = -1
    connected: dict[str, bool] = {}
    """Per user id asked for: what GetStatus said."""
    detail: str = ""


class RoomRead(Event, frozen=True, tag="room-read"):
    """Who is in a room by LiveKit's own account, hidden participants left out."""

    why: str
    room: str
    participants: tuple[str, ...]


class Connected(Event, frozen=True, tag="connected"):
    """Which people's phones were connected when the end was read (for Clean)."""

    users: tuple[str, ...]


class StoppedTalking(Event, frozen=True, tag="stopped-talking"):
    """The story is over: phones stop talking and the rig drains until quiet."""


class Drained(Event, frozen=True, tag="drained"):
    """Draining ended; ``quiet`` when nothing more was on its way."""

    quiet: bool
    took_s: float


class CheckSpec(msgspec.Struct, frozen=True):
    """A guarantee a story declares, with its budgets: enough to judge again later."""

    name: str
    params: dict[str, float] = {}


class Declared(Event, frozen=True, tag="declared"):
    """The guarantees the story declares, and whether it promised steadiness and a checklist."""

    checks: tuple[CheckSpec, ...]
    steady: bool
    checklist: bool = False


class StoryRaised(Event, frozen=True, tag="story-raised"):
    """The story itself raised; what it raised."""

    error: str
    machine: bool = False
    """True when the machine or the set-up is at fault (a component that does not start)."""


class Leftover(Event, frozen=True, tag="leftover"):
    """Something of ours was still there after teardown."""

    what: str


class RunEnded(Event, frozen=True, tag="run-ended"):
    """The last event of a run that was torn down by the rig."""

    took_s: float


# --- every process of ours ------------------------------------------------------------------------------------------


class Lag(Event, frozen=True, tag="lag"):
    """The event loop of ``proc`` was late by this much (written from 100 ms on)."""

    lag_ms: float


class Note(Event, frozen=True, tag="note"):
    """Something worth a line; never judged."""

    text: str


class Damaged(Event, frozen=True, tag="damaged"):
    """PCM at ``hop`` that is not bit-exact: ``what`` is swapped, slipped, corrupt, cut or stray."""

    hop: str
    what: str
    count: int
    near_index: int = -1


class EarDeaf(Event, frozen=True, tag="ear-deaf"):
    """An ear of ours cannot hear at ``hop``; silence there is not blamed on anybody."""

    hop: str
    reason: str


class EarHearing(Event, frozen=True, tag="ear-hearing"):
    """An ear of ours hears again at ``hop``."""

    hop: str


# --- the phone ------------------------------------------------------------------------------------------------------


class PhoneDialing(Event, frozen=True, tag="phone-dialing"):
    """The phone dials the cloud."""

    person: str
    attempt: int


class PhoneDialFailed(Event, frozen=True, tag="phone-dial-failed"):
    """A dial to the cloud failed."""

    person: str
    attempt: int
    reason: str


class PhoneSocketOpen(Event, frozen=True, tag="phone-socket-open"):
    """The phone's WebSocket to the cloud is open (HTTP 101 seen)."""

    person: str
    attempt: int


class PhoneSocketClosed(Event, frozen=True, tag="phone-socket-closed"):
    """The phone's WebSocket ended; ``by`` is phone, cloud (a close frame) or network (none); code 1006 then."""

    person: str
    code: int
    reason: str
    by: str


class PhoneMessage(Event, frozen=True, tag="phone-message"):
    """A text message of the cloud as it reached the phone; ``body`` is its JSON with secrets masked."""

    person: str
    type: str
    body: str


class RoomDialing(Event, frozen=True, tag="room-dialing"):
    """The phone dials LiveKit (through its link), with the room named by the token."""

    person: str
    attempt: int
    url: str
    advertised_url: str = ""


class RoomConnected(Event, frozen=True, tag="room-connected"):
    """The phone is in its room and its lossy channel is open."""

    person: str
    room: str
    attempt: int


class RoomDialFailed(Event, frozen=True, tag="room-dial-failed"):
    """A dial to LiveKit or the REST token before it failed."""

    person: str
    attempt: int
    reason: str


class RoomLost(Event, frozen=True, tag="room-lost"):
    """The phone's room ended without the phone wanting it."""

    person: str
    reason: str


class RoomLeft(Event, frozen=True, tag="room-left"):
    """The phone left its room."""

    person: str


class Talking(Event, frozen=True, tag="talking"):
    """The person starts (or stops) talking; the first frame index that will be spoken."""

    person: str
    speaker: int
    on: bool
    first_index: int


class MicState(Event, frozen=True, tag="mic-state"):
    """The phone's microphone was switched by the cloud."""

    person: str
    on: bool


# --- ears and text hops ---------------------------------------------------------------------------------------------


class Caption(Event, frozen=True, tag="caption"):
    """A caption at a text hop (``stt-out``, ``app-in``, ``phone-display``) and the words it names."""

    hop: str
    speaker: int
    """0 when the text names no word of ours."""
    words: tuple[int, ...]
    """Global word numbers in the order they stand in the text."""
    final: bool
    text: str


class SttOpened(Event, frozen=True, tag="stt-opened"):
    """A connection to the STT stand-in was accepted and configured."""

    conn: int


class SttKeepalive(Event, frozen=True, tag="stt-keepalive"):
    """The cloud sent a keepalive on an STT connection."""

    conn: int


class SttClosed(Event, frozen=True, tag="stt-closed"):
    """An STT connection ended; ``by`` is cloud, stt or network."""

    conn: int
    code: int
    by: str
    reason: str


class AppWebhook(Event, frozen=True, tag="app-webhook"):
    """The captions app's webhook was called."""

    type: str
    session: str


class AppSocketOpen(Event, frozen=True, tag="app-socket-open"):
    """The captions app's socket is acknowledged by the cloud."""

    session: str


class AppSocketClosed(Event, frozen=True, tag="app-socket-closed"):
    """The captions app's socket ended."""

    session: str
    code: int
    reason: str


class AppSubscribed(Event, frozen=True, tag="app-subscribed"):
    """The captions app sent its subscriptions."""

    session: str
    subscriptions: tuple[str, ...]


# --- links ----------------------------------------------------------------------------------------------------------


class LinkOpened(Event, frozen=True, tag="link-opened"):
    """A connection through a link: ``conn`` counts per link."""

    link: str
    conn: int


class LinkRefused(Event, frozen=True, tag="link-refused"):
    """A link could not reach its target, so the dialer was refused."""

    link: str
    reason: str


class LinkClosed(Event, frozen=True, tag="link-closed"):
    """A connection through a link ended.

    ``how`` is fin, reset or vanished; ``first`` is dialer, target, or link (a fault of ours).
    """

    link: str
    conn: int
    how: str
    first: str
    to_target_bytes: int
    to_dialer_bytes: int


AnyEvent = Union[  # noqa: UP007  msgspec reads the union at run time
    RunStarted, Tested, ComponentStarted, ComponentReady, ComponentExited, StackReady, LogLine, Step, DeclaredWait,
    SteadyReached, SteadyFailed, Injecting, Injected, Healing, Healed, FaultFailed, Gate, Anchor, SteadyAgain,
    RecoveryMissed, HealthRead, BridgeRead, RoomRead, Connected, StoppedTalking, Drained, Declared, StoryRaised,
    Leftover, RunEnded, Lag, Note, Damaged, EarDeaf, EarHearing, PhoneDialing, PhoneDialFailed, PhoneSocketOpen,
    PhoneSocketClosed, PhoneMessage, RoomDialing, RoomConnected, RoomDialFailed, RoomLost, RoomLeft, Talking, MicState,
    Caption, SttOpened, SttKeepalive, SttClosed, AppWebhook, AppSocketOpen, AppSocketClosed, AppSubscribed, LinkOpened,
    LinkRefused, LinkClosed,
]  # fmt: skip

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


def encode(event: Event) -> bytes:
    """Return the event as one JSON line, newline included."""
    return _encoder.encode(event) + b"\n"


def decode(line: bytes) -> AnyEvent:
    """Return the event of one JSON line.

    Raises:
        msgspec.DecodeError: the line is no event of this schema.
    """
    return _decoder.decode(line)
