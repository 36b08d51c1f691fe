"""Scripts that stand for a run's pytest child, and the run directories they leave."""

import sys
from pathlib import Path

from harness import events as ev
from harness.frames import MAGIC


def save(draft, run_dir: Path) -> Path:
    """Write a draft as the run directory that the recorder would have left."""
    history = draft.history()
    (run_dir / "events").mkdir(parents=True)
    (run_dir / "frames").mkdir()
    (run_dir / "events" / "rig.jsonl").write_bytes(b"".join(ev.encode(e) for e in history.events))
    (run_dir / "frames" / "ears.bin").write_bytes(MAGIC + history.frames.tobytes())
    return run_dir


def child(script: str, verdicts: Path, run_dir: Path | None = None) -> list[str]:
    """Return the command line of a script that knows ``start()``, ``end()`` and ``killed()``."""
    tell = f"open({str(verdicts)!r}, 'a').write"
    head = [
        "import os, signal, sys, time",
        f"def start(): {tell}('start {run_dir}\\n')",
        f"def end(): {tell}('end {run_dir}\\n')",
        "def killed(): os.kill(os.getpid(), signal.SIGKILL)",
    ]
    return [sys.executable, "-S", "-c", "\n".join([*head, script])]
