"""The main job as a user sees it: seconds to the first caption, to the verdict, and what the harness itself costs.

Runs ``aftershock run force-quit-restart-cloud`` five times and prints one JSON line with medians and maxima. A run that
does not hold ends the benchmark: its figures would mean nothing.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SCENARIO = "force-quit-restart-cloud"
REPEATS = 5
FIGURES = {
    "first_final_caption_s": "first_final_caption_s",
    "stack_start_s": "stack_start_s",
    "anchor_to_recovered_s": "anchor_to_recovered_s",
    "fault_s": "fault_s",
    "overhead_s": "overhead_s",
    "run_s": "wall_s",
}
"""Figure -> its name among the timings of verdict.json."""


def once(runs: str, seed: int) -> dict[str, float]:
    """Run the scenario and return its timings, with ``verdict_s`` for the whole command."""
    began_s = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "harness", "run", SCENARIO, "--json", "--runs", runs, "--seed", str(seed)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    verdict_s = time.monotonic() - began_s
    if done.returncode:
        sys.exit(f"expected {SCENARIO} to hold; it exited {done.returncode}\n{done.stderr}")
    run_dir = ROOT / json.loads(done.stdout.splitlines()[0])["run"]
    timings: dict[str, Any] = json.loads((run_dir / "verdict.json").read_text("utf-8"))["timings"]
    figures = {figure: float(timings[key]) for figure, key in FIGURES.items()}
    # The stricter reading: the fault's own end and start counted as ours.
    figures["overhead_with_fault_s"] = figures["overhead_s"] + figures["fault_s"]
    return {"verdict_s": verdict_s, **figures}


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as runs:
        measured = [once(runs, seed) for seed in range(REPEATS)]
    line: dict[str, Any] = {"benchmark": "main_job", "scenario": SCENARIO, "runs": REPEATS}
    for figure in measured[0]:
        values = [one[figure] for one in measured]
        line[figure] = {"median": round(statistics.median(values), 3), "max": round(max(values), 3)}
    print(json.dumps(line))


if __name__ == "__main__":
    main()
