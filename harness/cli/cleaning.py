"""The work of ``aftershock clean``: one line for each thing that is removed, or would be, or resists."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from harness.cli.dead_runs import DeadRun, Found, connected, look
from harness.errors import MachineError
from harness.firewall import is_there, rules_naming
from harness.images import ours_unused
from harness.janitor.ending import Known, end_all
from harness.processes import command_line, look_at
from harness.remains import drop_remains
from harness.run_lease import FoundLease, drop_dead, found_leases
from harness.runtimes.container.engine import ENGINE_ERRORS, Engine, why
from harness.runtimes.container.sweeping import clear, freed

KEPT_ENDS_WITHIN_S = 20.0
LOOK_EVERY_S = 0.1
KILLING_S = 5.0

Say = Callable[[str], object]


@dataclass
class Tally:
    """Tells each thing, and counts."""

    say: Say
    dry_run: bool
    done: int = 0
    failed: list[str] = field(default_factory=list)

    def removed(self, what: str, verb: str = "removed") -> None:
        """Tell one thing that was removed, or would be."""
        self.done += 1
        would = {"removed": "would remove", "ended": "would end"}
        self.say(f"{would[verb] if self.dry_run else verb} {what}")

    def resists(self, what: str) -> None:
        """Tell one thing that is still there."""
        self.failed.append(what)
        self.say(f"could not remove {what}")


def cleaned(say: Say, *, dry_run: bool, with_images: bool = False, forget: str = "") -> list[str]:
    """Do it; return what could not be removed, each as a sentence (told already).

    ``forget``: a dead run whose failed commands the user has seen to.
    """
    tally = Tally(say, dry_run)
    engine, engine_says = connected()
    try:
        found = look(engine, engine_says)
        ended = [_end_kept(lease, tally) for lease in found.kept]
        if any(ended):
            found = look(engine, engine_says)  # what resisted its teardown is a dead run's now
        for dead in found.dead:
            _remove(dead, engine, tally, forget)
        if forget and not any(dead.run == forget for dead in found.dead):
            tally.resists(f"the failed commands of {forget}: there is no dead run of that name")
        if with_images:
            _remove_images(engine, engine_says, tally)
    finally:
        if engine is not None:
            engine.close()
    for text in found.spared:
        say(f"left alone: {text}")
    _tell_engine(found, tally)
    verb = "to remove" if dry_run else "removed"
    failures = f", {len(tally.failed)} not possible" if tally.failed else ""
    runs = f", of {len(found.dead)} dead runs" if found.dead else ""
    say(f"{tally.done} {verb}{runs}{failures}" if tally.done or tally.failed else "nothing to clean")
    return tally.failed


def _end_kept(lease: FoundLease, tally: Tally) -> bool:
    """Ask a kept stack's rig to end it, as Ctrl-C does, and wait for that; tell whether it ended."""
    what = f"the stack of {lease.run}, kept by pid {lease.pid} ({lease.run_dir})"
    if lease.owner != os.geteuid():  # root could end it, but nobody asked its owner
        tally.say(f"left alone: {what}: another user's")
        return False
    rig = look_at(lease.pid)
    if rig is None or rig.start_ticks != lease.start_ticks:
        if _is_held(lease):
            tally.resists(f"{what}: it lives, but that pid is not its rig here (another container's?)")
        return False
    if not tally.dry_run:
        with contextlib.suppress(ProcessLookupError):
            os.kill(lease.pid, signal.SIGINT)
        limit = time.monotonic() + KEPT_ENDS_WITHIN_S
        while _is_held(lease):
            if time.monotonic() > limit:
                tally.resists(f"{what}: it did not end within {KEPT_ENDS_WITHIN_S:g} s")
                return False
            time.sleep(LOOK_EVERY_S)
    tally.removed(what, "ended")
    return not tally.dry_run


def _is_held(lease: FoundLease) -> bool:
    return any(one.run == lease.run and one.alive for one in found_leases())


def _remove(dead: DeadRun, engine: Engine | None, tally: Tally, forget: str) -> None:
    before = len(tally.failed)
    _processes(dead, tally)
    _held(dead, engine, tally)
    for path in dead.directories():
        if not tally.dry_run:
            shutil.rmtree(path, ignore_errors=True)
        _tell([f"directory {path}"], [path.exists() and not tally.dry_run], tally)
    _rules(dead, tally)
    _commands(dead, tally, forget)
    if dead.lease is None:
        return
    other = dead.needs_other_engine()
    if other:
        tally.resists(f"what {dead.run} made {other}, and clean again (or remove {dead.lease.run_dir})")
    if len(tally.failed) == before and not (dead.needs_engine() and engine is None):
        if not tally.dry_run:
            with contextlib.suppress(OSError):  # the run directory may be gone, or another user's
                drop_remains(dead.lease.run_dir, dead.listed)
            if not drop_dead(dead.run):
                tally.resists(f"the lease {dead.lease.path}: it is another user's")
                return
        tally.removed(f"the lease of {dead.run}, whose rig (pid {dead.lease.pid}) is dead")


def _processes(dead: DeadRun, tally: Tally) -> None:
    if not dead.processes:
        return
    if tally.dry_run:
        for process in dead.processes:
            tally.removed(f"process {process.pid} of {dead.run}: {command_line(process.pid)}")
        return
    known = Known(dead.run)
    for process in dead.processes:
        known.add(process.pid, process.start_ticks)
    killed, left = end_all(known, within_s=KILLING_S)
    for text in killed:
        tally.removed(f"process {text.partition(' ')[0]} of {dead.run}: {text.partition(' ')[2]}")
    for one in left:
        tally.resists(f"process {one.id} of {dead.run}: {one.name} (another user's?)")


def _rules(dead: DeadRun, tally: Tally) -> None:
    """Name the rules on its networks; we made none, so they are for people to remove."""
    there = dict.fromkeys(rules_naming(dead.run, *freed(dead.interfaces())), True)
    for rule, known in ({rule: is_there(rule) for rule in dead.listed_as("rule")} | there).items():
        if known is not False:
            how = "remove it by hand, as root" if known else "perhaps; only root may look"
            tally.resists(f"the firewall rule of {dead.run}: {rule} ({how})")


def _commands(dead: DeadRun, tally: Tally, forget: str) -> None:
    """Name what was to be run for its rig and failed; it may need the environment of then, so we run nothing."""
    for words in dead.listed_as("command"):
        if forget == dead.run:
            tally.removed(f"from the list of {dead.run}: `{words}`")
        else:
            tally.failed.append(words)
            tally.say(
                f"left alone: `{words}` failed when {dead.run} ended; run it yourself, "
                f"then `aftershock clean --forget {dead.run}`"
            )


def _held(dead: DeadRun, engine: Engine | None, tally: Tally) -> None:
    """Remove what the engine has of it; its containers go though paused or running."""
    if engine is None or not dead.held:
        return
    left, problem = set(), ""
    if not tally.dry_run:
        try:
            left = {one.id for one in clear(engine, dead.held)}
        except ENGINE_ERRORS as refused:
            left, problem = {one.id for one in dead.held}, f" ({why(refused)})"
    _tell(
        [f"{one.kind} {one.name}{problem if one.id in left else ''}" for one in dead.held],
        [one.id in left for one in dead.held], tally,
    )  # fmt: skip


def _remove_images(engine: Engine | None, engine_says: str, tally: Tally) -> None:
    """Remove images of ours that this state of the files does not use, unless a run may be about to."""
    living = [lease.run for lease in found_leases() if lease.alive]
    if living:
        tally.resists(f"images: {', '.join(living)} may need them; end that first")
        return
    if engine is None:
        tally.resists(f"images: no Docker engine answers ({engine_says})")
        return
    try:
        unused = ours_unused()
    except MachineError as refused:
        tally.resists(f"images: {refused}")
        return
    for image in unused:
        problem = ""
        if not tally.dry_run:
            try:
                engine.client.images.remove(image)
            except ENGINE_ERRORS as refused:
                problem = f" ({why(refused)})"
        _tell([f"image {image}{problem}"], [bool(problem)], tally)


def _tell_engine(found: Found, tally: Tally) -> None:
    waiting = [dead for dead in found.dead if dead.needs_engine() and not dead.needs_other_engine()]
    if not waiting:
        if found.engine_says.startswith("DOCKER_HOST="):  # a mistake of the user's, not a machine without an engine
            tally.say(f"no Docker engine was looked at: {found.engine_says}")
        return
    if not found.engine_says:
        return
    listed = [f"{one.kind} {one.name}" for dead in waiting for one in dead.listed] or [dead.run for dead in waiting]
    tally.resists(f"{', '.join(listed)}: no Docker engine answers ({found.engine_says}); start it and clean again")


def _tell(what: Iterable[str], resists: Iterable[bool], tally: Tally) -> None:
    for text, stays in zip(what, resists, strict=True):
        if stays:
            tally.resists(text)
        else:
            tally.removed(text)
