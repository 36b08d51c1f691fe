"""What an examination found: one check per thing, and which kinds of run the machine is ready for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum


class Status(StrEnum):
    """How a check came out."""

    OK = "ok"
    LACK = "lack"
    """Something cannot run without it."""
    INFO = "info"
    """Worth knowing; stops nothing."""


class Group(StrEnum):
    """Who needs it."""

    MUST = "must have"
    CONTAINERS = "containers"
    EXTRAS = "extras"


PROCESS_RUNS = "process runs"
CONTAINER_RUNS = "container runs"
CONTAINER_NETWORK_FAULTS = "network faults in containers"
PM2_SCENARIOS = "pm2 scenarios"
BARS: dict[Group, tuple[str, ...]] = {
    Group.MUST: (PROCESS_RUNS, CONTAINER_RUNS, CONTAINER_NETWORK_FAULTS, PM2_SCENARIOS),
    Group.CONTAINERS: (CONTAINER_RUNS, CONTAINER_NETWORK_FAULTS),
    Group.EXTRAS: (),
}
"""What a lack in each group keeps from running, unless the check itself names less."""


@dataclass(frozen=True)
class Check:
    """One thing of the machine."""

    group: Group
    name: str
    status: Status
    seen: str
    without: str = ""
    """What cannot run, or goes wrong, without it."""
    mend: str = ""
    """What to do, as one command where there is one."""
    bars: tuple[str, ...] | None = None
    """The kinds of run that a lack rules out; None: those of the group."""

    def barred(self) -> tuple[str, ...]:
        """Return the kinds of run that this check rules out."""
        if self.status is not Status.LACK:
            return ()
        return BARS[self.group] if self.bars is None else self.bars


@dataclass(frozen=True)
class Examination:
    """Everything that was looked at, in the order in which it is told."""

    checks: tuple[Check, ...] = field(default_factory=tuple)

    def lacks(self) -> Iterator[Check]:
        """Iterate over what is lacking."""
        return (check for check in self.checks if check.status is Status.LACK)

    @property
    def ready(self) -> dict[str, bool]:
        """Return each kind of run, and whether the machine is ready for it."""
        barred = {what for check in self.checks for what in check.barred()}
        kinds = (PROCESS_RUNS, CONTAINER_RUNS, CONTAINER_NETWORK_FAULTS, PM2_SCENARIOS)
        return {kind: kind not in barred for kind in kinds}
