"""Whose turn it is: stacks run side by side only while this machine can still judge each of them honestly.

A slot is a flock-ed file in the machine's lock directory, so pytest's workers, commands and ``make prove`` share
them, and a death of any kind gives one back. The first stack starts at once; another only after a second in which the
machine had room for it. Who waits holds the only place at the door: whoever comes next measures with that start in it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from harness.addresses import open_lock
from harness.clock import MS_NS, SECOND_NS, now_ns, seconds_between
from harness.errors import MachineError
from harness.waiting import pause

WINDOW_S: Final = 1.0
"""How long the machine is looked at before one more stack starts: as long as a stack takes to start."""
STEP_S: Final = 0.02
BUSY_LIMIT: Final = 0.70
"""Share of all cores in use beyond which nothing more starts: a start takes a core for about a second."""
STEAL_LIMIT: Final = 0.05
"""Share of time that the hypervisor gave to others: from here on, lag is the machine's to decide."""
LATE_LIMIT_MS: Final = 100.0
"""How late a loop with nothing to do may be: a fifth of the lag that makes a run UNKNOWN."""
TELL_AFTER_S: Final = 2.0
PROC_STAT = Path("/proc/stat")


@dataclass(frozen=True)
class Load:
    """What the machine did in one window."""

    busy: float
    """Share of all cores in use, 0 to 1."""
    steal: float
    """Share that the hypervisor took, 0 to 1."""
    late_ms: float
    """The worst lateness of a loop that only waits."""

    def why_not(self) -> str | None:
        """Return why one more stack would not be judged honestly now, or None."""
        if self.steal > STEAL_LIMIT:
            return f"the hypervisor takes {self.steal:.0%} of the time"
        if self.late_ms > LATE_LIMIT_MS:
            return f"an idle loop is {self.late_ms:.0f} ms late"
        if self.busy > BUSY_LIMIT:
            return f"{self.busy:.0%} of the cores are in use"
        return None


@dataclass
class Turn:
    """The right to run one stack; closing it gives it back."""

    waited_s: float = 0.0
    _file: int = field(default=-1, repr=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the slot back; a second time nothing happens."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


async def measure() -> Load:
    """Look at the machine for :data:`WINDOW_S`; return what it did."""
    before, began_ns, late_ns = _ticks(), now_ns(), 0
    while seconds_between(began_ns, now_ns()) < WINDOW_S:
        asked_ns = now_ns()
        await asyncio.sleep(STEP_S)
        late_ns = max(late_ns, now_ns() - asked_ns - int(STEP_S * SECOND_NS))
    spent = [late - early for early, late in zip(before, _ticks(), strict=True)]
    total, idle = max(1, sum(spent)), spent[3] + spent[4]
    return Load(busy=1 - idle / total, steal=spent[7] / total, late_ms=late_ns / MS_NS)


def ceiling_here() -> int:
    """Return how many stacks may ever run at once here: two for each core and one more, whatever the load says."""
    return 2 * (os.cpu_count() or 1) + 1


async def take_turn(
    directory: Path,
    tell: Callable[[str], None],
    *,
    ceiling: int | None = None,
    look: Callable[[], Awaitable[Load]] = measure,
) -> Turn:
    """Wait until this stack may run; ``tell`` gets one line when that takes longer than 2 s.

    ``directory`` holds the machine's slots, ``look`` measures for a window.
    """
    places, began_ns, told = ceiling or ceiling_here(), now_ns(), False
    why = "another stack is about to start"
    while True:
        door = _locked(directory / "door")
        try:
            if door >= 0:
                why = "" if _free(directory, places) == places else (await look()).why_not() or ""
                if not why and (turn := _turn(directory, places, began_ns)) is not None:
                    return turn
                why = why or f"{places} stacks run already"
        finally:
            if door >= 0:
                os.close(door)
        if not told and seconds_between(began_ns, now_ns()) > TELL_AFTER_S:
            tell(f"waiting for a turn: {why}")
            told = True
        await pause(0.05 + random.random() / 10, why=f"a turn: {why}")


def _turn(directory: Path, places: int, began_ns: int) -> Turn | None:
    waited_s = seconds_between(began_ns, now_ns())
    for number in range(places):
        if (file := _locked(directory / f"slot-{number}")) >= 0:
            return Turn(waited_s, file)
    return None


def _free(directory: Path, places: int) -> int:
    files = [file for number in range(places) if (file := _locked(directory / f"slot-{number}")) >= 0]
    for file in files:
        os.close(file)
    return len(files)


def _locked(path: Path) -> int:
    """Return the descriptor of a lock that is now ours, or -1 when somebody holds it.

    Raises:
        MachineError: the lock can be neither made nor opened.
    """
    file = open_lock(path)
    if file is None:
        raise MachineError(f"to open {path}, which all users of this machine share", "no right to read it", "remove it")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return -1
    return file


def _ticks() -> list[int]:
    """Return the first eight columns of the line of all cores: user nice system idle iowait irq softirq steal."""
    return [int(word) for word in PROC_STAT.read_text().split("\n", 1)[0].split()[1:9]]
