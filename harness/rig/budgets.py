"""The numbers a story allows, from the system's profile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from harness.system import Profile

DOCUMENTED_LAG_S = 5.0
"""The real system's end-to-end budget, for a system file that does not say."""


@dataclass(frozen=True)
class Budgets:
    """Seconds; a user's own cloud has those of production."""

    steady_s: float
    resumes_s: float
    drain_s: float
    restart_s: float
    """A component's restart."""
    retry_s: float
    """How often a phone dials again."""
    lag_s: float
    """From the end of an utterance to its final caption."""

    @classmethod
    def of(cls, profile: Profile) -> Self:
        """Take them from a profile."""
        told = profile.budgets
        return cls(
            told["steady_s"], told["resumes_s"], told["drain_s"], told["restart_s"], profile.phone["retry_s"],
            told.get("lag_s", DOCUMENTED_LAG_S),
        )  # fmt: skip
