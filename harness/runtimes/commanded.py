"""A part as the user's own commands run it: what faults may do to it is what there is a command for."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from typing import TYPE_CHECKING, Any

from harness.errors import FaultDidNotLand, FaultNotSupported, NotReached
from harness.processes import Process, look_at
from harness.redact import mask
from harness.runtimes.capabilities import Killable, Pausable, Restartable, Stoppable
from harness.runtimes.kept import Kept
from harness.runtimes.log import Log, LoggedPart
from harness.runtimes.presence import gone, silent
from harness.runtimes.readiness import answers_now
from harness.system import Address, Component
from harness.waiting import NotYet, until, within

if TYPE_CHECKING:
    from harness.runtimes.commands import Commands

GONE_WITHIN_S = 5.0
"""What has not ended so long after its command was not ended by it."""
RESTARTS_WITHIN_S = 30.0
"""How long a restart may take to end what ran: ``docker restart`` waits for 10 s before it kills."""
STOPS_WITHIN_S = 0.3
"""A process on a busy core stops a moment after its SIGSTOP was sent."""
CODE_WITHIN_S = 0.5
NEEDS: dict[type, tuple[str, ...]] = {
    Killable: ("kill",),
    Stoppable: ("stop",),
    Restartable: ("restart",),
    Pausable: ("pause", "resume"),
}


def in_words(component: Component, verb: str) -> str:
    """Return the command as the user wrote it, its templates not filled; a secret that stands there is masked."""
    return mask(shlex.join((component.commands or {})[verb]))


class CommandsRunning(LoggedPart):
    """A part that commands started or that was there; its capabilities are those of ``why_not``."""

    def __init__(
        self, owner: Commands, log: Log, number: int, process: Process | None, launched: Kept | None,
        address: Address | None,
    ) -> None:  # fmt: skip
        """Take over the ``number``-th start; ``process``: who it is, None when it is known by ``address`` alone."""
        self.component = owner.component
        self.by_us = self.by_machine = False
        self.number, self.process = number, process
        self._owner, self._log, self._launched, self._address = owner, log, launched, address
        self._facts = {verb: in_words(self.component, verb) for verb in self.component.commands or {}}
        self.paused = False
        """Paused by us, as far as we know."""
        self._exit_text: str | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def identity(self) -> str:
        """The pid, or which start it is."""
        return str(self.process.pid) if self.process is not None else f"start {self.number}"

    @property
    def tells_nothing(self) -> bool:
        """True where neither a pid nor a port would show its end."""
        return self.process is None and self._address is None

    def alive(self) -> bool:
        """Tell whether it has not ended."""
        return self._exit_text is None

    def exit_text(self) -> str | None:
        """Say how it ended: ``exited 1`` where its start command is the part, else only that it did."""
        return self._exit_text

    async def wait_exit(self) -> str:
        """Wait until it has ended."""
        assert self._watch is not None, "not watched"
        await asyncio.shield(self._watch)
        return self._exit_text or ""

    async def ends_within(self, within_s: float) -> bool:
        """Wait for its end; tell whether it came."""
        with contextlib.suppress(TimeoutError):
            await within(self.wait_exit(), within_s)
        return not self.alive()

    def why_not(self, capability: type) -> str | None:
        """Return why there is no such command for it, or None."""
        needed = NEEDS.get(capability, ())
        have = self.component.commands or {}
        kind = self.component.runtime
        missing = next((verb for verb in needed if verb not in have), None)
        if missing is not None:
            return f"runs as commands without {missing}" if kind == "commands" else f"is external, without {missing}"
        ends = capability in {Killable, Stoppable}
        if ends and kind == "external" and not self.component.supervised and not {"start", "restart"} & set(have):
            return "is external, without start or restart: nobody would bring it back"
        return None

    # -- what faults do ----------------------------------------------------------------------------------------------

    async def kill(self, signal: str = "KILL") -> str:
        """Run ``kill`` (``stop`` for TERM) and wait until what ran is gone; return the proof.

        Raises:
            FaultDidNotLand: it was not running, the command failed, or it lives on.
            FaultNotSupported: another signal, or no such command.
        """
        verb = {"KILL": "kill", "TERM": "stop"}.get(signal.upper().removeprefix("SIG"))
        if verb is None or verb not in self._owner.verbs:
            raise FaultNotSupported(f"{self.component.name} runs as commands, and none of them sends {signal}")
        return await self._end(verb)

    async def stop(self, within_s: float) -> str:  # noqa: ARG002  the command has its own patience
        """Run ``stop``; return the proof. Raises FaultDidNotLand."""
        return await self._end("stop")

    async def restart(self) -> str:
        """Run ``restart`` and wait until what ran before is gone; return the proof. Raises FaultDidNotLand."""
        self._must_live()
        words = self._words("restart")
        was, self.by_us = self.by_us, True
        self._owner.will_end("restart")
        kept = self._owner.launch("restart")
        ending = asyncio.create_task(self.wait_exit())
        try:
            either: set[asyncio.Future[Any]] = {ending, kept.exited}
            await asyncio.wait(either, timeout=RESTARTS_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
            code = kept.exited.result() if kept.exited.done() else None
            _must_do(words, kept.refused, code)
            await self._must_end("restart")
        except FaultDidNotLand:
            self.by_us = was
            self._owner.did_not_end("a restart that failed", alive=self.alive())
            raise
        finally:
            ending.cancel()
        return f"{words}: {self._name()} is gone"

    async def pause(self) -> str:
        """Run ``pause``; proven by its state, or by its ready probe that is not answered. Raises FaultDidNotLand."""
        self._must_live()
        self._owner.promise("resume", "resume")
        self.paused = True
        try:
            return await self._pause()
        except FaultDidNotLand:
            self.paused = False
            raise

    async def _pause(self) -> str:
        await self._run("pause")
        if self.process is not None and await self._stopped(self.process.pid):
            return f"{self._words('pause')}: pid {self.process.pid} is stopped (state T)"
        said = await answers_now(self.component, self._owner.addresses, self)
        if said is not None:
            raise FaultDidNotLand(f"{self.component.name} still answers after {self._words('pause')}: {said}")
        return f"{self._words('pause')}: it answers no more"

    async def resume(self) -> str:
        """Run ``resume``; return the proof. Raises FaultDidNotLand."""
        await self._run("resume")
        now = look_at(self.process.pid) if self.process is not None else None
        if now is not None and now.state == "T":
            raise FaultDidNotLand(f"pid {now.pid} is still stopped after {self._words('resume')}")
        self.paused = False
        self._owner.promises.forget("resume")
        return f"{self._words('resume')}: {self._name()} goes on"

    async def _stopped(self, pid: int) -> bool:
        def probe() -> bool | NotYet:
            now = look_at(pid)
            return True if now is not None and now.state == "T" else NotYet("it is not in state T")

        with contextlib.suppress(NotReached):
            return await until(probe, what="the stop", within_s=STOPS_WITHIN_S, every_s=0.02)
        return False  # frozen by other means (docker pause), if at all

    def _must_live(self) -> None:
        if not self.alive():
            raise FaultDidNotLand(f"{self.component.name} was not running: it {self._exit_text}")

    async def _must_end(self, verb: str) -> None:
        if not await self.ends_within(GONE_WITHIN_S):
            said = f"{self._name()} still lives {GONE_WITHIN_S:g} s after {self._words(verb)}"
            mend = f"; give {self.component.name}.commands.pid, so that a new one can be told from the old"
            raise FaultDidNotLand(said if self.process is not None else said + mend)

    def _words(self, verb: str) -> str:
        return f"`{in_words(self.component, verb)}`"

    def _name(self) -> str:
        return f"pid {self.identity}" if self.process is not None else f"{self.component.name} ({self.identity})"

    async def _run(self, verb: str) -> None:
        self._must_live()
        answer = await self._owner.ask(verb)
        if answer.code != 0:
            raise FaultDidNotLand(f"{self._words(verb)} {answer.told()}")

    async def _end(self, verb: str) -> str:
        self._must_live()
        was, self.by_us = self.by_us, True
        paused, self.paused = self.paused, False
        self._owner.will_end(verb)
        try:
            await self._run(verb)
            await self._must_end(verb)
        except FaultDidNotLand:
            self.by_us, self.paused = was, paused
            self._owner.did_not_end(verb, alive=self.alive())
            raise
        return f"{self._words(verb)}: {self._name()} {self._exit_text}"

    # -- watching ----------------------------------------------------------------------------------------------------

    def watch(self) -> None:
        """See to it that its end is noticed and told once."""
        self._watch = asyncio.create_task(self._see_off(), name=f"exit of {self.component.name}")

    def unwatch(self) -> None:
        """Stop watching."""
        if self._watch is not None:
            self._watch.cancel()

    async def _see_off(self) -> None:
        if self.process is not None:
            await gone(self.process)
            text = "ended"
            if self._launched is not None and self._launched.started.done() and await self._is_itself():
                text = f"exited {self._launched.exited.result()}"
        elif self._address is not None:
            text = await silent(self._address, lambda: self.paused)
        else:
            await asyncio.Event().wait()  # nothing tells when it ends
            return
        self._log.drain()
        self._exit_text = text
        if self._owner.around.on_exit is not None:
            self._owner.around.on_exit(self)
        self._owner.has_ended()

    async def _is_itself(self) -> bool:
        """Tell whether the start command is the part, and how that ended is known."""
        assert self._launched is not None
        assert self.process is not None
        if self._launched.started.result() != self.process.pid:
            return False
        with contextlib.suppress(TimeoutError):
            await within(asyncio.shield(self._launched.exited), CODE_WITHIN_S)
        return self._launched.exited.done()


def _must_do(words: str, refused: str, code: int | None) -> None:
    if refused or code not in {0, None}:
        raise FaultDidNotLand(f"{words} {refused or f'exited {code}'}: its output is in the part's log")
