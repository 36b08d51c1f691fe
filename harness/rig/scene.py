"""What faults may touch of a rig: components, links, phones, the zombie gate."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from harness import events as ev
from harness.bridge_client import BridgeStatus, read_status
from harness.errors import FaultDidNotLand, NotReached
from harness.history import Recorder
from harness.links import Links
from harness.redact import know_secret
from harness.rig import foreign_calls, strangers
from harness.rig.people import Person
from harness.rig.stack import Stack
from harness.runtimes import Choosy, Running
from harness.waiting import NotYet, until

CLEANUP_WITHIN_S = 1.0
"""How long a bridge has to clean up after a dead cloud before a control's gate calls what is left a zombie."""
CANNOT = {
    "Killable": "it cannot be killed there",
    "Stoppable": "it cannot be asked to end there",
    "Pausable": "it cannot be paused there",
    "Restartable": "nobody restarts it there in one go",
    "Detachable": "it cannot be taken off its network there",
    "Droppable": "its packets cannot be dropped there",
}
"""What a component that lacks a capability cannot do, for people."""


@dataclass(frozen=True)
class RigScene:
    """The part of a rig that faults may touch (:class:`harness.faults.Scene`)."""

    stack: Stack
    people: Mapping[str, Person]
    recorder: Recorder
    wait: Callable[[float, str], Awaitable[None]]

    @property
    def links(self) -> Links:
        """The run's links."""
        return self.stack.links

    def has(self, component: str) -> bool:
        """Return whether the system has this component."""
        return component in self.stack.system.components

    def why_not(self, component: str, *capabilities: type) -> str | None:
        """Return why the component cannot do this, or None."""
        if not self.has(component):
            return f"the system {self.stack.system.name} has no {component}"
        running = self.stack.live[component]
        for capability in capabilities:
            if not isinstance(running, capability):
                runtime = self.stack.system.components[component].runtime
                cannot = CANNOT.get(capability.__name__, f"it is not {capability.__name__}")
                return f"{component} runs as {runtime}: {cannot}"
            why = running.why_not(capability) if isinstance(running, Choosy) else None
            if why is not None:
                return f"{component} {why}"
        return None

    def running(self, component: str) -> Running:
        """Return the component as it runs now."""
        return self.stack.live[component]

    def links_to(self, component: str) -> tuple[str, ...]:
        """Return the links whose target is the component."""
        return self.stack.links_to(component)

    def links_of(self, component: str) -> tuple[str, ...]:
        """Return the links that touch the component."""
        return self.stack.links_of(component)

    def why_no_link(self, link: str) -> str | None:
        """Return why there is no such link here, or None."""
        known = self.stack.fronts
        return None if link in known else f"the system {self.stack.system.name} has no link {link}: {', '.join(known)}"

    def why_no_ear(self, ear: str) -> str | None:
        """Return why this ear of ours cannot be hurt here, or None."""
        return None if ear in self.stack.system.ears else f"the system {self.stack.system.name} has no {ear} of ours"

    async def ask_ears(self, verb: str, **fields: Any) -> Any:
        """Ask the process of our ears."""
        return await self.stack.ears.ask(verb, **fields)

    async def take_down(
        self, component: str, end: Callable[[Running], Awaitable[str]], *, fronts_first: bool = False
    ) -> str:
        """End a component and close the fronts of the links to it; ``fronts_first``: it comes back by itself."""
        return await self.stack.take_down(component, end, fronts_first=fronts_first)

    async def bring_up(self, component: str, *, before_fronts: Callable[[], Awaitable[None]] | None = None) -> str:
        """Start a component again; open the fronts when it is ready and ``before_fronts`` is done."""
        return await self.stack.bring_up(component, before_fronts)

    def person(self, name: str) -> Person:
        """Return the phone of this person.

        Raises:
            FaultDidNotLand: nobody of that name has one.
        """
        if name not in self.people:
            raise FaultDidNotLand(f"nobody called {name} has a phone in this story; known: {', '.join(self.people)}")
        return self.people[name]

    def sharing_process(self, name: str) -> tuple[str, ...]:
        """Return whose phones live in one process with this person's."""
        puppet = self.person(name).puppet
        return tuple(o for o, p in self.people.items() if o != name and puppet is not None and p.puppet is puppet)

    async def let_time_pass(self, seconds: float, why: str) -> None:
        """Wait because the story means time."""
        await self.wait(seconds, why)

    async def gate(self, *, promised: bool, gone_within_s: float = 0.0) -> None:
        """Ask the bridge for every user while no cloud lives, and record what it says.

        A way that promises a zombie gets one look (two when the first was not answered); a control gives the bridge
        up to 1 s to clean up, or ``gone_within_s``, so that "present" means it does not.
        """
        bridge = self.stack.bridge_target()
        users = [person.user_id for person in self.people.values()] or list(self.stack.planted)
        within_s = CLEANUP_WITHIN_S if promised else max(CLEANUP_WITHIN_S, gone_within_s)
        looked: dict[str, BridgeStatus] = {}

        async def look() -> str | NotYet:
            status = looked["last"] = await read_status(bridge, users)
            if not status.answered:
                return NotYet(f"no answer ({status.detail})")
            if promised and all(_zombies(status, [user]) for user in users):
                return "zombie"
            if not promised and _zombies(status, users):
                return NotYet("a session is still there")
            return NotYet("no session") if promised else "none"

        try:
            outcome = await until(look, what="the bridge's answer", within_s=within_s, every_s=0.05)
        except NotReached:
            last = looked["last"]
            outcome = "no-answer" if not last.answered else "zombie" if _zombies(last, users) else "none"
        last = looked["last"]
        detail = f"active_sessions={last.active_sessions} connected={last.connected} {last.detail}".strip()
        for user in users:
            own = outcome if outcome != "zombie" or _zombies(last, [user]) else "none"
            self.recorder.emit(ev.Gate(user=user, outcome=own, promised=promised, detail=detail))
        self.recorder.emit(
            ev.BridgeRead(
                why="gate", answered=last.answered, active_sessions=last.active_sessions, connected=last.connected,
                detail=last.detail,
            )
        )  # fmt: skip

    async def plant_session(self, person: str) -> str:
        """Leave a session of this person in the bridge; return proof.

        Raises:
            FaultDidNotLand: the bridge refused.
        """
        return await foreign_calls.plant(self.stack, self._user(person))

    async def end_session(self, person: str, call: str) -> str:
        """End this person's live session in the bridge by LeaveRoom or JoinRoom; return proof.

        Raises:
            FaultDidNotLand: there was no such session, or the bridge lives and did not answer.
        """
        return await foreign_calls.end_session(self.stack, self.person(person).user_id, call)

    async def begin_join(self, person: str) -> str:
        """Send a JoinRoom of this person beside the cloud's own; return proof once the bridge dials for it.

        Raises:
            FaultDidNotLand: it was answered at once, or the bridge never dialed.
        """
        return await foreign_calls.begin_join(self.stack, self._user(person))

    async def end_join(self, person: str) -> str:
        """Wait for that call's answer; return it."""
        return await foreign_calls.end_join(self.stack, self._user(person))

    async def open_second_stream(self, person: str) -> str:
        """Open an audio stream on this person's live session beside its cloud's, and hold and read it; return proof.

        Raises:
            FaultDidNotLand: it brought no audio and was not refused either.
        """
        return await foreign_calls.open_second_stream(self.stack, self.person(person).user_id)

    async def close_second_stream(self, person: str) -> str:
        """Break it off; return what became of it."""
        return await foreign_calls.close_second_stream(self.stack, self.person(person).user_id)

    async def open_unread_stream(self, person: str) -> str:
        """Open an audio stream on this person's live session, and do not read it; return proof.

        Raises:
            FaultDidNotLand: the bridge is gone, refused it, or sent nothing.
        """
        return await foreign_calls.open_unread_stream(self.stack, self.person(person).user_id)

    async def break_unread_stream(self, person: str) -> str:
        """Break it off; return what it was.

        Raises:
            FaultDidNotLand: the bridge had ended it.
        """
        return await foreign_calls.break_unread_stream(self.stack, self.person(person).user_id)

    async def put_out(self, person: str, who: str, by: str) -> str:
        """Put this person's agent or phone out of the room; return proof.

        Raises:
            FaultDidNotLand: it was not there, or LiveKit did not do it.
        """
        return await strangers.put_out(self.stack, self._user(person), who, by)

    async def end_room(self, person: str) -> str:
        """Delete this person's room; return proof.

        Raises:
            FaultDidNotLand: nobody was in it, or LiveKit did not do it.
        """
        return await strangers.end_room(self.stack, self._user(person))

    async def other_agent_comes(self, person: str) -> str:
        """Let another environment's agent take the place of this person's, and stay; return proof.

        Raises:
            FaultDidNotLand: it did not get in.
        """
        return await strangers.other_agent_comes(self.stack, self._user(person))

    def phone_token(self, person: str, *, ttl_s: int) -> str:
        """Return a token for this person's phone and room that LiveKit takes for ``ttl_s`` from now."""
        user = self._user(person)
        token = self.stack.keys.phone_token(user, self.stack.system.room_of(user), ttl_s=ttl_s)
        know_secret(token)
        return token

    def _user(self, person: str) -> str:
        """Return who this is to the bridge, also before the person comes."""
        return self.people[person].user_id if person in self.people else f"{person}@example.com"


def _zombies(status: BridgeStatus, users: list[str]) -> bool:
    """Return whether a session of one of the users is there; by HealthCheck only where GetStatus is missing."""
    if status.connected:
        return any(status.connected.get(user, False) for user in users)
    return status.active_sessions > 0
