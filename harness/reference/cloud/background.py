"""Background work: tasks that are kept, named, and whose failure reaches the log."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from harness.reference.cloud.log import Log


class Background:
    """Hold every task that nobody awaits, so that none is collected early and no failure is lost."""

    def __init__(self, log: Log) -> None:
        """Report failures to `log`."""
        self._log = log
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
        """Start `work`; its failure is logged as `Background work failed`."""
        task: asyncio.Task[None] = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            self._log.error("Background work failed", work=task.get_name(), error=repr(problem))

    async def close(self) -> None:
        """Cancel what still runs and wait for its end."""
        pending = list(self._tasks)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
