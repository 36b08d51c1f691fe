"""One run as a pytest child: how it is started, followed, interrupted, and what it left to be judged."""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.cli.following import Following
from harness.cli.view import View
from harness.rig.options import RigOptions
from harness.settings import PROJECT_ROOT
from harness.waiting import within

LOOK_EVERY_S = 0.25
TEARDOWN_WITHIN_S = 20.0
PR_SET_PDEATHSIG = 1
"""prctl(2)."""
SKIPPED = re.compile(r"^SKIPPED \[\d+\] [^ ]*: (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class ChildEnded:
    """What is known once a run's child is gone."""

    returncode: int
    """As of subprocess: negative is a signal."""
    run_dir: Path | None
    """None when it ended before a run directory was made."""
    finished: bool
    """Whether the rig itself ended the run (and wrote its verdict)."""
    output: str
    """What pytest wrote."""
    skipped: str
    """Why the story was skipped; empty when it was not."""


@dataclass
class Interruption:
    """What the user or the system sent to us; shared by all runs of one command."""

    by: signal.Signals | None = None
    child_pid: int = 0
    """The living child; 0 when there is none."""
    _when: asyncio.Event = field(default_factory=asyncio.Event)

    def listen(self) -> None:
        """Take SIGINT and SIGTERM from now on; call it inside the loop, before the first child."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.take, number)

    def take(self, number: signal.Signals) -> None:
        """Pass the first one on to the child, once; a second one ends the child at once."""
        again, self.by = self.by is not None, self.by or number
        self._when.set()
        if self.child_pid:
            # SIGINT for both: it is the one that Python turns into an orderly teardown. After SIGKILL the run's
            # janitor ends what is left.
            os.kill(self.child_pid, signal.SIGKILL if again else signal.SIGINT)

    async def wait(self) -> None:
        """Return when there was one."""
        await self._when.wait()

    @property
    def exit_code(self) -> int:
        """128 + the signal's number, as shells have it; 0 when there was none."""
        return 128 + self.by if self.by else 0


def command(scenario: str, path: str, options: RigOptions, verdicts: Path) -> list[str]:
    """Return the child's command line. ``-P`` keeps what lies in the user's directory from being imported."""
    words = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    words += [f"--rootdir={PROJECT_ROOT}", "-c", str(PROJECT_ROOT / "pyproject.toml"), path]
    words += [f"--scenario={scenario}", f"--system={options.system}", f"--profile={options.profile}"]
    words += [f"--seed={options.seed}", f"--runs={options.runs}", f"--verdicts={verdicts}"]
    words.append(f"--engine={options.engine}")
    words += [f"--set={word}" for word in options.sets]
    words += [f"--defect={word}" for word in options.defects]
    words += ["--no-logs"] if options.no_logs else []
    words += ["--keep"] if options.keep else []
    words += [f"--known={options.known}"] if options.known else []
    if options.livekit_server:
        words.append(f"--livekit-server={options.livekit_server}")
    return words


def dies_with(parent: int) -> Callable[[], None]:
    """Return what a child of ``parent`` does before exec, so that the kernel kills it when its parent dies."""
    libc = ctypes.CDLL(None, use_errno=True)

    def before_exec() -> None:
        # A command that is killed with SIGKILL must not leave its run behind: the kernel then kills the child, and
        # the run's janitor ends the rest. The parent may have died before we asked, hence the look.
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return before_exec


class Onlooker(Protocol):
    """Who is told of a stack that stays up after its verdict."""

    def standing(self, run_dir: Path, facts: str) -> None:
        """The verdict is written and the stack stands; ``facts`` is JSON."""

    def news(self, text: str) -> None:
        """Something happened to the standing stack, or is left of it."""


async def run_child(
    words: list[str], verdicts: Path, view: View, interruption: Interruption, onlooker: Onlooker | None = None
) -> ChildEnded:
    """Run the child to its end and show its run meanwhile: to the view, and once its stack is kept to the onlooker."""
    with tempfile.TemporaryFile() as output:
        # A session of its own: the terminal's Ctrl-C reaches us alone, and the child once, through us.
        process = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            preexec_fn=dies_with(os.getpid()),
        )  # fmt: skip
        ending = asyncio.create_task(process.wait())
        limit = asyncio.create_task(_kill_when_it_lingers(process, interruption))
        interruption.child_pid = process.pid
        if interruption.by:
            process.send_signal(signal.SIGINT)
        try:
            run_dir = await _follow(ending, verdicts, view)
            if run_dir is not None and onlooker is not None:
                await _look_on(ending, verdicts, run_dir, onlooker)
        finally:
            interruption.child_pid = 0
            limit.cancel()
            if not ending.done():
                process.kill()
        returncode = await ending
        output.seek(0)
        said = output.read().decode(errors="replace")
    skip = SKIPPED.search(said)
    _, finished = read_verdicts(verdicts)
    return ChildEnded(returncode, run_dir, finished, said, skip[1] if skip and not returncode else "")


async def _kill_when_it_lingers(process: asyncio.subprocess.Process, interruption: Interruption) -> None:
    await interruption.wait()
    try:
        await within(process.wait(), TEARDOWN_WITHIN_S)
    except TimeoutError:
        process.kill()


async def _follow(ending: asyncio.Task[int], verdicts: Path, view: View) -> Path | None:
    seen: Following | None = None
    told = ""
    while True:
        done, _ = await asyncio.wait({ending}, timeout=LOOK_EVERY_S)
        if seen is None:
            run_dir, _ = read_verdicts(verdicts)
            seen = Following(run_dir) if run_dir else None
            waiting = [text for word, text in lines_of(verdicts) if word == "waiting"]
            if waiting and not told:
                told = waiting[0]
                sys.stderr.write(f"{told}\n")
        if seen is not None:
            view.update(seen, seen.look())
        if done or any(word == "standing" for word, _ in lines_of(verdicts)):
            return seen.run_dir if seen else None


async def _look_on(ending: asyncio.Task[int], verdicts: Path, run_dir: Path, onlooker: Onlooker) -> None:
    told = 0
    while True:
        done, _ = await asyncio.wait({ending}, timeout=LOOK_EVERY_S)
        lines = lines_of(verdicts)
        for word, text in lines[told:]:
            if word == "standing":
                onlooker.standing(run_dir, text)
            elif word in {"news", "left"}:
                onlooker.news(text)
        told = len(lines)
        if done:
            return


def lines_of(verdicts: Path) -> list[tuple[str, str]]:
    """Return the whole lines that the rig wrote into the verdicts file, as word and text (``RigOptions.tell``)."""
    whole = verdicts.read_text().rpartition("\n")[0] if verdicts.exists() else ""
    return [(word, text) for word, _, text in (line.partition(" ") for line in whole.splitlines())]


def read_verdicts(verdicts: Path) -> tuple[Path | None, bool]:
    """Return the run directory that the rig wrote into the verdicts file, and whether it ended the run."""
    run_dir, finished = None, False
    for word, path in lines_of(verdicts):
        if word in {"start", "end"} and path:
            run_dir, finished = Path(path), word == "end"
    return run_dir, finished
