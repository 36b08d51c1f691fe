"""Containers as a user meets them: building the images, starting a stack of them, the first caption, taking it down.

The images are built once from nothing (no layer of an earlier build is used) under names of their own, which are
removed again; the base image is there already, and the stage that bridge and cloud share counts twice. Then
``baseline`` runs over containers. One JSON line is printed.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import docker

from harness import livekit_server
from harness.events import Drained, RunEnded
from harness.history import History
from harness.images import PYTHON_PARTS, Recipe, livekit_recipe, python_recipe

ROOT = Path(__file__).resolve().parent.parent
REPEATS = 5
THROWN_AWAY = "aftershock-bench"


def built_s(client: Any, recipe: Recipe) -> float:
    """Build one image without any cache and remove it; return the seconds of the build."""
    tag = f"{THROWN_AWAY}/{recipe.name.rpartition('/')[2]}:{recipe.checksum}"
    began_s = time.monotonic()
    try:
        for line in client.api.build(
            fileobj=recipe.context(), custom_context=True, dockerfile=recipe.dockerfile, tag=tag, nocache=True, rm=True,
            forcerm=True, decode=True, buildargs={"VERSION": recipe.version},
        ):  # fmt: skip
            if "error" in line:
                sys.exit(f"expected {recipe.dockerfile} to build; it said {line['error'].strip()}")
        return time.monotonic() - began_s
    finally:
        if client.images.list(name=tag):
            client.images.remove(tag)


def images() -> dict[str, float]:
    """Return the seconds that each image takes from nothing, and all of them."""
    server = asyncio.run(livekit_server.find_or_build(None, lambda _: None)).path
    recipes = [livekit_recipe(server), *(python_recipe(name) for name in PYTHON_PARTS)]
    client = docker.from_env(timeout=600)
    took = {recipe.name.rpartition("/")[2]: built_s(client, recipe) for recipe in recipes}
    client.close()
    return {f"image_{name}_cold_s": round(took_s, 2) for name, took_s in took.items()} | {
        "images_cold_s": round(sum(took.values()), 2)
    }


def once(runs: str, seed: int) -> dict[str, float]:
    """Run the baseline over containers and return its times."""
    done = subprocess.run(
        [sys.executable, "-m", "harness", "run", "baseline", "--system", "containers", "--json", "--runs", runs,
         "--seed", str(seed)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"expected baseline to hold over containers; it exited {done.returncode}\n{done.stderr}")
    run_dir = ROOT / json.loads(done.stdout.splitlines()[0])["run"]
    timings: dict[str, Any] = json.loads((run_dir / "verdict.json").read_text("utf-8"))["timings"]
    told = History.load(run_dir)
    # From the moment nothing is spoken or underway any more: the last readings are part of it.
    teardown_s = (told.all(RunEnded)[-1].t_ns - told.all(Drained)[-1].t_ns) / 1e9
    return {
        "stack_start_s": timings["stack_start_s"], "first_final_caption_s": timings["first_final_caption_s"],
        "teardown_s": teardown_s, "run_s": timings["wall_s"],
    }  # fmt: skip


def main() -> None:
    """Measure and print."""
    line: dict[str, Any] = {"benchmark": "containers", "runs": REPEATS, **images()}
    with tempfile.TemporaryDirectory() as runs:
        once(runs, REPEATS)  # builds what is missing, and is not counted: the others are warm
        measured = [once(runs, seed) for seed in range(REPEATS)]
    for figure in measured[0]:
        values = [one[figure] for one in measured]
        line[figure] = {"median": round(statistics.median(values), 3), "max": round(max(values), 3)}
    print(json.dumps(line))


if __name__ == "__main__":
    main()
