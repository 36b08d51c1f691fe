"""How a phone reaches a stack: where it dials, when frame 0 was spoken, and the secret its token is signed with.

A stack that is left standing writes this to a file for its owner's eyes only, gone with the stack, so that a phone can
be started by hand without a secret on a command line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError
from harness.redact import know_secret
from harness.settings import scratch_dir

if TYPE_CHECKING:
    from harness.rig.people import Person
    from harness.rig.stack import Stack

FILE = "phone.json"
DIALED = ("phone->cloud", "phone->livekit")


@dataclass(frozen=True)
class Reach:
    """What every phone of one stack is told alike."""

    cloud_url: str
    """``ws://host:port``; REST is at the same place."""
    livekit_url: str
    """``ws://host:port``, dialed instead of what the cloud says; empty: what the cloud says."""
    media_host: str
    epoch_ns: int
    """When frame 0 was spoken, by CLOCK_MONOTONIC: the same for all phones of the machine."""
    app: str | None
    """The package of the captions app, started by the phone; None: nothing is started."""
    secret: str = field(repr=False)
    """Signs the phones' core tokens."""
    timers: Mapping[str, Any] = field(default_factory=dict)
    """The profile's timers of the phone."""

    @classmethod
    def of(cls, stack: Stack) -> Reach:
        """Return how phones reach a stack that is planned."""
        cloud, livekit = (stack.fronts[name] for name in DIALED)
        return cls(
            cloud_url=f"ws://{cloud[0]}:{cloud[1]}", livekit_url=f"ws://{livekit[0]}:{livekit[1]}",
            media_host=stack.media_host, epoch_ns=stack.recorder_epoch_ns,
            app=stack.system.values.get("app.package"), secret=stack.secrets["cloud.jwt_secret"],
            timers=dict(stack.system.profile.phone),
        )  # fmt: skip

    def configuration(self, person: Person) -> dict[str, Any]:
        """Return the fields of a phone's ``configure`` request."""
        return {
            "person": person.name, "user_id": person.user_id, "core_token": person.core_token(self.secret),
            "cloud_url": self.cloud_url, "rest_url": self.cloud_url.replace("ws", "http", 1),
            "livekit_url": self.livekit_url, "media_host": self.media_host, "speaker": person.speaker,
            "epoch_ns": self.epoch_ns, "packet_ms": person.settings.packet_ms, "fallback": person.settings.fallback,
            "engine": person.settings.engine, "start_app": self.app if person.starts_app else None,
            "defects": list(person.settings.defects), "seed": person.settings.seed, **self.timers,
        }  # fmt: skip

    def write(self, scratch: Path) -> None:
        """Write it below a run's scratch directory, for our own eyes only."""
        file = os.open(scratch / FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(file, "w") as out:
            json.dump(asdict(self), out)

    @classmethod
    def read(cls, run: str) -> Reach:
        """Return what the standing stack of this run wrote.

        Raises:
            UsageError: it cannot be read: no such stack stands, or it is somebody else's.
        """
        path = scratch_dir(run) / FILE
        try:
            facts = json.loads(path.read_text())
        except OSError as error:
            raise UsageError(
                f"a stack of yours that stands as {run}",
                f"{error.strerror} ({path})",
                "start one by `aftershock up` and use the phone command it prints",
            ) from error
        know_secret(facts["secret"])
        return cls(**facts)
