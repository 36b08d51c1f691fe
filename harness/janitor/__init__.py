"""The janitor: a small process that ends everything of a run when the rig itself is killed.

``python -m harness.janitor`` must start fast, so its parent's face (which needs asyncio) is imported on demand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.janitor.face import Janitor

__all__ = ["Janitor"]


def __getattr__(name: str) -> Any:
    if name == "Janitor":
        from harness.janitor.face import Janitor  # noqa: PLC0415  see above

        return Janitor
    raise AttributeError(name)
