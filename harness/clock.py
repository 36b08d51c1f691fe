"""The one clock: CLOCK_MONOTONIC, the same in every process of the machine; nanoseconds as int."""

from __future__ import annotations

import time
from datetime import UTC, datetime

SECOND_NS = 1_000_000_000
MS_NS = 1_000_000


def now_ns() -> int:
    """Return CLOCK_MONOTONIC in nanoseconds."""
    return time.monotonic_ns()


def seconds_between(start_ns: int, end_ns: int) -> float:
    """Return the seconds from start to end."""
    return (end_ns - start_ns) / SECOND_NS


def utc_stamp() -> str:
    """Return the wall-clock time as a name for a directory, e.g. ``20260401T120102.345Z``."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3] + "Z"
