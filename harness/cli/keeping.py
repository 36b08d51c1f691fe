"""A run that is kept: its verdict first, then every address, then what ends by itself, until somebody ends it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from harness.cli.child import ChildEnded
from harness.cli.outcome import Finished, conclude
from harness.rig.options import RigOptions
from harness.rig.standing import Standing


class KeptRun:
    """Shows one kept run; the child's lines in the file of verdicts reach it through :func:`run_child`."""

    def __init__(
        self, scenario: str, options: RigOptions, leave_view: Callable[[], None], show: Callable[[Finished], None],
        *, as_json: bool,
    ) -> None:  # fmt: skip
        """``leave_view`` is called before anything is printed; ``show`` prints a verdict."""
        self._scenario, self._options, self._as_json = scenario, options, as_json
        self._leave_view, self._show = leave_view, show
        self.shown: Finished | None = None
        """The verdict as it was shown; None while the story goes on, or when its stack was not kept."""

    def standing(self, run_dir: Path, facts: str) -> None:
        """Show the verdict and the addresses."""
        self._leave_view()
        told = ChildEnded(0, run_dir, finished=True, output="", skipped="")
        self.shown = replace(conclude(told, self._scenario, self._options), kept=True)
        self._show(self.shown)
        print(facts if self._as_json else Standing.from_facts(json.loads(facts)).text(), flush=True)

    def news(self, text: str) -> None:
        """Say what happened to the standing stack."""
        sys.stderr.write(f"{text}\n")

    def concluded(self, ended: ChildEnded) -> Finished:
        """Return what the run came to, now that its child is gone too."""
        last = conclude(ended, self._scenario, self._options)
        if self.shown is None:
            return last
        if ended.returncode < 0:
            self.news("the standing stack was killed; the run's janitor ends what is left of it")
            return self.shown
        if last.exit_code != self.shown.exit_code:  # the story's own test went on after its check, and failed
            self.news(last.text.rstrip())
        return replace(last, kept=True)
