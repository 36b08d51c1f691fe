"""``python -m harness.prove [--for S] [--only PATTERN] [--jobs N] [--under-load] [--report | --table | --matrix]``.

Exit codes: 0 every case has all its verdicts and all are as expected, 1 one is not as expected, 2 some are missing.
``--matrix`` is about the whole plan: 1 is a cell that nothing explains.
"""

from __future__ import annotations

import argparse
import asyncio
import fnmatch
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.errors import HarnessError
from harness.prove.built import build_what_is_named
from harness.prove.confusion import confusion, confusion_table, lacks, read_reasons, write_confusion
from harness.prove.lines import lines_of
from harness.prove.plan import Case, read_plan
from harness.prove.running import Prover, deadline_ns
from harness.prove.tables import long_table, short_table
from harness.prove.tree import tree_hash
from harness.settings import PROJECT_ROOT

PROOF = PROJECT_ROOT / "proof"
EVERY_CASE = "*"
DONE, NOT_AS_EXPECTED, INCOMPLETE, USAGE = 0, 1, 2, 64


def _words() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m harness.prove", description="Fulfil proof/plan.toml.")
    parser.add_argument("--for", dest="for_s", type=float, metavar="SECONDS", help="begin no run that ends later")
    parser.add_argument(
        "--only", default=EVERY_CASE, metavar="PATTERN", help="cases whose name matches, e.g. 'kill-cloud*'"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs side by side (default 1); under load 1")
    parser.add_argument("--under-load", action="store_true", help="only the cases under load")
    parser.add_argument("--report", action="store_true", help="only print the table of every case")
    parser.add_argument("--table", action="store_true", help="only print the table by systems, as the README has it")
    parser.add_argument("--matrix", action="store_true", help="only write proof/confusion.md and .json")
    return parser


def wanted(cases: Sequence[Case], only: str, *, under_load: bool) -> list[Case]:
    """Return the cases that ``--only`` (a glob, or a part of the name) and ``--under-load`` leave."""
    pattern = only if any(sign in only for sign in "*?[") else f"*{only}*"
    return [case for case in cases if fnmatch.fnmatch(case.slug, pattern) and (case.under_load or not under_load)]


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing, print the table, and return the exit code."""
    words = _words().parse_args(argv)
    if words.matrix and (words.only != EVERY_CASE or words.under_load):
        sys.stderr.write("expected --matrix alone, for it counts the whole plan; saw --only or --under-load\n")
        return USAGE
    try:
        cases, tree = wanted(read_plan(), words.only, under_load=words.under_load), tree_hash(PROJECT_ROOT)
        if not cases:
            sys.stderr.write(f"expected a case of proof/plan.toml; saw --only {words.only}; --report names them all\n")
            return USAGE
        if words.matrix:
            return _matrix(cases, tree, PROOF)
        if not (words.report or words.table):
            prover = Prover(PROJECT_ROOT, PROOF, tree, max(1, words.jobs), _say, deadline_ns(words.for_s))
            prover.built = build_what_is_named(cases, PROJECT_ROOT)
            asyncio.run(_prove(prover, cases))
    except HarnessError as wrong:
        sys.stderr.write(f"{wrong}\n")
        return wrong.exit_code
    print((short_table if words.table else long_table)(PROOF, cases, tree))
    return _exit_code(cases, tree)


def _matrix(cases: Sequence[Case], tree: str, proof: Path) -> int:
    matrix = confusion(proof, cases, tree, read_reasons())
    if matrix.cells:  # an empty one would only take the place of one that says something
        write_confusion(proof, matrix)
        print(confusion_table(matrix))
    if matrix.lacking:
        _say(f"{lacks(matrix)} {'' if matrix.cells else 'Nothing was written. '}make prove makes them (tree {tree})")
    if not matrix.explained:
        return NOT_AS_EXPECTED
    return INCOMPLETE if matrix.lacking else DONE


async def _prove(prover: Prover, cases: Sequence[Case]) -> None:
    try:
        await prover.prove(cases)
    except* HarnessError as several:
        raise several.exceptions[0] from None
    if prover.stopped:
        _say(f"stopped: {prover.stopped}")


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _exit_code(cases: Sequence[Case], tree: str) -> int:
    made = [(case, lines_of(PROOF, case, tree)) for case in cases]
    if not all(line["as_expected"] for _, lines in made for line in lines):
        return NOT_AS_EXPECTED
    return DONE if all(len(lines) >= case.times for case, lines in made) else INCOMPLETE


if __name__ == "__main__":
    sys.exit(main())
