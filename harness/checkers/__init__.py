"""The judging side: pure functions of a history. A story declares guarantees; ``judge`` says what they came to."""

from harness.checkers.judging import judge
from harness.checkers.specs import (
    SENTENCES,
    TITLES,
    alive,
    bounded_loss,
    clean,
    honest,
    intact,
    ordered,
    resumes,
    unique,
)
from harness.checkers.verdict import Answer, Diagnosis, Evidence, Judgement, Outcome, Recovery, Story, Verdict

__all__ = [
    "SENTENCES", "TITLES", "Answer", "Diagnosis", "Evidence", "Judgement", "Outcome", "Recovery", "Story", "Verdict",
    "alive", "bounded_loss", "clean", "honest", "intact", "judge", "ordered", "resumes", "unique",
]  # fmt: skip
