"""Faults of the phone: force quit, sleep, its socket closed, dropped, closed again and again, or opened twice."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import Any

from harness.clock import now_ns, seconds_between
from harness.control import ControlError
from harness.errors import FaultDidNotLand, NotReached, StartFailed
from harness.faults.base import Landed, PhoneFault, PhoneHandle, Scene
from harness.processes import look_at
from harness.waiting import NotYet, until

TAKES_EFFECT_WITHIN_S = 2.0
"""A signal to stop or to go on that has not shown by then was ignored."""
ANSWERS_WITHIN_S = 5.0
"""How much later than its own limit a phone may say that it came to it."""
SOCKETS_OPEN_WITHIN_S = 20.0
"""A dial may be refused once or twice while the cloud's front opens."""


@dataclass(frozen=True)
class _PhoneFault(PhoneFault):
    heals = True


@dataclass(frozen=True)
class ForceQuit(_PhoneFault):
    """The wearer swipes the app away: its process dies by SIGKILL; healing opens the app anew, talking as before."""

    async def inject(self, scene: Scene) -> Landed:
        """Kill the phone's process; the proof is its exit."""
        return Landed(await _there(scene, self.person).kill())

    async def heal(self, scene: Scene) -> str:
        """Open the app anew; the proof is a new process that dials."""
        return await scene.person(self.person).reopen()


@dataclass(frozen=True)
class SocketClosed(_PhoneFault):
    """The phone's socket is closed with this code and stays closed while the fault is held; the room is kept."""

    code: int = 1001

    async def inject(self, scene: Scene) -> Landed:
        """Close with the code; the proof is what the phone saw."""
        seen = await _ended(_there(scene, self.person), "close", code=self.code, reason="away")
        return Landed(f"closed with {self.code}: {seen}")

    async def heal(self, scene: Scene) -> str:
        """Dial again; the proof is the open socket."""
        return await _dial_again(_there(scene, self.person))


@dataclass(frozen=True)
class SocketDropped(_PhoneFault):
    """The phone's socket ends without a close frame (the cloud sees 1006) and stays away while held."""

    async def inject(self, scene: Scene) -> Landed:
        """Abort the connection; the proof is what the phone saw."""
        return Landed(f"dropped without a close frame: {await _ended(_there(scene, self.person), 'drop')}")

    async def heal(self, scene: Scene) -> str:
        """Dial again; the proof is the open socket."""
        return await _dial_again(_there(scene, self.person))


@dataclass(frozen=True)
class WentAway(_PhoneFault):
    """The wearer is done: the phone leaves its room and closes its socket (1001), and does not come back."""

    heals = False

    async def inject(self, scene: Scene) -> Landed:
        """Leave and close; the proof is what the phone saw."""
        phone = _there(scene, self.person)
        await _asked(phone, "leave")
        return Landed(f"closed with 1001 for good: {await _ended(phone, 'close', code=1001, reason='done')}")

    async def heal(self, scene: Scene) -> str:
        """Nothing to undo: the wearer meant it."""
        raise FaultDidNotLand(f"{self} has no heal ({scene})")


@dataclass(frozen=True)
class Asleep(_PhoneFault):
    """The phone sleeps while the fault is held: its process is stopped (SIGSTOP), its sockets stay up."""

    async def inject(self, scene: Scene) -> Landed:
        """Stop the phone's process; the proof is its state. Its own lateness is excused until it is healed."""
        phone, others = _there(scene, self.person), scene.sharing_process(self.person)
        if others:
            text = f"the phone of {self.person} shares its process with {', '.join(others)}: use r.phone for sleep"
            raise FaultDidNotLand(text)
        return Landed(await _signalled(phone, signal.SIGSTOP, stopped=True), stops=(phone.proc,))

    async def heal(self, scene: Scene) -> str:
        """Let it go on; the proof is its state."""
        return await _signalled(_there(scene, self.person), signal.SIGCONT, stopped=False)


@dataclass(frozen=True)
class SecondSocket(_PhoneFault):
    """The phone goes away (1001) and comes back with two sockets; it goes on with the newer, the older closes late.

    The incident's phone was back after 6 s, and 34 ms later once more.
    """

    after_ms: float = 34
    """From the first socket's opening to the second's dial."""
    close_first_after_s: float = 1.0
    """From the second socket's opening to the first one's close, by the phone, with 1001."""

    async def inject(self, scene: Scene) -> Landed:
        """Close the socket; the proof is what the phone saw."""
        seen = await _ended(_there(scene, self.person), "close", code=1001, reason="away")
        return Landed(f"closed with 1001: {seen}")

    async def heal(self, scene: Scene) -> str:
        """Come back twice, then close the older; the proof is the time between the two, and that close.

        Raises:
            FaultDidNotLand: there never were two open sockets.
        """
        phone = _there(scene, self.person)
        twice = await _asked(
            phone, "connect-twice", after_ms=self.after_ms, both_within_s=SOCKETS_OPEN_WITHIN_S,
            within_s=SOCKETS_OPEN_WITHIN_S + ANSWERS_WITHIN_S,
        )  # fmt: skip
        apart_ms = twice["apart_ms"]
        if apart_ms is None:
            raise FaultDidNotLand(f"{phone.name}'s phone could not open a second socket")
        await scene.let_time_pass(self.close_first_after_s, "the older of two sockets is closed late")
        closed = await _asked(phone, "close-older", code=1001)
        if not closed["was_open"]:
            raise FaultDidNotLand(f"the older socket of {phone.name}'s phone was closed by somebody else before")
        return f"a second socket {apart_ms} ms after the first, which was closed {self.close_first_after_s:g} s later"


@dataclass(frozen=True)
class Flapping(_PhoneFault):
    """The phone's socket is closed (1001) and opened anew, ``times`` times within ``within_s``; the last one stays."""

    times: int = 10
    within_s: float = 30

    async def inject(self, scene: Scene) -> Landed:
        """Close and dial again all but once, then close; the proof is how often and how fast."""
        phone, began, closes = _there(scene, self.person), now_ns(), 0
        every_s = self.within_s / self.times
        for number in range(1, self.times):
            closes += (await _asked(phone, "close", code=1001, reason="flapping"))["was_open"]
            await _dial_again(phone)
            left_s = number * every_s - seconds_between(began, now_ns())
            await scene.let_time_pass(max(0.0, left_s), f"{self.times} reconnects in {self.within_s:g} s")
        await _ended(phone, "close", code=1001, reason="flapping")  # the one that is held
        return Landed(f"{closes + 1} of {self.times} closes with 1001 in {seconds_between(began, now_ns()):.1f} s")

    async def heal(self, scene: Scene) -> str:
        """Dial for the last time; the proof is the open socket."""
        return await _dial_again(_there(scene, self.person))


def _there(scene: Scene, person: str) -> PhoneHandle:
    phone = scene.person(person)
    if not phone.is_there():
        raise FaultDidNotLand(f"the process of {person}'s phone is gone")
    return phone


async def _asked(phone: PhoneHandle, verb: str, **fields: Any) -> Any:
    try:
        return await phone.ask(verb, **fields)
    except (ControlError, StartFailed) as error:
        raise FaultDidNotLand(str(error)) from error


async def _ended(phone: PhoneHandle, verb: str, **fields: Any) -> Any:
    """End the open socket; where none was, let the phone go on dialing: nobody heals what did not land."""
    seen = await _asked(phone, verb, **fields)
    if not seen["was_open"]:
        await _asked(phone, "connect")
        raise FaultDidNotLand(f"{phone.name}'s phone had no open socket")
    return seen


async def _signalled(phone: PhoneHandle, number: signal.Signals, *, stopped: bool) -> str:
    """Send a signal to the phone's process and wait until its state shows it."""
    pid = phone.pid
    try:
        os.kill(pid, number)
    except ProcessLookupError as error:
        raise FaultDidNotLand(f"the process of {phone.name}'s phone is gone") from error

    def look() -> str | NotYet:
        process = look_at(pid)
        if process is None:
            return NotYet(f"pid {pid} is gone")
        return process.state if (process.state == "T") == stopped else NotYet(f"pid {pid} is in state {process.state}")

    try:
        state = await until(look, what=number.name, within_s=TAKES_EFFECT_WITHIN_S, every_s=0.01)
    except NotReached as error:
        raise FaultDidNotLand(f"the phone of {phone.name} ignored {number.name}: {error}") from error
    return f"phone of {phone.name}: pid {pid} {'stopped' if stopped else 'running again'} (state {state})"


async def _dial_again(phone: PhoneHandle) -> str:
    before = now_ns()
    await _asked(phone, "connect")
    try:
        return await phone.socket_opens(after_ns=before)
    except NotReached as error:
        raise FaultDidNotLand(f"{phone.name}'s phone could not come back: {error}") from error
