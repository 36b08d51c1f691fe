"""The numbers a story allows, from the system's profile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from harness.system import Profile


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

    @classmethod
    def of(cls, profile: Profile) -> Self:
        """Take them from a profile."""
        told = profile.budgets
        return cls(told["steady_s"], told["resumes_s"], told["drain_s"], told["restart_s"], profile.phone["retry_s"])
