"""What is to be done for a part should the rig be killed: the janitor does it then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Successor(Protocol):
    """What does our work when we are killed: the janitor."""

    def register(self, pid: int) -> None:
        """End this process and its kin then."""

    def run_if_rig_dies(self, argv: Sequence[str], env: Mapping[str, str], *, stays: bool = False) -> int:
        """Run this command then, and touch nothing that it starts if it ``stays``; return a number for ``forget``."""

    def forget(self, number: int) -> None:
        """Do not run that command any more."""


class Promises:
    """The commands promised for one part, by what they are for."""

    def __init__(self, janitor: Successor | None, *, stays: bool) -> None:
        """Promise nothing yet; ``stays``: the part is not the run's."""
        self._janitor, self._stays = janitor, stays
        self._made: dict[str, int | None] = {}

    def __contains__(self, what: str) -> bool:
        """Tell whether it is promised still."""
        return what in self._made

    def make(self, what: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """Have the command run should the rig die before ``forget(what)``."""
        if what not in self._made:
            janitor = self._janitor
            self._made[what] = janitor.run_if_rig_dies(argv, env, stays=self._stays) if janitor is not None else None

    def forget(self, *purposes: str) -> None:
        """Take these back."""
        for what in purposes:
            number = self._made.pop(what, None)
            if number is not None and self._janitor is not None:
                self._janitor.forget(number)

    def forget_all(self) -> None:
        """Take back whatever is left."""
        self.forget(*self._made)
