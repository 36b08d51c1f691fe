"""Links: relays with a front address that never moves, in a process of their own; network faults act on them."""

from harness.links.face import Links
from harness.links.front import LinkState

__all__ = ["LinkState", "Links"]
