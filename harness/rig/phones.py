"""Where phones come from: processes kept warm (their imports take a second), handed out and configured."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.control import Puppet
from harness.phone.configuration import Engine

if TYPE_CHECKING:
    from harness.rig.people import Person


class PhoneBooth:
    """Spawns phone processes, one ahead when asked to, and knows how each is configured."""

    def __init__(
        self, run: str, run_dir: Path, configure: Callable[[Person], dict[str, Any]], engine: Engine = "aiortc"
    ) -> None:
        """``configure`` makes the fields of a phone's configure request; ``engine`` is the one to have ready."""
        self.run, self.run_dir, self.configuration, self.engine = run, run_dir, configure, engine
        self.all: list[Puppet] = []
        self._numbers = itertools.count(1)
        self._warm: asyncio.Task[Puppet] | None = None

    def warm_up(self) -> None:
        """Spawn a phone process ahead of time, so that its imports are over when it is needed."""
        if self._warm is None:
            self._warm = asyncio.create_task(self._spawn(), name="warm phone")

    async def take(self, engine: Engine | None = None) -> Puppet:
        """Return a phone process that is up, its media engine imported."""
        if engine not in {None, self.engine}:
            return await self._spawn(engine)
        self.warm_up()
        assert self._warm is not None
        warm, self._warm = self._warm, None
        return await warm

    async def _spawn(self, engine: Engine | None = None) -> Puppet:
        puppet = Puppet("harness.phone", run=self.run, run_dir=self.run_dir, proc=f"phone-{next(self._numbers)}")
        self.all.append(puppet)
        await puppet.start()
        # Its media engine is imported by then: that stalls its loop for a while.
        await puppet.ask("ready", engine=engine or self.engine, within_s=20)
        return puppet

    async def close(self) -> None:
        """End every phone process that still runs."""
        if self._warm is not None:
            self._warm.cancel()
            await asyncio.wait([self._warm])
        await asyncio.gather(*(puppet.stop() for puppet in self.all))
