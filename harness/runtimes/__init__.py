"""How a component runs: ``process.py``, ``container/`` (imported only by a run that has containers).

Starting gives a :class:`Running` with those capabilities that it truly has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from harness.errors import MachineError
from harness.history import Recorder
from harness.runtimes import process
from harness.runtimes.capabilities import (
    Askable,
    Choosy,
    Detachable,
    Droppable,
    Killable,
    Loggable,
    Pausable,
    Restartable,
    Running,
    Stoppable,
)
from harness.runtimes.log import OnLine
from harness.runtimes.readiness import ready
from harness.system import Component, Resolved

__all__ = [
    "Askable", "Choosy", "Detachable", "Droppable", "Killable", "Loggable", "Pausable", "Restartable", "Running",
    "Stoppable", "ready", "start",
]  # fmt: skip


async def start(
    component: Component,
    resolved: Resolved,
    *,
    run: str,
    run_dir: Path,
    recorder: Recorder,
    alarm: Sequence[str] = (),
    on_line: OnLine | None = None,
    on_exit: Callable[[Running], None] | None = None,
) -> Running:
    """Start ``component`` in the runtime it names; ``ready`` waits for it.

    ``alarm``: regexes of log lines that become events in any case. ``on_line`` sees every log line. ``on_exit`` is
    called once, when it has ended.

    Raises:
        StartFailed: it cannot be started.
        MachineError: its runtime is not to be had here.
    """
    if component.runtime == "process":
        return await process.start(
            component, resolved, run=run, run_dir=run_dir, recorder=recorder, alarm=alarm, on_line=on_line,
            on_exit=on_exit,
        )  # fmt: skip
    raise MachineError(
        f"{component.name} to be a process",
        f"{component.name} given as {component.image or 'commands'}",
        f"give {component.name}.process, or start it on a network of the run's own (runtimes/container)",
    )
