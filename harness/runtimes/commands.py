"""Runs a part by the user's own commands, without a shell, and keeps hold of what they start: one object per part.

Who the part is: the pid that ``pid`` prints, else who listens at its first TCP port, else the start command itself
where it stays, else only its port. It lives as long as that does.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.errors import ComponentError, NotReached, StartFailed
from harness.history import Recorder
from harness.processes import Process, look_at
from harness.redact import mask
from harness.runtimes.capabilities import Running
from harness.runtimes.commanded import CommandsRunning, in_words
from harness.runtimes.kept import LOST, Answer, Kept, end_kin, ended, keep, run_once, unmarked
from harness.runtimes.log import Log
from harness.runtimes.presence import listener, refusal
from harness.runtimes.process import find_program
from harness.system import Address, Component, Resolved
from harness.waiting import NotYet, until

COMES_WITHIN_S = 20.0
"""How long a part without ``ready`` has to show who it is."""
THERE_WITHIN_S = 2.0
"""How long something that already runs may take to answer."""
VERB_WITHIN_S = 30.0
"""How long a command may take: ``docker stop`` alone waits for 10 s."""
PID_WITHIN_S = 5.0
ENDS_WITHIN_S = 2.0
"""How long what a part leaves behind has to end by SIGTERM."""
STAYS_S = 1.0
"""A start command of a part without ports that still runs then is the part itself."""


class Successor(Protocol):
    """What does our work when we are killed: the janitor."""

    def register(self, pid: int) -> None:
        """End this process and its kin then."""

    def run_if_rig_dies(self, argv: Sequence[str], env: Mapping[str, str]) -> int:
        """Run this command then; return a number for ``forget``."""

    def forget(self, number: int) -> None:
        """Do not run that command any more."""


@dataclass(frozen=True)
class Surroundings:
    """The run that a part belongs to."""

    run: str
    run_dir: Path
    recorder: Recorder
    alarm: Sequence[str] = ()
    janitor: Successor | None = None
    on_exit: Callable[[Running], None] | None = None


class Commands:
    """The commands of one part over a whole run; ``close`` undoes what they did."""

    def __init__(self, component: Component, around: Surroundings) -> None:
        """Describe; ``start`` runs the first of them."""
        self.component, self.around = component, around
        self.verbs: dict[str, tuple[str, ...]] = {}
        self.running: CommandsRunning | None = None
        self.addresses: dict[str, Address] = {}
        """Port name to where it listens."""
        self._env: dict[str, str] = {}
        self._kept: list[Kept] = []
        self._follower: Kept | None = None
        self._log: Log | None = None
        self._logs: list[Log] = []
        self._promised: dict[str, int] = {}
        self._ended_by = ""
        self._began = self._began_now = False

    # -- starting ----------------------------------------------------------------------------------------------------

    @property
    def is_external(self) -> bool:
        """True for a part that was there before us and stays after us."""
        return self.component.external is not None

    async def start(self, resolved: Resolved, addresses: Mapping[str, Address]) -> CommandsRunning:
        """Start the part (again), or take over what whoever runs it started; ``addresses``: of its TCP ports by name.

        Raises:
            StartFailed: a command failed, or nobody is there in time.
        """
        self._ready_words(resolved)
        self.addresses = dict(addresses)
        address = next(iter(addresses.values()), None)
        before, self._began_now = self.running, not self._began
        began, self._began = self._began, True
        comes_again = self._ended_by == "restart" or (self.component.supervised and self._ended_by == "kill")
        launched: Kept | None = None
        if not began and self.is_external:
            await self._is_there(address)
        elif not (began and comes_again):
            self._promise_end()
            launched = self.launch("start" if "start" in self.verbs else "restart")
        who = await self._who(launched, address, before.process if before is not None else None)
        if who is not None and not self.is_external and self._is_ours(who) and self.around.janitor is not None:
            self.around.janitor.register(who.pid)
        self._follow()
        assert self._log is not None, "a log comes with the start"
        number = 1 if before is None else before.number + 1
        self.running = CommandsRunning(self, self._log, number, who, launched, address)
        self.running.watch()
        self._forget("back")
        self._ended_by = ""
        return self.running

    def _ready_words(self, resolved: Resolved) -> None:
        """Look up every program, so that a command that cannot work is told before anything has begun."""
        self._env = resolved.env
        search = unmarked(resolved.env).get("PATH", os.defpath)
        self.verbs = {
            verb: (find_program(self.component.name, f"commands.{verb}", words[0], search), *words[1:])
            for verb, words in resolved.commands.items()
        }
        if self._log is None:
            self._log = self._new_log(self.component.name, events=self.component.events)

    def _new_log(self, name: str, *, events: bool) -> Log:
        around = self.around
        path = around.run_dir / "logs" / f"{name}.log"
        log = Log(path, name, recorder=around.recorder, all_events=events, alarm=around.alarm if events else ())
        self._logs.append(log)
        return log

    async def _is_there(self, address: Address | None) -> None:
        if address is None:
            return
        where = f"{address[0]}:{address[1]}"

        async def probe() -> bool | NotYet:
            seen = await refusal(address)
            return True if seen is None else NotYet(seen)

        try:
            await until(probe, what=where, within_s=THERE_WITHIN_S, every_s=0.1)
        except NotReached as late:
            name = self.component.name
            raise StartFailed(
                name, f"nothing answers at {where} ({late.last_reason})",
                mend=f"start it, or mend {name}.external and {name}.ports",
            ) from None  # fmt: skip

    def launch(self, verb: str) -> Kept:
        """Run a command that may leave the part running; its output goes on in the part's log, unless ``logs`` does."""
        name = self.component.name
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            # What is not ours outlives us: a pipe of ours would break under it.
            out = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC) if self.is_external else os.dup(writing)
            kept = self._keep(verb, out)
            os.close(out)
        finally:
            os.close(writing)
        self._kept.append(kept)
        if "logs" in self.verbs:
            log = self._new_log(f"{name}.commands", events=False)
        else:
            assert self._log is not None, "a log comes with the start"
            if self._began_now:
                self._began_now = False
                log = self._log
            else:
                log = self._log = self._new_log(name, events=self.component.events)
        log.listen(reading, kept.keeper.pid if kept.keeper is not None else 0)
        return kept

    def _keep(self, verb: str, out: int) -> Kept:
        # What belongs to an external part outlives us, whichever command began it; only its log is followed by us.
        ours = not self.is_external or verb == "logs"
        return keep(self.around.run, self.component.name, self.verbs[verb], self._env, out, ours=ours)

    def _follow(self) -> None:
        """Have ``logs`` print into the part's log; one that ended with the part is started anew."""
        if "logs" not in self.verbs or (self._follower is not None and not self._follower.exited.done()):
            return
        if self._follower is not None:
            self._log = self._new_log(self.component.name, events=self.component.events)
        assert self._log is not None, "a log comes with the start"
        reading, writing = os.pipe2(os.O_CLOEXEC)
        self._follower = self._keep("logs", writing)
        os.close(writing)
        self._log.listen(reading, self._follower.keeper.pid if self._follower.keeper is not None else 0)

    async def _who(self, launched: Kept | None, address: Address | None, before: Process | None) -> Process | None:
        """Wait until the part shows who it is; None when it is known by its port alone."""
        ready = self.component.ready
        within_s = ready.within_s if ready is not None else COMES_WITHIN_S
        began_s = asyncio.get_running_loop().time()

        async def probe() -> Process | NotYet | None:
            self._check_start(launched)
            # Nobody is asked for the pid while the start command may still be at it: pm2 would begin a second daemon.
            starting = launched is not None and not launched.exited.done()
            seen = await refusal(address) if address is not None else None
            if "pid" in self.verbs and (not starting or (address is not None and seen is None)):
                return await self._printed(before)
            if address is None:
                return self._stays(launched, asyncio.get_running_loop().time() - began_s)
            if seen is not None:
                return NotYet(f"{address[0]}:{address[1]}: {seen}")
            return await self._listens(launched, address, before)

        try:
            return await until(probe, what="the part", within_s=within_s, every_s=0.1)
        except NotReached as late:
            who = "whoever supervises it did not start it again" if launched is None else "it did not show up"
            raise self._failed(f"{who} within {within_s:g} s; last: {late.last_reason}") from None

    async def _listens(
        self, launched: Kept | None, address: Address, before: Process | None
    ) -> Process | NotYet | None:
        if self.is_external and not self.component.commands:
            return None
        found = await listener(address)
        if found is None:
            return self._itself(launched)
        return NotYet(f"pid {found.pid} of before still listens") if _same(found, before) else found

    def _check_start(self, launched: Kept | None) -> None:
        if launched is None or not launched.exited.done():
            return
        code = launched.exited.result()
        if launched.refused:
            raise self._failed(f"its command cannot be executed ({launched.refused})")
        if code not in {0, LOST}:
            raise self._failed("its command failed before it was ready", exit_text=f"exited {code}")

    async def _printed(self, before: Process | None) -> Process | NotYet:
        answer = await self.ask("pid", within_s=PID_WITHIN_S)
        words = answer.text.split()
        if answer.code != 0 or not words or not words[-1].isdecimal():
            return NotYet(f"commands.pid {answer.told()}" if words or answer.code else "commands.pid printed nothing")
        found = look_at(int(words[-1])) if int(words[-1]) else None
        if found is None:
            return NotYet(f"commands.pid printed {words[-1]}, which is no living process")
        is_old = _same(found, before)
        return NotYet(f"commands.pid still prints {found.pid}, the pid of before") if is_old else found

    def _stays(self, launched: Kept | None, for_s: float) -> Process | NotYet | None:
        if launched is None or launched.exited.done():
            return None
        return self._itself(launched) if for_s >= STAYS_S else NotYet("its command has just begun")

    def _itself(self, launched: Kept | None) -> Process | None:
        """Return the start command, where that is the part."""
        if launched is None or launched.exited.done() or not launched.started.done():
            return None
        return look_at(launched.started.result())

    def _is_ours(self, who: Process) -> bool:
        """Tell whether it began after the first start: never take a daemon of the machine for a part of the run."""
        keepers = [kept.keeper.start_ticks for kept in self._kept if kept.keeper is not None]
        return bool(keepers) and who.start_ticks >= min(keepers)

    def _failed(self, reason: str, *, exit_text: str = "") -> StartFailed:
        name = self.component.name
        for log in self._logs:
            log.drain()
        told = max(self._logs, key=lambda log: len(log.last_lines()), default=None)
        lines, path = (told.last_lines(), str(told.path)) if told is not None else ((), "")
        words = in_words(self.component, "start" if "start" in self.verbs else "restart")
        return StartFailed(name, reason, exit_text=exit_text, mend=f"try by hand: {words}", last_lines=lines, log=path)

    # -- while it runs -----------------------------------------------------------------------------------------------

    async def ask(self, verb: str, *, within_s: float = VERB_WITHIN_S) -> Answer:
        """Run a command to its end; what it says is noted in ``logs/<part>.commands.log``."""
        name = self.component.name

        def begin(out: int) -> Kept:
            self._kept.append(self._keep(verb, out))
            return self._kept[-1]

        answer = await run_once(begin, within_s=within_s)
        path = self.around.run_dir / "logs" / f"{name}.commands.log"
        with path.open("a", encoding="utf-8") as file:
            file.write(mask(f"--- {verb}: {answer.told()}") + "\n")
        return answer

    def ended_by(self, verb: str) -> None:
        """Note that a fault ended the part by this command, and who is to bring it back should we be killed."""
        self._ended_by = verb
        back = self._way_back()
        if self.is_external and back and not self.component.supervised and verb != "restart":
            self.promise("back", back)

    def promise(self, what: str, verb: str) -> None:
        """Have the janitor run a command should the rig die before ``keep_promise(what)``."""
        if self.around.janitor is not None and what not in self._promised:
            self._promised[what] = self.around.janitor.run_if_rig_dies(self.verbs[verb], unmarked(self._env))

    def _promise_end(self) -> None:
        verb = next((verb for verb in ("stop", "kill") if verb in self.verbs), None)
        if verb is not None and not self.is_external:
            self.promise("end", verb)

    def _forget(self, what: str) -> None:
        if what in self._promised and self.around.janitor is not None:
            self.around.janitor.forget(self._promised.pop(what))

    def resumed(self) -> None:
        """Note that the part is not paused any more."""
        self._forget("resume")

    def _way_back(self) -> str | None:
        return next((verb for verb in ("start", "restart") if verb in self.verbs), None)

    # -- the end -----------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """End the part and whatever its commands left; bring back an external one that a fault of ours ended.

        Raises:
            ComponentError: it lives on, or does not come back.
        """
        if self.running is not None:
            self.running.by_us = self.running.by_us or self.running.alive()
        if self._follower is not None:
            await end_kin([self._follower], {}, term_s=0.0)
        try:
            if self.is_external:
                await self._put_back()
            elif self._began:
                await self._end()
        finally:
            for what in list(self._promised):
                self._forget(what)
            for log in self._logs:
                log.close()
            for kept in (*self._kept, *([self._follower] if self._follower is not None else ())):
                kept.let_go()
            if self.running is not None:
                self.running.unwatch()

    async def _put_back(self) -> None:
        running, back = self.running, self._way_back()
        if (
            running is None
            or not self._ended_by
            or self._ended_by == "restart"
            or self.component.supervised
            or not back
        ):
            return
        kept = self.launch(back)
        try:
            code = await asyncio.wait_for(asyncio.shield(kept.exited), VERB_WITHIN_S)
        except TimeoutError:
            return  # it stays: it is the part itself
        if code != 0:
            words = in_words(self.component, back)
            raise ComponentError(self.component.name, f"a fault ended it, and {words} exited {code}: it is down now")

    async def _end(self) -> None:
        name, said = self.component.name, ""
        alive = self.running is not None and self.running.alive()
        verb = next((verb for verb in ("stop", "kill") if verb in self.verbs), None)
        if verb == "stop" or (verb == "kill" and alive):
            answer = await self.ask(verb)
            said = "" if answer.code == 0 else f"{in_words(self.component, verb)} {answer.told()}"
        who = self.running.process if self.running is not None else None
        others = {who.pid: who.start_ticks} if who is not None and self._is_ours(who) else {}
        left = await end_kin(self._kept, others, term_s=ENDS_WITHIN_S)
        await ended(self._kept)
        if left:
            raise ComponentError(name, f"it lives on at the end: pid {', '.join(map(str, left))}; {said}")
        if self.running is not None and not await self.running.ends_within(ENDS_WITHIN_S):
            raise ComponentError(name, f"it lives on at the end as {self.running.identity}; {said}",
                                 mend=f"give {name}.commands.stop")  # fmt: skip


def _same(found: Process, before: Process | None) -> bool:
    return before is not None and (found.pid, found.start_ticks) == (before.pid, before.start_ticks)
