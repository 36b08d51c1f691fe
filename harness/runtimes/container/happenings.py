"""What the engine tells of one run's containers, as events of the run: an OOM kill, somebody else's ``docker stop``."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

from harness import events as ev
from harness.runtimes.container.engine import ENGINE_ERRORS, PART_LABEL, RUN_LABEL, Engine, why

TOLD = frozenset(
    {"start", "die", "kill", "stop", "oom", "pause", "unpause", "restart", "health_status", "connect", "disconnect"}
)
JOINS_WITHIN_S = 2.0


class Happenings:
    """Follows the engine's events in a thread until ``close``; ``tell`` is called there, in that thread."""

    def __init__(self, engine: Engine, run: str, network: str, tell: Callable[[ev.Event], None]) -> None:
        """Listen from now on (blocking until the engine answers). Raises ENGINE_ERRORS."""
        self._run, self._network, self._tell = run, network, tell
        self._parts: dict[str, str] = {}
        self._closed = False
        # No label in the filter: an event of a network knows its containers by id alone.
        self._stream = engine.client.api.events(filters={"type": ["container", "network"]}, decode=True)
        self._thread = threading.Thread(target=self._follow, name="docker events", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening (blocking for an instant)."""
        self._closed = True
        with contextlib.suppress(*ENGINE_ERRORS, OSError, AttributeError):  # it is closed already
            self._stream.close()
        self._thread.join(JOINS_WITHIN_S)

    def _follow(self) -> None:
        reason = "the stream ended"
        try:
            for said in self._stream:
                found = self.read(said)
                if found is not None and not self._closed:
                    self._tell(found)
        # A stream cut in the middle of an event ends in any of these, one of them from inside urllib3.
        except (*ENGINE_ERRORS, OSError, ValueError, AttributeError) as lost:
            reason = why(lost)
        if not self._closed:
            self._tell(ev.Note(text=f"the Docker engine tells no more of this run's containers: {reason}"))

    def read(self, said: Mapping[str, Any]) -> ev.ContainerEvent | None:
        """Turn what the engine said into an event of this run; None when it is not of this run, or of no interest."""
        actor = said.get("Actor") or {}
        known = actor.get("Attributes") or {}
        action, _, detail = str(said.get("Action", "")).partition(": ")
        if said.get("Type") == "network":
            component = self._parts.get(known.get("container", "")) if known.get("name") == self._network else None
        else:
            component = known.get(PART_LABEL) if known.get(RUN_LABEL) == self._run else None
            if component is not None:
                self._parts[str(actor.get("ID"))] = component
                if action == "die":
                    detail = f"exit {known.get('exitCode', '?')}"
                elif action == "kill":
                    detail = f"signal {known.get('signal', '?')}"
        if component is None or action not in TOLD:
            return None
        return ev.ContainerEvent(component=component, action=action, detail=detail)
