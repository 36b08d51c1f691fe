"""The watcher: a small process that ends everything of a run when the rig itself is killed.

``python -m harness.watcher`` must start fast, so its parent's face (which needs asyncio) is imported on demand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.watcher.face import Watcher

__all__ = ["Watcher"]


def __getattr__(name: str) -> Any:
    if name == "Watcher":
        from harness.watcher.face import Watcher  # noqa: PLC0415  see above

        return Watcher
    raise AttributeError(name)
