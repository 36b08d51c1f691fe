"""What every fault is, and the part of a rig that faults may touch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from harness.links import Links
    from harness.runtimes import Running


@dataclass(frozen=True)
class Landed:
    """The proof that a fault landed."""

    proof: str
    stops: tuple[str, ...] = ()
    """Processes of ours that it stops until it is healed."""


class PhoneHandle(Protocol):
    """A phone as faults see it."""

    name: str
    user_id: str

    @property
    def proc(self) -> str: ...
    @property
    def pid(self) -> int: ...
    @property
    def engine(self) -> str: ...
    def is_there(self) -> bool: ...
    async def ask(self, verb: str, **fields: Any) -> Any: ...
    async def kill(self) -> str: ...
    async def reopen(self) -> str: ...
    async def socket_opens(self, *, after_ns: int) -> str: ...


class Scene(Protocol):
    """The part of a rig that faults may touch."""

    @property
    def links(self) -> Links: ...
    def has(self, component: str) -> bool:
        """Return whether the system has this component."""

    def why_not(self, component: str, *capabilities: type) -> str | None:
        """Return why the component cannot do this ("bridge runs as commands without kill"), or None."""

    def running(self, component: str) -> Running:
        """Return the component as it runs now."""

    def links_to(self, component: str) -> tuple[str, ...]:
        """Return the links whose target is the component."""

    def links_of(self, component: str) -> tuple[str, ...]:
        """Return the links that the component dials or is the target of."""

    def why_no_link(self, link: str) -> str | None:
        """Return why there is no such link here, or None."""

    def why_no_ear(self, ear: str) -> str | None:
        """Return why this ear of ours ("stt", "app") cannot be hurt here, or None."""

    async def ask_ears(self, verb: str, **fields: Any) -> Any:
        """Ask the process of our ears."""

    async def take_down(
        self, component: str, end: Callable[[Running], Awaitable[str]], *, fronts_first: bool = False
    ) -> str:
        """End the component with ``end`` (which returns its proof), then close the fronts of the links to it.

        ``fronts_first``: the other way round, for what comes back before anybody could close a front.
        """

    async def bring_up(self, component: str, *, before_fronts: Callable[[], Awaitable[None]] | None = None) -> str:
        """Start the component again; when it is ready and ``before_fronts`` is done, open the fronts; return proof."""

    async def gate(self, *, promised: bool, gone_within_s: float = 0.0) -> None:
        """Ask the bridge for every user while no cloud lives, and record what it says.

        What was not promised has ``gone_within_s`` to go, or the second that any bridge has.
        """

    async def plant_session(self, person: str) -> str:
        """Leave a session of this person in the bridge, as a cloud that died in between would; return proof."""

    async def end_session(self, person: str, call: str) -> str:
        """End this person's live session in the bridge by LeaveRoom or JoinRoom; return proof."""

    async def open_second_stream(self, person: str) -> str:
        """Open an audio stream on this person's live session beside its cloud's, held and read; return proof."""

    async def close_second_stream(self, person: str) -> str:
        """Break it off; return what became of it."""

    async def open_unread_stream(self, person: str) -> str:
        """Open an audio stream on this person's live session, and do not read it; return proof."""

    async def break_unread_stream(self, person: str) -> str:
        """Break it off; return what it was."""

    async def put_out(self, person: str, who: str, by: str) -> str:
        """Put this person's agent or phone out of the room, by remove or duplicate-identity; return proof."""

    async def end_room(self, person: str) -> str:
        """Delete this person's room with everybody in it; return proof."""

    async def other_agent_comes(self, person: str) -> str:
        """Let another environment's agent take the place of this person's, and stay; return proof."""

    def phone_token(self, person: str, *, ttl_s: int) -> str:
        """Return a token for this person's phone and room that LiveKit takes for ``ttl_s`` from now."""

    async def begin_join(self, person: str) -> str:
        """Send a JoinRoom of this person beside the cloud's own; return proof once the bridge dials for it."""

    async def end_join(self, person: str) -> str:
        """Wait for that call's answer; return it."""

    def person(self, name: str) -> PhoneHandle:
        """Return the phone of this person."""

    def sharing_process(self, name: str) -> tuple[str, ...]:
        """Return whose phones live in one process with this person's."""

    async def let_time_pass(self, seconds: float, why: str) -> None:
        """Wait because the story means time; it is recorded as a declared wait."""


class Fault(Protocol):
    """One way to hurt the system."""

    @property
    def target(self) -> str:
        """The component, link or person it aims at."""

    @property
    def blast(self) -> tuple[str, ...]:
        """Components, links and people it may touch; harm elsewhere breaks Contained."""

    @property
    def heals(self) -> bool:
        """Whether there is something to undo."""

    def missing(self, scene: Scene) -> str | None:
        """Return why it cannot be used here, or None; a reason becomes a skip."""

    async def inject(self, scene: Scene) -> Landed:
        """Do it and return the proof.

        Raises:
            FaultDidNotLand: there is no proof.
        """

    async def heal(self, scene: Scene) -> str:
        """Undo it and return the proof (never called when ``heals`` is false)."""


@dataclass(frozen=True)
class ComponentFault:
    """A fault that aims at one component."""

    component: str

    @property
    def target(self) -> str:
        return self.component

    @property
    def blast(self) -> tuple[str, ...]:
        return (self.component,)


@dataclass(frozen=True)
class LinkFault:
    """A fault that aims at one link."""

    link: str

    @property
    def target(self) -> str:
        return self.link

    @property
    def blast(self) -> tuple[str, ...]:
        return (self.link,)

    def missing(self, scene: Scene) -> str | None:
        """There must be such a link."""
        return scene.why_no_link(self.link)


@dataclass(frozen=True)
class PhoneFault:
    """A fault that aims at one person's phone."""

    person: str

    @property
    def target(self) -> str:
        return f"phone of {self.person}"

    @property
    def blast(self) -> tuple[str, ...]:
        return (self.person,)

    def missing(self, scene: Scene) -> str | None:
        """The person must have a phone in this story."""
        scene.person(self.person)
        return None
