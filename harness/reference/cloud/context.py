"""What every part of the cloud is given: settings, defects, log, database, HTTP, and a place for background work."""

from __future__ import annotations

from dataclasses import dataclass, field

import aiohttp

from harness.reference.cloud.background import Background
from harness.reference.cloud.log import Log
from harness.reference.cloud.settings import Settings
from harness.reference.cloud.timers import Timers
from harness.reference.cloud.users import Users
from harness.reference.defects import Defects


@dataclass(frozen=True)
class Context:
    """The cloud's surroundings, the same for all users."""

    settings: Settings
    defects: Defects
    log: Log
    users: Users
    http: aiohttp.ClientSession
    background: Background
    owed_leaves: dict[str, None] = field(default_factory=dict)
    """Users whose last LeaveRoom failed, the oldest first: the bridge may hold a session of theirs that nobody has."""

    @property
    def timers(self) -> Timers:
        """The cloud's delays."""
        return self.settings.timers
