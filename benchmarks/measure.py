"""Runs every ``bench_*.py`` beside it and writes what they measured to RESULTS.md and results.json.

A benchmark is a program that prints one JSON object as its last line; its figures' names end in their unit.
``python benchmarks/measure.py [NAME...]`` runs only those and keeps the results of the others.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS, JSON = HERE / "RESULTS.md", HERE / "results.json"
Figures = dict[str, Any]
GOALS = {
    "containers.stack_start_s.max": "≤ 8",
    "main_job.first_final_caption_s.max": "≤ 5",
    "main_job.verdict_s.max": "≤ 20",
    "main_job.overhead_s.max": "≤ 3",
    "main_job.overhead_with_fault_s.max": "≤ 3",
    "speech.decode_40ms_x": "≥ 1,000",
    "relay.websocket.readers_on.added_p99_ms": "≤ 1",
    "relay.grpc.readers_on.added_p99_ms": "≤ 1",
    "writers.log_lines_per_s": "≥ 20,000",
    "writers.frames_in_40ms_chunks_per_s": "≥ 200,000",
    "check.check_s": "≤ 30",
    "check.peak_memory_gb": "≤ 2",
}
"""Figure -> the goal it is held against."""
LIMITS = {
    "writers.log_lines_per_s": "looking for secrets takes a third, the write itself a sixth",
    "writers.frames_in_40ms_chunks_per_s": "a write for every two frames, and making the array they stand in",
    "check.check_s": "reading takes a fifth; then Python's passes over a million events, most for alarm lines",
}
"""Figure -> what limits it, where a profile has shown it."""


def machine() -> Figures:
    """Say what the figures were measured on."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?"
    )
    cores = sum(line.startswith("processor") for line in _lines("/proc/cpuinfo"))
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "processor": model, "cores": cores, "kernel": platform.release(), "python": platform.python_version(),
        "commit": commit, "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines()


def measure(name: str) -> Figures:
    """Run one benchmark and return its figures, or exit with what it said."""
    done = subprocess.run(
        [sys.executable, str(HERE / f"bench_{name}.py")],
        cwd=HERE.parent,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    try:
        figures = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        figures = None
    if done.returncode or not isinstance(figures, dict):
        sys.exit(f"expected bench_{name}.py to print its figures as JSON; it exited {done.returncode}\n{done.stdout}")
    return {**figures, "machine": machine()}


def markdown(results: dict[str, Figures]) -> str:
    """Return every figure as a table, one per benchmark."""
    parts = ["# Measured", "", "Written by `make bench`; the same figures are in `results.json`."]
    for name, figures in sorted(results.items()):
        on = figures["machine"]
        parts += ["", f"## {name}", ""]
        parts += [
            f"{on['processor']}, {on['cores']} cores, Python {on['python']}, commit {on['commit']}, {on['at']}",
            "",
        ]
        parts += ["| figure | value | goal | what limits it |", "|---|---|---|---|"]
        parts += [
            f"| {key} | {_shown(value)} | {GOALS.get(f'{name}.{key}', '')} | {LIMITS.get(f'{name}.{key}', '')} |"
            for key, value in _flat(figures)
            if key != "benchmark"
        ]
    return "\n".join(parts) + "\n"


def _flat(figures: Figures, prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in figures.items():
        if isinstance(value, dict):
            found += _flat(value, f"{prefix}{key}.") if key != "machine" else []
        else:
            found.append((prefix + key, value))
    return found


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.3f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def main() -> None:
    """Measure what is asked for, one after the other, and write both files after each."""
    known = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))
    wanted = sys.argv[1:] or known
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        sys.stderr.write(f"expected benchmarks of {', '.join(known)}; saw {', '.join(unknown)}\n")
        sys.exit(64)
    results: dict[str, Figures] = json.loads(JSON.read_text("utf-8")) if JSON.exists() else {}
    for name in wanted:
        sys.stderr.write(f"measuring {name}\n")
        results[name] = measure(name)
        JSON.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", "utf-8")
        RESULTS.write_text(markdown(results), "utf-8")
    sys.stdout.write(markdown({name: results[name] for name in wanted}))


if __name__ == "__main__":
    main()
