"""A component's log: read line by line, secrets masked, appended to ``logs/<component>.log``, told as events."""

from __future__ import annotations

import asyncio
import os
import re
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.events import LogLine
from harness.history import Recorder
from harness.redact import mask
from harness.spare import append

LINE_BYTES = 64 * 1024
"""A longer line is cut here."""
CUT = " [cut]"
OnLine = Callable[[int, str], None]
"""Called with the line's number in the log file, from 1, and its text."""

_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Log:
    """Reads a pipe in the running loop until everybody who writes to it is gone, or ``close``."""

    def __init__(
        self,
        path: Path,
        component: str,
        *,
        recorder: Recorder,
        all_events: bool,
        alarm: Sequence[str] = (),
        on_line: OnLine | None = None,
    ) -> None:
        """Append to ``path``; each line is an event when ``all_events``, else when a regex of ``alarm`` is in it."""
        self.path, self._component, self._recorder, self._on_line = path, component, recorder, on_line
        self._all_events = all_events
        self._alarm = re.compile("|".join(f"(?:{pattern})" for pattern in alarm)) if alarm else None
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._line = path.read_bytes().count(b"\n")
        self._from = os.fstat(self._file).st_size
        self._tail: deque[str] = deque(maxlen=100)
        self._rest = b""
        self._cutting = False
        self._pipe = -1

    def listen(self, pipe: int, pid: int) -> None:
        """Read ``pipe`` (and own it) from now on; a log that was there gets a line saying that ``pid`` goes on."""
        if self._from:
            append(self._file, f"--- started again, pid {pid}\n".encode(), self._recorder.run_dir)
            self._line += 1
            self._from = os.fstat(self._file).st_size
        self._pipe = pipe
        os.set_blocking(pipe, False)
        asyncio.get_running_loop().add_reader(pipe, self._read_once)

    def begin(self) -> None:
        """Begin anew: what came before belongs to an earlier start."""
        self.drain()
        self._tail.clear()
        self._from = os.fstat(self._file).st_size

    def feed(self, chunk: bytes) -> None:
        """Take some bytes of the log, lines or parts of them."""
        *whole, rest = (self._rest + chunk).split(b"\n")
        lines = []
        for line in whole:
            if not self._cutting:
                lines.append(line)
            self._cutting = False
        if self._cutting:
            rest = b""
        elif len(rest) > LINE_BYTES:
            lines.append(rest)
            self._cutting, rest = True, b""
        self._rest = rest
        if lines:
            self._write(lines)

    def drain(self) -> None:
        """Take whatever the pipe holds now."""
        while self._read_once():
            pass

    def close(self) -> None:
        """Take what is there and stop reading."""
        self.drain()
        self._end_pipe()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def last_lines(self, count: int = 30) -> tuple[str, ...]:
        """Return the last lines of this start (at most 100)."""
        return tuple(self._tail)[-count:]

    def find_line(self, pattern: str) -> str | None:
        """Return the first line of this start that matches the regex."""
        with self.path.open("rb") as file:
            file.seek(self._from)
            lines = file.read().decode("utf-8", "replace").splitlines()
        return next((line for line in lines if re.search(pattern, line)), None)

    def _read_once(self) -> bool:
        # One chunk a turn: a component that never stops writing must not keep the loop from the rest.
        if self._pipe < 0:
            return False
        try:
            chunk = os.read(self._pipe, LINE_BYTES)
        except BlockingIOError:
            return False
        if chunk:
            self.feed(chunk)
        else:
            self._end_pipe()
        return bool(chunk)

    def _end_pipe(self) -> None:
        if self._pipe < 0:
            return
        asyncio.get_running_loop().remove_reader(self._pipe)
        os.close(self._pipe)
        self._pipe = -1
        if self._rest:
            self._write([self._rest])
            self._rest = b""

    def _write(self, lines: list[bytes]) -> None:
        texts = [_clean(line) for line in lines]
        # The file first: what an event or a callback tells of can then be looked up.
        append(self._file, "".join(text + "\n" for text in texts).encode(), self._recorder.run_dir)
        for text in texts:
            self._line += 1
            self._tail.append(text)
            if self._all_events or (self._alarm is not None and self._alarm.search(text)):
                self._recorder.emit(LogLine(component=self._component, line=self._line, text=text))
            if self._on_line is not None:
                self._on_line(self._line, text)


class LoggedPart:
    """The side of a part that is told of it: what it really is, and its log."""

    _log: Log
    _facts: dict[str, str]

    @property
    def facts(self) -> dict[str, str]:
        """What it really is, e.g. its program's path and sha256, its image's digest, its commands."""
        return dict(self._facts)

    @property
    def log_path(self) -> Path:
        """The file with its log."""
        return self._log.path

    def last_lines(self, count: int = 30) -> tuple[str, ...]:
        """Return the end of this start's log."""
        return self._log.last_lines(count)

    def find_line(self, pattern: str) -> str | None:
        """Return the first line of this start's log that matches the regex."""
        return self._log.find_line(pattern)


def _clean(line: bytes) -> str:
    text = line[:LINE_BYTES].decode("utf-8", "replace").rstrip("\r")
    return mask(_COLOUR.sub("", text)) + (CUT if len(line) > LINE_BYTES else "")
