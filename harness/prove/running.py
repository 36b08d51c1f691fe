"""Runs what the plan lacks, a fixed number side by side, and writes every verdict down as it came."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.cli.child import dies_with
from harness.clock import SECOND_NS, now_ns, seconds_between
from harness.errors import MachineError
from harness.prove.built import filled_in, without_places
from harness.prove.lines import append, lines_of
from harness.prove.plan import AIORTC, Case
from harness.prove.tree import tree_hash

FIRST_GUESS_S = 45.0
"""How long a run is taken to last before one was measured."""
BUSY_LOOPS = 2
EX_USAGE = 64
SAID_CHARACTERS = 400
LEFT_OUT = " ... "
INTERRUPTED = (128 + signal.SIGINT, 128 + signal.SIGTERM)


@dataclass
class Prover:
    """Repeats cases until each has its verdicts, the time is up, or the tree changes."""

    root: Path
    proof: Path
    tree: str
    jobs: int
    say: Callable[[str], None]
    limit_ns: int | None = None
    """No run is begun that would not end before this moment; None means no limit."""
    stopped: str = ""
    """Why no more runs are begun; empty while there is no reason."""
    built: dict[str, str] = field(default_factory=dict)
    """What cases name in braces, and where it lies."""
    _under_way: Counter[str] = field(default_factory=Counter)
    _living: set[asyncio.subprocess.Process] = field(default_factory=set)

    async def prove(self, cases: Sequence[Case]) -> None:
        """Make every verdict that is missing: over processes, then over containers; then, in that order, under load.

        Under load is beside two busy loops, and one after the other: other runs would be more load than that.

        Raises:
            MachineError: a case cannot be run at all.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._interrupt, number)
        await self._processes_first([case for case in cases if not case.under_load], self.jobs)
        loaded = [case for case in cases if case.under_load]
        if any(self._lacks(case) for case in loaded) and not self.stopped:
            async with busy_loops():
                await self._processes_first(loaded, 1)

    async def _processes_first(self, cases: Sequence[Case], jobs: int) -> None:
        # Media between processes may take the address of any Docker network here, and break when it goes with its run.
        for networks in (False, True):
            await self._side_by_side([case for case in cases if case.makes_networks == networks], jobs)

    def _interrupt(self, number: signal.Signals) -> None:
        self.stopped = f"interrupted by {number.name}"
        for process in self._living:
            process.send_signal(signal.SIGINT)

    async def _side_by_side(self, cases: Sequence[Case], jobs: int) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(jobs):
                group.create_task(self._worker(cases))

    async def _worker(self, cases: Sequence[Case]) -> None:
        while (case := self._next(cases)) is not None:
            seed = len(lines_of(self.proof, case, self.tree)) + self._under_way[case.slug]
            self._under_way[case.slug] += 1
            try:
                await self._one(case, seed)
            finally:
                self._under_way[case.slug] -= 1

    def _lacks(self, case: Case) -> int:
        # A verdict that was not as expected counts as made: nothing is run again to get it right.
        return case.times - len(lines_of(self.proof, case, self.tree)) - self._under_way[case.slug]

    def _next(self, cases: Sequence[Case]) -> Case | None:
        """Return the case that is furthest behind, or None when nothing more is to be begun."""
        if self.stopped:
            return None
        lacking = [case for case in cases if self._lacks(case) > 0]
        if self.limit_ns is not None:
            left_s = seconds_between(now_ns(), self.limit_ns)
            fitting = [case for case in lacking if self._guess_s(case) <= left_s]
            if lacking and not fitting:
                self.stopped = "the time is up"
            lacking = fitting
        return max(lacking, key=lambda case: self._lacks(case) / case.times, default=None)

    def _guess_s(self, case: Case) -> float:
        walls = [float(line["wall_s"]) for line in lines_of(self.proof, case, self.tree)]
        return max(walls, default=FIRST_GUESS_S)

    async def _one(self, case: Case, seed: int) -> None:
        runs = self.root / "runs" / "proof" / case.slug
        began_ns, at = now_ns(), datetime.now(UTC).isoformat(timespec="seconds")
        code, out, err = await self._run(case, runs, seed)
        wall_s = seconds_between(began_ns, now_ns())
        if code in INTERRUPTED or self.stopped.startswith("interrupted"):
            return  # we ended it ourselves: no verdict
        if code == EX_USAGE:
            raise MachineError(f"a case that can be run ({case.slug})", err.strip(), "mend proof/plan.toml")
        if tree_hash(self.root) != self.tree:
            self.stopped = "the tree changed under the run: its verdict is left out"
            return
        line = verdict_line(case, self.tree, at, wall_s, code, out, err) | {"jobs": 1 if case.under_load else self.jobs}
        self._keep_or_remove(line, runs)
        if "said" in line:
            line["said"] = shortened(without_places(line["said"], self.built, self.root))
        append(self.proof, case, line)
        mark = "as expected" if line["as_expected"] else f"NOT as expected: {line['broken']} {line['diagnosis']}"
        self.say(f"{line['outcome']:<7}  {case.slug}  seed {seed}  {line['wall_s']:.1f} s  {mark}")

    async def _run(self, case: Case, runs: Path, seed: int) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "harness", "run", case.scenario, "--json", "--runs", str(runs), "--seed", str(seed),
            "--system", case.system, *(word for defect in case.defects for word in ("--defect", defect)),
            *(word for change in case.sets for word in ("--set", filled_in(change, self.built))),
            *([] if case.engine == AIORTC else ["--engine", case.engine]),
            cwd=self.root, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE, start_new_session=True, preexec_fn=dies_with(os.getpid()),
        )  # fmt: skip
        self._living.add(process)
        try:
            out, err = await process.communicate()
        finally:
            self._living.discard(process)
            if process.returncode is None:
                process.kill()
        return process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace")

    def _keep_or_remove(self, line: dict[str, Any], runs: Path) -> None:
        """Note the run's own timings; keep what was not as expected, named from the project on; remove the rest."""
        run_dir = self.root / line["run"] if line["run"] else None
        if run_dir is None or runs not in run_dir.parents:
            return
        verdict = run_dir / "verdict.json"
        if verdict.exists():
            whole = json.loads(verdict.read_text("utf-8"))
            line["timings"] = whole["timings"]
            # What it waited for its turn depends on who else ran: it says nothing of the next run.
            line["wall_s"] = round(line["wall_s"] - (whole["timings"].get("waited_s") or 0.0), 2)
            if line["outcome"] == "UNKNOWN":
                line["said"] = "; ".join(whole["preconditions"]) or line.get("said", "")
        if line["as_expected"]:
            shutil.rmtree(run_dir, ignore_errors=True)
            line["run"] = None
        else:
            line["run"] = str(run_dir.relative_to(self.root))


def verdict_line(case: Case, tree: str, at: str, wall_s: float, code: int, out: str, err: str) -> dict[str, Any]:
    """Return the raw verdict of one ``aftershock run --json`` as it is kept; without any it is UNKNOWN."""
    facts: dict[str, Any] = json.loads(out.splitlines()[0]) if out.strip() else {}
    outcome = facts.get("outcome", "UNKNOWN")
    broken = tuple(sorted(g["name"] for g in facts.get("guarantees", ()) if g["outcome"] == "BROKEN"))
    diagnosis = next((d["incident"] for d in facts.get("diagnosis", ())), "")
    recovery = facts.get("recovery", {})
    line = {
        "tree": tree, "at": at, "scenario": case.scenario, "defects": list(case.defects),
        "system": case.system, "engine": case.engine, "sets": list(case.sets), "under_load": case.under_load,
        "seed": facts.get("seed"), "expected": case.outcome, "outcome": outcome,
        "broken": list(broken), "diagnosis": diagnosis, "as_expected": case.as_expected(outcome, broken, diagnosis),
        "exit": code, "wall_s": round(wall_s, 2), "recovery_s": recovery.get("anchor_to_recovered_s"),
        "outage_s": recovery.get("outage_s"), "run": facts.get("run"),
    }  # fmt: skip
    if not facts:
        line["said"] = err.strip()
    elif outcome == "UNKNOWN":
        line["said"] = "; ".join(g["because"] for g in facts["guarantees"] if g["outcome"] == "UNKNOWN")
    return line


def shortened(text: str) -> str:
    """Return a text, or where it is too long its beginning and its end, at most 400 characters in all."""
    if len(text) <= SAID_CHARACTERS:
        return text
    half = (SAID_CHARACTERS - len(LEFT_OUT)) // 2
    return text[:half] + LEFT_OUT + text[-half:]


@asynccontextmanager
async def busy_loops() -> AsyncIterator[None]:
    """Keep two processors busy at normal priority for the length of the block."""
    loops = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", "while True: pass", stdin=asyncio.subprocess.DEVNULL, start_new_session=True,
            preexec_fn=dies_with(os.getpid()),
        )
        for _ in range(BUSY_LOOPS)
    ]  # fmt: skip
    try:
        yield
    finally:
        for process in loops:
            process.kill()
            await process.wait()


def deadline_ns(for_s: float | None) -> int | None:
    """Return the moment that is ``for_s`` from now."""
    return None if for_s is None else now_ns() + int(for_s * SECOND_NS)
