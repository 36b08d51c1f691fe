"""What a run directory gets to say: ``verdict.json`` for machines, ``report.md`` for people, and the exit code."""

from harness.report.directory import write
from harness.report.machine import SCHEMA, exit_code, preconditions_row, summary_json, verdict_json
from harness.report.text import markdown, text

__all__ = ["SCHEMA", "exit_code", "markdown", "preconditions_row", "summary_json", "text", "verdict_json", "write"]
