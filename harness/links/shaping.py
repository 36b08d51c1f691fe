"""Bytes that go on later, or slower: a delay with jitter that keeps the order, a rate, or both."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

PIECE_S = 0.02
"""A throttled direction moves in pieces of so much time, and takes two of them ahead."""


@dataclass(frozen=True)
class Shape:
    """How a direction is shaped; 0 is: not at all."""

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    """Each chunk is so much earlier or later at most, by the dice of its connection."""
    bytes_per_s: float = 0.0

    def __bool__(self) -> bool:
        """Tell whether it shapes anything."""
        return bool(self.delay_ms or self.jitter_ms or self.bytes_per_s)


class Shaping:
    """What is on its way in one direction of one connection.

    It takes no more than ``limit_bytes`` while it delays (a kernel's buffer), and next to nothing while it throttles,
    so that the sender feels it.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, shape: Shape, *, limit_bytes: int, dice: random.Random,
        write: Callable[[bytes], None], moved: Callable[[], None],
    ) -> None:  # fmt: skip
        """Begin empty; ``write`` passes bytes on, ``moved`` is told when some of them were."""
        self._loop, self.shape, self._limit_bytes, self._dice = loop, shape, limit_bytes, dice
        self._write, self._moved = write, moved
        self._line: deque[tuple[float, bytes]] = deque()
        self._held_bytes = 0
        self._last_due = self._free_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def put(self, data: bytes) -> None:
        """Take bytes that are to go on in order; none at all is the mark of an end, which travels as bytes do."""
        shape, now = self.shape, self._loop.time()
        jitter_ms = self._dice.uniform(-shape.jitter_ms, shape.jitter_ms) if shape.jitter_ms else 0.0
        self._last_due = due = max(self._last_due, now + max(0.0, shape.delay_ms + jitter_ms) / 1000)
        if not shape.bytes_per_s or not data:
            self._append(max(due, self._free_at), data)
        else:
            size = self._piece_bytes()
            for at in range(0, len(data), size):
                piece = data[at : at + size]
                self._free_at = max(due, self._free_at) + len(piece) / shape.bytes_per_s
                self._append(self._free_at, piece)
        self._set_timer()

    def room(self) -> int:
        """Return how many bytes more it takes; when that grows, ``moved`` is called."""
        slow = self.shape.bytes_per_s and not self.shape.delay_ms
        return max(0, (2 * self._piece_bytes() if slow else self._limit_bytes) - self._held_bytes)

    def is_empty(self) -> bool:
        """Tell whether all it took has gone on."""
        return not self._line

    def reshape(self, shape: Shape) -> None:
        """Shape what comes from now on like this; what is on its way arrives as it was sent."""
        self.shape = shape
        self._moved()

    def close(self, *, flush: bool) -> None:
        """End; with ``flush`` what it holds goes on now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        line, self._line, self._held_bytes = self._line, deque(), 0
        for _due, data in line if flush else ():
            if data:
                self._write(data)

    def _piece_bytes(self) -> int:
        return max(1, int(self.shape.bytes_per_s * PIECE_S)) if self.shape.bytes_per_s else self._limit_bytes

    def _append(self, due: float, data: bytes) -> None:
        self._line.append((due, data))
        self._held_bytes += len(data)

    def _set_timer(self) -> None:
        if self._timer is None and self._line:
            self._timer = self._loop.call_at(self._line[0][0], self._due)

    def _due(self) -> None:
        self._timer = None
        now = self._loop.time() + 0.0005  # a loop may call a fraction of a millisecond early
        while self._line and self._line[0][0] <= now:
            _at, data = self._line.popleft()
            self._held_bytes -= len(data)
            if data:
                self._write(data)
        self._set_timer()
        self._moved()
