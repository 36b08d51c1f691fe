"""Breakage that the system is known for (``--known``): what of it a run shows, and what no longer fails."""

from __future__ import annotations

from dataclasses import dataclass

from harness.checkers import TITLES, Judgement, Outcome

FAILS, NO_LONGER = "fails as known", "no longer fails"


@dataclass(frozen=True)
class KnownSeen:
    """What a run says of one listed incident."""

    incident: str
    reason: str
    says: str
    """``fails as known`` or ``no longer fails``."""

    def __str__(self) -> str:
        return f"{self.incident} {self.says}: {self.reason}"


def known_breakage(judgement: Judgement) -> KnownSeen | None:
    """Return the listed incident that explains the breakage: it is named first, and breaks nothing but what it may."""
    if judgement.outcome is not Outcome.BROKEN or not judgement.diagnosis:
        return None
    first = judgement.diagnosis[0].incident
    broken = {TITLES.get(v.guarantee, v.guarantee) for v in judgement.verdicts if v.outcome is Outcome.BROKEN}
    for known in judgement.story.known:
        if known.incident == first and (not known.broken or broken <= set(known.broken)):
            return KnownSeen(known.incident, known.reason, FAILS)
    return None


def no_longer_failing(judgement: Judgement) -> tuple[KnownSeen, ...]:
    """Return the incidents that are listed for this very scenario, though the run holds."""
    if judgement.outcome is not Outcome.HOLDS:
        return ()
    return tuple(KnownSeen(k.incident, k.reason, NO_LONGER) for k in judgement.story.known if k.named)


def known_seen(judgement: Judgement) -> tuple[KnownSeen, ...]:
    """Return both, for printing."""
    broken = known_breakage(judgement)
    return (*([broken] if broken else []), *no_longer_failing(judgement))
