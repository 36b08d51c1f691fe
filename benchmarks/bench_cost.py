"""What the harness itself takes of the machine beside the system it tests: one person talks for 20 s, no fault.

Prints one JSON line: processor seconds during the talk and resident memory of each part, ours and the system's.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TALK_S = 20
SYSTEM = ("livekit", "bridge", "cloud")


def main() -> None:
    """Run the story and print."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "benchmarks/cost_story.py", "--runs", folder],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        found = [path for path in Path(folder).rglob("cost.json") if not path.parent.is_symlink()]
        if done.returncode or not found:
            sys.exit(f"expected the story to hold; it exited {done.returncode}\n{done.stdout}{done.stderr}")
        parts: dict[str, dict[str, float]] = json.loads(found[0].read_text("utf-8"))
    figures: dict[str, Any] = {"benchmark": "cost", "talk_s": TALK_S}
    for group, names in (
        ("system", [n for n in parts if n in SYSTEM]),
        ("ours", [n for n in parts if n not in SYSTEM]),
    ):
        figures[group] = {
            "processor_s": round(sum(parts[n]["processor_s"] for n in names), 2),
            "cores": round(sum(parts[n]["processor_s"] for n in names) / TALK_S, 3),
            "rss_mb": round(sum(parts[n]["rss_mb"] for n in names)),
            "of": {n: {key: round(value, 2) for key, value in sorted(parts[n].items())} for n in sorted(names)},
        }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
