"""The judging side: pure functions of a history. A story declares guarantees; ``judge`` says what they came to."""

from harness.checkers.diagnosis import INCIDENTS
from harness.checkers.judging import judge
from harness.checkers.specs import (
    SENTENCES,
    TITLES,
    alive,
    always,
    bounded_loss,
    clean,
    contained,
    honest,
    intact,
    ordered,
    resumes,
    timely,
    unique,
)
from harness.checkers.verdict import (
    Answer,
    Diagnosis,
    Evidence,
    HopAccount,
    Judgement,
    Outcome,
    Recovery,
    Slope,
    Story,
    Verdict,
)

__all__ = [
    "INCIDENTS", "SENTENCES", "TITLES", "Answer", "Diagnosis", "Evidence", "HopAccount", "Judgement", "Outcome",
    "Recovery", "Slope", "Story", "Verdict", "alive", "always", "bounded_loss", "clean", "contained", "honest",
    "intact", "judge", "ordered", "resumes", "timely", "unique",
]  # fmt: skip
