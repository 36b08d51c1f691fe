"""A person with a phone, as a story tells it; the phone itself is a process of its own."""

from __future__ import annotations

import asyncio
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jwt
from jwt.warnings import InsecureKeyLengthWarning

from harness import events as ev
from harness.control import Puppet
from harness.errors import FaultDidNotLand
from harness.phone.configuration import Engine
from harness.rig.live import Flow
from harness.speech import speaker_id
from harness.waiting import NotYet, until, within

if TYPE_CHECKING:
    from harness.rig.live import Live
    from harness.rig.phones import PhoneBooth

SOCKET_OPENS_WITHIN_S = 15.0


@dataclass(frozen=True)
class PhoneSettings:
    """How a person's phone behaves; names are those of its ``configure`` request."""

    packet_ms: int = 40
    fallback: bool = False
    """WS-binary fallback while there is no room; off, because it masks bridge faults."""
    engine: Engine = "aiortc"
    defects: tuple[str, ...] = ()
    seed: int = 0
    """The run's, for what is left to chance."""


@dataclass
class Person:
    """Somebody who wears glasses and holds a phone."""

    name: str
    user_id: str
    booth: PhoneBooth
    live: Live
    settings: PhoneSettings = field(default_factory=PhoneSettings)
    puppet: Puppet | None = None
    talking: bool = False
    starts_app: bool = True
    awaited_ear: asyncio.Task[None] | None = None
    """The hidden listener on its way, where LiveKit was down when this person came."""

    @property
    def speaker(self) -> int:
        """The number this person's speech carries."""
        return speaker_id(self.name)

    @property
    def proc(self) -> str:
        """The name of the phone's present process in the records."""
        assert self.puppet is not None
        return self.puppet.proc

    @property
    def pid(self) -> int:
        """The phone's process id."""
        assert self.puppet is not None
        return self.puppet.pid

    @property
    def engine(self) -> str:
        """The phone's media engine."""
        return self.settings.engine

    @property
    def flow(self) -> Flow:
        """The probe for this person's captions."""
        return Flow(self.name, self.speaker)

    async def ask(self, verb: str, **fields: Any) -> Any:
        """Ask the phone's process."""
        assert self.puppet is not None
        return await self.puppet.ask(verb, **fields)

    async def opens_the_app(self) -> None:
        """Start the phone (a new process) and let it dial; returns when it dials, not when it is through."""
        self.puppet = await self.booth.take(self.settings.engine)
        await self.ask("configure", **self.booth.configuration(self))
        self.starts_app = False
        await self.ask("connect")
        if self.talking:
            await self.ask("talk", on=True)

    async def starts_talking(self) -> None:
        """Talk in numbered utterances from the next one on, until told to stop."""
        self.talking = True
        await self.ask("talk", on=True)

    async def stops_talking(self) -> int:
        """Fall silent at once; return the last frame index spoken (-1: none)."""
        self.talking = False
        if self.puppet is None:
            return -1
        answer = await self.ask("talk", on=False)
        return int(answer["last_index"])

    def is_there(self) -> bool:
        """Return whether the phone's process lives."""
        return self.puppet is not None and self.puppet.ended_by_itself() is None

    async def is_connected(self) -> bool:
        """Return whether the phone's socket is open."""
        return bool((await self.ask("state"))["socket"] == "open")

    async def kill(self) -> str:
        """Force-quit the phone (SIGKILL); return the proof and let the next process warm up meanwhile."""
        assert self.puppet is not None
        assert self.puppet.process is not None
        process, pid = self.puppet.process, self.puppet.pid
        self.puppet.ends_on_purpose = True
        process.kill()
        code = await within(process.wait(), 5)
        await self.puppet.stop()
        self.puppet = None
        self.booth.warm_up()
        if code != -9:
            raise FaultDidNotLand(f"the phone of {self.name} (pid {pid}) exited {code}, not by SIGKILL")
        return f"phone of {self.name}: pid {pid} exited {code}"

    async def reopen(self) -> str:
        """Open the app anew; return the proof."""
        await self.opens_the_app()
        return f"phone of {self.name} opened anew as pid {self.pid}"

    async def socket_opens(self, *, after_ns: int) -> str:
        """Wait until the phone's socket is open after this moment; return the proof.

        Raises:
            NotReached: it did not open in time.
        """
        opened = await self.moment(ev.PhoneSocketOpen, after_ns, within_s=SOCKET_OPENS_WITHIN_S)
        return f"socket open after {(opened - after_ns) / 1e9:.2f} s"

    async def moment(
        self,
        kind: type[ev.PhoneSocketOpen | ev.PhoneSocketClosed | ev.PhoneMessage],
        after_ns: int,
        *,
        within_s: float,
        type_: str = "",
    ) -> int:
        """Return when the phone's record first shows such an event after a time.

        Raises:
            NotReached: it did not come.
        """

        def look() -> int | NotYet:
            found = self.live.first(
                kind, lambda e: e.person == self.name and (not type_ or getattr(e, "type", "") == type_), after_ns
            )
            return found.t_ns if found else NotYet(f"no {type_ or kind.__name__} of {self.name}'s phone")

        return await until(look, what=f"{type_ or kind.__name__} of {self.name}", within_s=within_s)

    def core_token(self, secret: str) -> str:
        """Sign the token the phone shows the cloud (HS256, claim email)."""
        claims = {"sub": self.user_id, "email": self.user_id, "organizations": [], "defaultOrg": ""}
        with warnings.catch_warnings():
            # Somebody else's secret may be short; that is theirs to mend.
            warnings.simplefilter("ignore", InsecureKeyLengthWarning)
            return jwt.encode(claims, secret, algorithm="HS256")
