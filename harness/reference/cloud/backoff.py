"""How long to wait before the next try towards the bridge, and when a client that is replaced for ever gives up."""

from __future__ import annotations

import time
from collections import deque

CALM_CAPS = 4
"""So many times the longest pause without a try, and the next one begins with the shortest pause again."""


class Backoff:
    """Pauses that double from `first_s` up to `cap_s`."""

    def __init__(self, first_s: float, cap_s: float) -> None:
        """Begin with the shortest pause."""
        self._first_s = first_s
        self._cap_s = max(first_s, cap_s)
        self._pause_s = 0.0
        self._due_s = -float("inf")

    def next_s(self) -> float:
        """Give the pause before the next try, in seconds; a long calm since the last one begins anew."""
        now_s = time.monotonic()
        if now_s - self._due_s > CALM_CAPS * self._cap_s:
            self._pause_s = 0.0
        self._pause_s = min(self._cap_s, 2 * self._pause_s) if self._pause_s else self._first_s
        self._due_s = now_s + self._pause_s
        return self._pause_s


class Replacements:
    """Counts how often somebody else took this user's bridge session; two that never give up would flap for ever."""

    def __init__(self, limit: int | None, window_s: float) -> None:
        """Allow fewer than `limit` within `window_s` seconds; None: allow any number."""
        self._limit = limit
        self._window_s = window_s
        self._seen_s: deque[float] = deque()

    def too_many(self) -> bool:
        """Count one more; tell whether it is time to leave the session to the other."""
        now_s = time.monotonic()
        self._seen_s.append(now_s)
        while now_s - self._seen_s[0] > self._window_s:
            self._seen_s.popleft()
        return self._limit is not None and len(self._seen_s) >= self._limit

    def forget(self) -> None:
        """Begin anew: the phone came again, and its session is rightly this cloud's."""
        self._seen_s.clear()
