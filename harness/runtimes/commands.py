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

from harness.errors import ComponentError, NotReached, StartFailed
from harness.history import Recorder
from harness.processes import Process, look_at
from harness.runtimes.capabilities import Running
from harness.runtimes.commanded import CommandsRunning, in_words
from harness.runtimes.followed import Logs
from harness.runtimes.kept import LOST, Answer, Kept, end_kin, ended, keep, run_once, unmarked
from harness.runtimes.presence import listener, refusal
from harness.runtimes.process import find_program
from harness.runtimes.promises import Promises, Successor
from harness.system import Address, Component, Resolved
from harness.waiting import NotYet, until, within

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
        self._logs: Logs | None = None
        self.promises = Promises(around.janitor, stays=self.is_external)
        self._ended_by = ""
        """The command of ours that ended, or was to end, what ran last."""
        self._began = self._closed = False
        self._followed: Kept | None = None

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
        before = self.running
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
        number = 1 if before is None else before.number + 1
        self.running = CommandsRunning(self, self.logs.part, number, who, launched, address)
        self.running.watch()
        self.promises.forget("back")
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
        if self._logs is None:
            around = self.around
            self._logs = Logs(self.component, around.run_dir, around.recorder, around.alarm)

    @property
    def logs(self) -> Logs:
        """Where the part and its commands are heard."""
        assert self._logs is not None, "logs come with the start"
        return self._logs

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
        self.logs.begin()
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            # What is not ours outlives us: a pipe of ours would break under it.
            out = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC) if self.is_external else os.dup(writing)
            kept = self._keep(verb, out)
            os.close(out)
        finally:
            os.close(writing)
        self._kept.append(kept)
        self.logs.of_command().listen(reading, kept.keeper.pid if kept.keeper is not None else 0)
        return kept

    def _keep(self, verb: str, out: int) -> Kept:
        # What belongs to an external part outlives us, whichever command began it; only its log is followed by us.
        ours = not self.is_external or verb == "logs"
        return keep(self.around.run, self.component.name, self.verbs[verb], self._env, out, ours=ours)

    def _follow(self) -> None:
        def alive() -> bool:
            return self.running is not None and self.running.alive()

        self.logs.follow(lambda out: self._keep("logs", out), alive)

    async def _who(self, launched: Kept | None, address: Address | None, before: Process | None) -> Process | None:
        """Wait until the part shows who it is; None when it is known by its port alone."""
        ready = self.component.ready
        within_s = ready.within_s if ready is not None else COMES_WITHIN_S
        began_s = asyncio.get_running_loop().time()

        async def probe() -> Process | NotYet | None:
            self._check_start(launched)
            # Nobody is asked for the pid while the start command may still be at it: pm2 would begin a second daemon.
            starting = launched is not None and not launched.exited.done()
            if launched is not None and not starting and launched is not self._followed:
                # At once: what it says before it is ready counts, the more so when it never is.
                self._followed = launched
                self._follow()
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
        lines, path = self.logs.end_told()
        words = in_words(self.component, "start" if "start" in self.verbs else "restart")
        return StartFailed(name, reason, exit_text=exit_text, mend=f"try by hand: {words}", last_lines=lines, log=path)

    # -- while it runs -----------------------------------------------------------------------------------------------

    async def ask(self, verb: str, *, within_s: float = VERB_WITHIN_S) -> Answer:
        """Run a command to its end; what it says is noted in ``logs/<part>.commands.log``."""

        def begin(out: int) -> Kept:
            self._kept.append(self._keep(verb, out))
            return self._kept[-1]

        answer = await run_once(begin, within_s=within_s)
        self.logs.say(f"--- {verb}: {answer.told()}")
        return answer

    def will_end(self, verb: str) -> None:
        """Note that a fault is about to end the part by this command; if we are killed, it is brought back."""
        self._ended_by = verb
        self.logs.begin()
        self._promise_back()

    def did_not_end(self, verb: str, *, alive: bool) -> None:
        """Note that ``verb`` did not do its work; the part may still end by it, and then it is brought back."""
        self._ended_by = verb
        if alive:
            self.promises.forget("back")
        else:
            self._promise_back()

    def has_ended(self) -> None:
        """Note that the part is gone; where a command of ours was to end it, that did it, however late."""
        self._promise_back()

    def _back(self) -> str | None:
        """Return the command by which we bring back what is not ours, where we ended it and nobody else does."""
        if not self.is_external or self.component.supervised or self._ended_by in {"", "restart"}:
            return None
        return next((verb for verb in ("start", "restart") if verb in self.verbs), None)

    def _promise_back(self) -> None:
        back = self._back()
        if back is not None:
            self.promise("back", back)

    def promise(self, what: str, verb: str) -> None:
        """Have the janitor run a command should the rig die before ``promises.forget(what)``."""
        self.promises.make(what, self.verbs[verb], unmarked(self._env))

    def _promise_end(self) -> None:
        verb = next((verb for verb in ("stop", "kill") if verb in self.verbs), None)
        if verb is not None and not self.is_external:
            self.promise("end", verb)

    # -- the end -----------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """End the part and whatever its commands left; bring back an external one that a fault of ours ended.

        Once; another call does nothing.

        Raises:
            ComponentError: it lives on, or does not come back.
        """
        if self._closed:
            return
        self._closed = True
        if self.running is not None:
            self.running.by_us = self.running.by_us or self.running.alive()
        try:
            await end_kin(self.followers, {}, term_s=0.0)
            if self.is_external:
                await self._put_back()
            elif self._began:
                await self._end()
        finally:
            self.promises.forget_all()
            if self._logs is not None:
                self._logs.close()
            for kept in (*self._kept, *self.followers):
                kept.let_go()
            if self.running is not None:
                self.running.unwatch()

    @property
    def followers(self) -> list[Kept]:
        """Every ``logs`` that was run."""
        return self._logs.followers if self._logs is not None else []

    async def _go_on(self) -> str:
        """Resume the part where a pause of ours may still hold it; return why that failed, or nothing."""
        if "resume" not in self.promises or self.running is None or not self.running.alive():
            return ""
        answer = await self.ask("resume")
        failed = answer.code != 0 and self.running.paused
        return f"{in_words(self.component, 'resume')} {answer.told()}" if failed else ""

    async def _put_back(self) -> None:
        name, paused, back = self.component.name, await self._go_on(), self._back()
        if paused:
            raise ComponentError(name, f"a fault paused it, and {paused}: it is paused now")
        # One that did not end in time may still do so.
        if self.running is None or back is None or not await self.running.ends_within(ENDS_WITHIN_S):
            return
        kept = self.launch(back)
        try:
            code = await within(asyncio.shield(kept.exited), VERB_WITHIN_S)
        except TimeoutError:
            return  # it stays: it is the part itself
        if code != 0:
            raise ComponentError(name, f"a fault ended it, and {in_words(self.component, back)} exited {code}: "
                                 "it is down now")  # fmt: skip

    async def _end(self) -> None:
        name, code, said, left = self.component.name, None, "", []
        try:
            said = await self._go_on()
            alive = self.running is not None and self.running.alive()
            verb = next((verb for verb in ("stop", "kill") if verb in self.verbs), None)
            if verb == "stop" or (verb == "kill" and alive):
                answer = await self.ask(verb)
                code = answer.code
                said = "" if code == 0 else f"{in_words(self.component, verb)} {answer.told()}"
        finally:  # whatever went wrong: nothing may live on
            who = self.running.process if self.running is not None else None
            others = {who.pid: who.start_ticks} if who is not None and self._is_ours(who) else {}
            left = await end_kin([*self._kept, *self.followers], others, term_s=ENDS_WITHIN_S)
            await ended([*self._kept, *self.followers])
        if left:
            raise ComponentError(name, f"it lives on at the end: pid {', '.join(map(str, left))}; {said}")
        if self.running is None or (self.running.tells_nothing and code == 0):
            return
        if self.running.tells_nothing:
            raise ComponentError(
                name, f"it has neither a pid nor a port, so nothing tells whether it ended; {said}",
                mend=f"give {name}.commands.stop (its exit 0 is believed) or {name}.commands.pid",
            )  # fmt: skip
        if not await self.running.ends_within(ENDS_WITHIN_S):
            raise ComponentError(name, f"it lives on at the end as {self.running.identity}; {said}",
                                 mend=f"give {name}.commands.stop")  # fmt: skip


def _same(found: Process, before: Process | None) -> bool:
    return before is not None and (found.pid, found.start_ticks) == (before.pid, before.start_ticks)
