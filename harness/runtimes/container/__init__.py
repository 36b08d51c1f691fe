"""How a component runs as a container: the only place that knows Docker and Testcontainers.

The names are imported on demand: a sweep must start fast and needs but the engine.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.runtimes.container.containers import Containers
    from harness.runtimes.container.engine import Engine
    from harness.runtimes.container.running import ContainerRunning

__all__ = ["ContainerRunning", "Containers", "Engine"]
_WHERE = {"Containers": "containers", "ContainerRunning": "running", "Engine": "engine"}


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"harness.runtimes.container.{_WHERE[name]}"), name)
    raise AttributeError(name)
