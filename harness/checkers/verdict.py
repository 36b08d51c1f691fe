"""The words every checker speaks in: outcomes, evidence, verdicts, and the judgement of a whole run."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.events import CheckSpec, KnownIncident

MS_PER_FRAME = 20
Params = Mapping[str, float]
"""A guarantee's budgets, as the story declared them; names end in their unit."""


class Outcome(enum.StrEnum):
    """What a checker found; the value is the published word."""

    HOLDS = "HOLDS"
    BROKEN = "BROKEN"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True)
class Evidence:
    """One thing that was seen."""

    t_s: float
    """Seconds since the run's first event."""
    where: str
    """A hop, a component's log line (``logs/cloud.log:212``) or the process that wrote it."""
    text: str


@dataclass(frozen=True)
class Verdict:
    """What one guarantee came to."""

    guarantee: str
    outcome: Outcome
    because: str
    """One sentence: expected, seen."""
    evidence: tuple[Evidence, ...] = ()
    stands: bool = False
    """True for a violation that no lag of ours can cause: it counts though a precondition failed."""


@dataclass(frozen=True)
class Diagnosis:
    """A known incident (by its published id) that the evidence points to."""

    incident: str
    because: str
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True)
class Answer:
    """One line of the incident's verification checklist."""

    item: str
    answer: str
    """``yes``, ``no``, ``not applicable`` or ``not observable``."""
    evidence: str


@dataclass(frozen=True)
class RecoveryStep:
    """One step from the fault to the first caption, with its budget."""

    name: str
    """``landed``, ``noticed``, ``healed``, ``socket``, ``ack``, ``room``, or a hop."""
    state: str
    """``done``, ``kept`` (never lost, so not needed), ``missed``, ``not applicable``, or why a hop heard nothing."""
    t_s: float | None
    """When, since the run's first event."""
    took_s: float | None
    """Since the step before."""
    measured_s: float | None
    """Since the step that the budget counts from."""
    budget_s: float | None
    since: str
    source: str
    """Who says so; ``proposed`` where no number is documented."""
    how: str = ""

    @property
    def over(self) -> bool:
        """Whether it took longer than its budget."""
        return self.budget_s is not None and self.measured_s is not None and self.measured_s > self.budget_s


@dataclass(frozen=True)
class Recovery:
    """The waterfall from the fault to the first caption."""

    times: Mapping[str, float | None]
    """Keys end in ``_s``: moments since the run's first event, and spans; None where it never happened."""
    lines: tuple[str, ...]
    """The same for people, one moment a line."""
    steps: tuple[RecoveryStep, ...] = ()
    longest: str = ""
    """The name of the step that took longest, "" when there is none."""


@dataclass(frozen=True)
class HopAccount:
    """The books of one hop for one person, in frames of 20 ms; ``_injected``: what faults on packets did.

    ``heard`` = ``spoken`` - ``not_sent`` - ``another_way`` - ``dropped`` - ``lost_excused`` - ``lost_unexplained``
    + ``duplicated`` + ``duplicates_excused`` + ``duplicates_unexplained``.
    """

    person: str
    hop: str
    spoken: int
    heard: int
    """Each time that a frame came, whole or damaged; at phone-out each time that one left."""
    not_sent: int
    """Without a room, or with the microphone off."""
    another_way: int
    """Over the fallback, which this hop does not see."""
    dropped: int
    dropped_injected: int
    lost_excused: int
    """Before the system was steady, in the impact of a fault on something else, or while our ear there was away."""
    lost_unexplained: int
    duplicated: int
    duplicated_injected: int
    duplicates_excused: int
    duplicates_unexplained: int
    reordered: int
    """Frames that first came behind a later one, as injected."""
    reordered_injected: int
    reordered_unexplained: int
    corrupted: int
    corrupted_injected: int
    corrupted_unexplained: int
    lost: tuple[int, ...] = ()
    """The first few frames whose loss is unexplained."""
    twice: tuple[int, ...] = ()
    """The first few frames that came again without a reason."""

    @property
    def unexplained(self) -> int:
        """Frames with a fate that nobody can explain, and injected ones whose fate was another."""
        return (
            self.lost_unexplained + self.duplicates_unexplained + self.reordered_unexplained
            + self.corrupted_unexplained
        )  # fmt: skip

    @property
    def exact(self) -> bool:
        """Whether what was done to packets on purpose is what this hop shows, and nothing else happened."""
        as_injected = (
            self.dropped == self.dropped_injected and self.duplicated == self.duplicated_injected
            and self.reordered == self.reordered_injected and self.corrupted == self.corrupted_injected
        )  # fmt: skip
        return as_injected and self.unexplained == 0


@dataclass(frozen=True)
class Slope:
    """How fast what a part holds grows from cycle to cycle."""

    part: str
    quantity: str
    unit: str
    ours: bool
    """True for a process of the harness: its growth is no fault of the system."""
    per_cycle: float
    """The slope, in ``unit`` per cycle; not a number where there is no pair of samples."""
    low: float
    high: float
    """The ends of its 99 % interval; infinite where there are too few samples."""
    tolerance: float
    outcome: Outcome | None
    """HOLDS below the tolerance, BROKEN above it, UNKNOWN around it; None where it is shown and not judged,
    or where its part was started anew too often to tell."""
    points: tuple[tuple[int, float, str], ...]
    """Cycle, value in ``unit``, and the identity of the start that it is of."""


@dataclass(frozen=True)
class Story:
    """What a run says about itself: enough to name it, to weigh it and to run it again."""

    scenario: str
    seed: int
    profile: str
    system: str
    run: str
    rerun: str
    baseline: bool
    took_s: float
    tested: Mapping[str, Mapping[str, str]]
    """Component -> what it really was (runtime, digests, versions, defects)."""
    timings: Mapping[str, float | None]
    """Keys end in ``_s``."""
    steps: tuple[Evidence, ...]
    """The story's steps and faults, with their times."""
    notes: tuple[str, ...] = ()
    """What was odd on reading the run."""
    known: tuple[KnownIncident, ...] = ()
    """What the list of known breakage says of this scenario."""


@dataclass(frozen=True)
class Judgement:
    """Everything that can be said about a run; made by ``judge``, printed by ``harness.report``."""

    outcome: Outcome
    verdicts: tuple[Verdict, ...]
    preconditions: tuple[str, ...]
    """Why nothing can be concluded; empty when judging was possible."""
    diagnosis: tuple[Diagnosis, ...]
    recovery: Recovery
    checklist: tuple[Answer, ...]
    findings: tuple[Diagnosis, ...]
    """Known incidents seen in a run whose guarantees hold: nothing is broken by them here."""
    machine_fault: bool
    story: Story
    declared: tuple[CheckSpec, ...] = field(default=())
    slopes: tuple[Slope, ...] = ()
    """Of a story of many cycles: what each part held."""
    accounts: tuple[HopAccount, ...] = ()
    """What became of the spoken frames, hop by hop."""

    def verdict(self, guarantee: str) -> Verdict | None:
        """Return the verdict on one guarantee, or None when it was not judged."""
        return next((v for v in self.verdicts if v.guarantee == guarantee), None)
