"""What a run directory gets to say: ``verdict.json`` for machines, ``report.md`` for people, and the exit code."""

from harness.report.directory import write
from harness.report.known import FAILS, NO_LONGER, KnownSeen, known_breakage, known_seen
from harness.report.machine import SCHEMA, exit_code, preconditions_row, summary_json, verdict_json
from harness.report.text import markdown, text

__all__ = [
    "FAILS", "NO_LONGER", "SCHEMA", "KnownSeen", "exit_code", "known_breakage", "known_seen", "markdown",
    "preconditions_row", "summary_json", "text", "verdict_json", "write",
]  # fmt: skip
