"""How a component runs as a container: the only place that knows Docker and Testcontainers."""

from harness.runtimes.container.containers import Containers
from harness.runtimes.container.engine import Engine
from harness.runtimes.container.running import ContainerRunning

__all__ = ["ContainerRunning", "Containers", "Engine"]
