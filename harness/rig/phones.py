"""Where phones come from: processes kept warm (their imports take a second), handed out and configured."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.control import Puppet

if TYPE_CHECKING:
    from harness.rig.people import Person


class PhoneBooth:
    """Spawns phone processes, one ahead when asked to, and knows how each is configured."""

    def __init__(self, run: str, run_dir: Path, configure: Callable[[Person], dict[str, Any]]) -> None:
        """``configure`` makes the fields of a phone's configure request."""
        self.run, self.run_dir, self.configuration = run, run_dir, configure
        self.all: list[Puppet] = []
        self._numbers = itertools.count(1)
        self._warm: asyncio.Task[Puppet] | None = None

    def warm_up(self) -> None:
        """Spawn a phone process ahead of time, so that its imports are over when it is needed."""
        if self._warm is None:
            self._warm = asyncio.create_task(self._spawn(), name="warm phone")

    async def take(self) -> Puppet:
        """Return a phone process that is up."""
        self.warm_up()
        assert self._warm is not None
        warm, self._warm = self._warm, None
        return await warm

    async def _spawn(self) -> Puppet:
        puppet = Puppet("harness.phone", run=self.run, run_dir=self.run_dir, proc=f"phone-{next(self._numbers)}")
        self.all.append(puppet)
        await puppet.start()
        await puppet.ask("ready", within_s=20)  # its media engine is imported: that stalls its loop for a while
        return puppet

    async def close(self) -> None:
        """End every phone process that still runs."""
        if self._warm is not None:
            self._warm.cancel()
            await asyncio.wait([self._warm])
        await asyncio.gather(*(puppet.stop() for puppet in self.all))
