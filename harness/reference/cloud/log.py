"""The cloud's log: plain lines on a stream, `<ISO time> <LEVEL> <message> {json fields}`.

Messages are the real cloud's own words (other tools match them by prefix). No token and no key is ever a field.
"""

from __future__ import annotations

import json
import sys
from typing import TextIO

from harness.reference.cloud.wire import iso_now


class Log:
    """Write lines with fixed fields of its own beside those of each line."""

    def __init__(self, stream: TextIO | None = None, **fixed: object) -> None:
        """Write to `stream` (default: standard output), adding `fixed` to every line."""
        self._stream = stream
        self._fixed = fixed

    def of(self, **fixed: object) -> Log:
        """Give a log with more fixed fields."""
        return Log(self._stream, **{**self._fixed, **fixed})

    def debug(self, message: str, **fields: object) -> None:
        """Write a debug line."""
        self._write("DEBUG", message, fields)

    def info(self, message: str, **fields: object) -> None:
        """Write an info line."""
        self._write("INFO", message, fields)

    def warning(self, message: str, **fields: object) -> None:
        """Write a warning."""
        self._write("WARN", message, fields)

    def error(self, message: str, **fields: object) -> None:
        """Write an error."""
        self._write("ERROR", message, fields)

    def _write(self, level: str, message: str, fields: dict[str, object]) -> None:
        stream = self._stream or sys.stdout
        detail = json.dumps({**self._fixed, **fields}, default=str, ensure_ascii=False)
        stream.write(f"{iso_now()} {level} {message} {detail}\n")
        stream.flush()
