"""What the rig itself does, sees and reads: the run, its components, the story, faults, the gate, the end."""

from __future__ import annotations

import msgspec

from harness.events.base import Event


class KnownIncident(msgspec.Struct, frozen=True):
    """An incident that the system is known to fail here (``--known``)."""

    incident: str
    reason: str
    broken: tuple[str, ...] = ()
    """The guarantees, by title, that it may break; empty means any."""
    named: bool = False
    """True when the list names this very scenario, so that a run which holds is worth a word."""


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
    waited_s: float = 0.0
    """How long the run had waited for its turn before it began (:mod:`harness.turns`)."""
    baseline: bool = False
    """True for the story without a fault: captions that never flow are BROKEN there, not UNKNOWN."""
    known: tuple[KnownIncident, ...] = ()
    """What the list of known breakage says of this scenario."""


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


class ComponentIgnoredTerm(Event, frozen=True, tag="component-ignored-term"):
    """A fault asked a component to end, and it had to be ended by force: it was still there after ``within_s``."""

    component: str
    identity: str
    within_s: float


class ContainerEvent(Event, frozen=True, tag="container-event"):
    """What the Docker engine itself told of a container: start, die, kill, oom, pause, restart, disconnect, ..."""

    component: str
    action: str
    detail: str = ""
    """The exit status, the signal, or the state of its health."""


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


class ForeignStream(Event, frozen=True, tag="foreign-stream"):
    """The harness had opened an audio stream of its own on a live session, and it is over: what became of it."""

    user: str
    outcome: str
    """``refused`` (by its status), ``accepted``: it got audio; or ``unread``: never read, and broken off."""
    chunks: int
    """How many chunks with audio it got."""
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


class Kept(Event, frozen=True, tag="kept"):
    """The story is over and is judged now, but all stays up to be looked at: what comes later is not of the run."""


class CycleDone(Event, frozen=True, tag="cycle-done"):
    """One cycle of a story that repeats itself is over."""

    number: int
    """Counts from 1."""
    of: int
    """How many were planned."""
    fault: str
    heard: bool
    """Whether captions flowed again; the first cycle without is the last one."""
    took_s: float


class Sample(Event, frozen=True, tag="sample"):
    """What one part takes of the machine, and what it counts of itself, at one moment of the story."""

    part: str
    identity: str
    """Of its present start: values of two starts are not compared."""
    ours: bool
    """True for a process of the harness."""
    cycle: int
    """After which cycle; 0 is the steady state before any fault, -1 the end of the story."""
    values: dict[str, float]
    """Quantity -> value; names are those of :mod:`harness.checkers.slopes`."""
