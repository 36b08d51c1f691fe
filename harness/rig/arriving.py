"""People who come into a story: one with a phone in a process of its own, or many whose phones share one."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

from harness import events as ev
from harness.errors import FaultDidNotLand
from harness.rig.live import Flow
from harness.rig.people import Person, PhoneSettings
from harness.speech import speaker_id

if TYPE_CHECKING:
    from harness.control import Puppet
    from harness.rig.rig import Rig


def settings_of(rig: Rig, behaviour: dict[str, Any]) -> PhoneSettings:
    """Return how a phone of this rig behaves: as the command line says, but for what the story says."""
    told = {"engine": rig.options.engine} | behaviour
    return PhoneSettings(**told, defects=rig.system.defects_of("phone"), seed=rig.options.seed)


async def listen(rig: Rig, person: Person) -> None:
    """Send the hidden listener into the person's room."""
    room = rig.system.room_of(person.user_id)
    host, port = rig.stack.address("livekit", "signal")
    ear = {
        "user": person.user_id, "speaker": person.speaker, "token": rig.stack.keys.listener_token(room, person.name)
    }  # fmt: skip
    await rig.stack.ears.ask("listen", room=room, url=f"ws://{host}:{port}", **ear, within_s=15)


def tell_tested(rig: Rig, name: str, settings: PhoneSettings) -> None:
    """Write down which media engine stands behind what is judged."""
    version = metadata.version("livekit" if settings.engine == "livekit" else "aiortc")
    component = "phone" if settings.engine == rig.options.engine else f"phone of {name}"
    facts = {"engine": settings.engine, "version": version}
    if settings.defects:
        facts["defects"] = ", ".join(settings.defects)
    rig.recorder.emit(ev.Tested(component=component, runtime="process", facts=facts))


async def arrive(rig: Rig, person: Person) -> None:
    """Let somebody open the app while the hidden listener takes its place."""
    rig.people[person.name] = person
    tell_tested(rig, person.name, person.settings)
    rig.step(f"{person.name} opens the app")
    listening = asyncio.create_task(listen(rig, person), name=f"hidden listener for {person.name}")
    if rig.stack.live["livekit"].alive():
        await asyncio.gather(person.opens_the_app(), listening)
        return
    # Nobody gets into a room now: the listener takes its place when LiveKit comes, and says so when it could not.
    person.awaited_ear = listening
    listening.add_done_callback(lambda done: _tell_deaf(rig, done))
    await person.opens_the_app()


def _tell_deaf(rig: Rig, listening: asyncio.Task[None]) -> None:
    if not listening.cancelled() and (problem := listening.exception()) is not None:
        rig.recorder.emit(ev.Note(text=f"the {listening.get_name()} is deaf: {problem}"))


@dataclass
class Guest(Person):
    """Somebody whose phone lives in one process with others': all a person can, but to be force-quit alone."""

    async def ask(self, verb: str, **fields: Any) -> Any:
        """Ask this phone among those of its process."""
        if verb != "configure":
            fields["phone"] = self.name
        return await super().ask(verb, **fields)

    async def opens_the_app(self) -> None:
        """Configure the phone in the process it was given, and let it dial."""
        await self.ask("configure", **self.booth.configuration(self))
        self.starts_app = False
        await self.ask("connect")
        if self.talking:
            await self.ask("talk", on=True)

    async def kill(self) -> str:
        """Refuse: the others would die with it.

        Raises:
            FaultDidNotLand: always.
        """
        raise FaultDidNotLand(f"the phone of {self.name} shares its process with others: use r.phone for force quits")


@dataclass(frozen=True)
class Crowd:
    """People whose phones share one process: load, cheaply."""

    people: tuple[Guest, ...]
    puppet: Puppet

    @property
    def flows(self) -> tuple[Flow, ...]:
        """The probes for everybody's captions, as ``r.steady(*crowd.flows)`` takes them."""
        return tuple(guest.flow for guest in self.people)

    async def starts_talking(self) -> None:
        """Let everybody talk, from the next word on."""
        await asyncio.gather(*(guest.starts_talking() for guest in self.people))

    async def stops_talking(self) -> None:
        """Let everybody fall silent."""
        await asyncio.gather(*(guest.stops_talking() for guest in self.people))


async def gather(rig: Rig, number: int, behaviour: dict[str, Any]) -> Crowd:
    """Give ``number`` people phones in one new process, and open the app on each."""
    settings = settings_of(rig, behaviour)
    names = names_for(number, rig.people.values())
    puppet = await rig.booth.take(settings.engine)
    guests = [Guest(name, f"{name}@example.com", rig.booth, rig.live, settings, puppet=puppet) for name in names]
    tell_tested(rig, f"{number} people", settings)
    rig.step(f"{number} people open the app")
    rig.people.update({guest.name: guest for guest in guests})
    await asyncio.gather(*(guest.opens_the_app() for guest in guests), *(listen(rig, guest) for guest in guests))
    return Crowd(tuple(guests), puppet)


def names_for(number: int, known: Iterable[Person]) -> list[str]:
    """Return so many new names whose speaker numbers, 16 bits each, differ from everybody's."""
    taken = {person.speaker for person in known}
    names: list[str] = []
    for count in itertools.count(1):
        if len(names) == number:
            return names
        name = f"guest{count}"
        if speaker_id(name) not in taken:
            taken.add(speaker_id(name))
            names.append(name)
    raise AssertionError("count never ends")
