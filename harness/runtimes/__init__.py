"""How a component runs: ``process.py``, ``commands.py``, ``container/`` (imported only by a run that has containers).

Starting gives a :class:`Running` with those capabilities that it truly has.
"""

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
from harness.runtimes.readiness import ready

__all__ = [
    "Askable", "Choosy", "Detachable", "Droppable", "Killable", "Loggable", "Pausable", "Restartable", "Running",
    "Stoppable", "ready",
]  # fmt: skip
