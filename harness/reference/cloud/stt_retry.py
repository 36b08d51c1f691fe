"""When an STT stream that ended is made anew: soon, then ever more slowly, never after a refusal that stands."""

from __future__ import annotations

from dataclasses import dataclass

from harness.reference.cloud.soniox import Ended
from harness.reference.cloud.timers import Timers

ATTEMPTS = 3
"""For what the provider itself refuses; an endpoint that is away is dialled for as long as it is wanted."""
RETRIED_CODES = (0, 400, 408, 429)
"""Besides 5xx; 0 stands for an endpoint that cannot be reached."""
CLOSED_ON_PURPOSE = 1000
DOUBLINGS = 10


@dataclass
class Tries:
    """Counts a subscription's streams that got nowhere: what the provider refused apart from what was away or lost."""

    refused: int = 0
    away: int = 0

    def failed(self, ended: Ended) -> int:
        """Count one more end; give how many of its kind there were since a stream last brought an answer."""
        if ended.answered:
            self.refused = self.away = 0
        if ended.code:
            self.refused += 1
            return self.refused
        self.away += 1
        return self.away


def retry_delay_s(code: int, attempt: int, base_s: float) -> float | None:
    """Give the wait before the next attempt (the first has number 1), or None when there shall be none."""
    if attempt >= ATTEMPTS:
        return None
    if code == 429:
        return float(base_s * 2 ** (attempt - 1))
    if code >= 500:
        return base_s * attempt * 2
    return base_s * attempt if code in RETRIED_CODES else None


def recreate_delay_s(failures: int, timers: Timers) -> float:
    """Give the wait before an endpoint that went away is dialled again, after so many streams that got nowhere."""
    doubled_s = timers.stt_recreate_s * 2 ** min(max(failures - 1, 0), DOUBLINGS)
    return float(min(doubled_s, timers.stt_retry_s))


def next_delay_s(ended: Ended, failures: int, timers: Timers) -> float | None:
    """Give the wait before the next stream after one that ended; None when there shall be none.

    A provider's own error follows its table; a stream that was lost, or an endpoint that is away, comes back.
    """
    if ended.code:
        return retry_delay_s(ended.code, failures, timers.stt_retry_s)
    if ended.code is None and ended.close_code == CLOSED_ON_PURPOSE:
        return None
    return recreate_delay_s(failures, timers)
