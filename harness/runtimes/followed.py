"""The logs of a part of commands: its own, and ``<part>.commands.log`` with what its commands say."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.events import Note
from harness.history import Recorder
from harness.runtimes.kept import Kept
from harness.runtimes.log import Log
from harness.system import Component

ENDS_TOGETHER_S = 1.0
"""A command that follows the log ends with the part, a little before or after: then it has done its work."""


class Logs:
    """Of one part over a whole run; ``close`` ends them, but not the commands that follow."""

    def __init__(self, component: Component, run_dir: Path, recorder: Recorder, alarm: Sequence[str]) -> None:
        """Open them."""
        self._component, self._dir, self._recorder, self._alarm = component, run_dir / "logs", recorder, alarm
        self._follows = "logs" in (component.commands or {})
        self._closed = self._launched = False
        self.followers: list[Kept] = []
        """Every ``logs`` that was run; the last one follows, if any does."""
        self.part = self._open(component.name, events=component.events)
        """The log of this start of the part."""
        self._all = [self.part]
        # Held open: on a full disk no file could be made any more.
        self._told = self._open(f"{component.name}.commands", events=False) if component.commands else None

    def _open(self, name: str, *, events: bool) -> Log:
        alarm = self._alarm if events else ()
        return Log(self._dir / f"{name}.log", name, recorder=self._recorder, all_events=events, alarm=alarm)

    def _new(self, name: str, *, events: bool) -> Log:
        self._all.append(self._open(name, events=events))
        return self._all[-1]

    def _new_part(self) -> Log:
        self.part = self._new(self._component.name, events=self._component.events)
        return self.part

    def say(self, text: str) -> None:
        """Note a line about a command, its secrets masked."""
        if self._told is not None:
            self._told.feed(text.encode() + b"\n")

    def begin(self) -> None:
        """Begin the log of the next start, where one follower goes on over all of them."""
        if self._follows:
            self.part.begin()

    def of_command(self) -> Log:
        """Return the log for the output of a command that may leave the part running."""
        if self._follows:
            return self._new(f"{self._component.name}.commands", events=False)
        first, self._launched = not self._launched, True
        return self.part if first else self._new_part()

    def follow(self, start: Callable[[int], Kept], alive: Callable[[], bool]) -> None:
        """Have ``logs`` (``start`` starts it, its output to the descriptor given) print into the part's log.

        One that goes on is left to it; one that ended with the part is started anew. That one ends while the part is
        ``alive`` is noted.
        """
        if not self._follows or (self.followers and not self.followers[-1].exited.done()):
            return
        if self.followers:
            self._new_part()
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            follower = start(writing)
        finally:
            os.close(writing)
        self.followers.append(follower)
        self.part.listen(reading, follower.keeper.pid if follower.keeper is not None else 0)
        loop = asyncio.get_running_loop()
        follower.exited.add_done_callback(lambda _: loop.call_later(ENDS_TOGETHER_S, self._miss, follower, alive))

    def _miss(self, follower: Kept, alive: Callable[[], bool]) -> None:
        if not self._closed and alive() and follower is self.followers[-1]:
            name, code = self._component.name, follower.exited.result()
            text = f"{name}.commands.logs exited {code} while {name} runs: its log is not followed until its next start"
            self._recorder.emit(Note(text=text))

    def end_told(self) -> tuple[tuple[str, ...], str]:
        """Return the last lines of whichever log says most, and that log's path."""
        for log in self._all:
            log.drain()
        told = max(self._all, key=lambda log: len(log.last_lines()))
        return told.last_lines(), str(told.path)

    def close(self) -> None:
        """Take what is there, and read no more."""
        self._closed = True
        for log in (*self._all, *([self._told] if self._told is not None else ())):
            log.close()
