"""Faults of a link, per direction, as values: holes, stalls, half closes, delays, slow lines, cuts at a count.

They need no rights and nothing of the system under test: the link itself does it. Directions are the link's own words:
``to-target`` is what who dialed it says, ``to-dialer`` what he hears.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from harness.errors import FaultDidNotLand, StartFailed
from harness.faults.base import Landed, LinkFault, Scene
from harness.links.hurting import Ways
from harness.links.reading import Way
from harness.moments import message, nth


@dataclass(frozen=True)
class Blackhole(LinkFault):
    """While held nothing comes through, FIN and RST neither; connections hang, and so does who dials.

    Nothing is lost inside TCP: healed, everything goes on. Who dials is left in the kernel's backlog, unanswered.
    """

    way: Ways = "both"

    heals = True

    async def inject(self, scene: Scene) -> Landed:
        """Open the hole; the proof that it mattered comes with the heal."""
        count = await scene.links.hole(self.link, self.way)
        return Landed(f"{self.link}: nothing passes {_in_words(self.way)}; {count} connections open")

    async def heal(self, scene: Scene) -> str:
        """Let everything go on; the proof is what had waited.

        Raises:
            FaultDidNotLand: nothing had, the link was idle.
        """
        waited = await scene.links.close_hole(self.link, self.way)
        if not (waited.bytes or waited.ends or waited.dialers):
            raise FaultDidNotLand(
                f"idle link: nothing waited in {self.link} ({waited.connections} connections, no byte, end or dialer)"
            )
        return f"{self.link}: {waited.bytes} bytes, {waited.ends} ends and {waited.dialers} dialers had waited"


@dataclass(frozen=True)
class Stall(LinkFault):
    """While held the receiver of this direction takes nothing: its window closes and the sender blocks; RST pass."""

    way: Ways = "both"

    heals = True

    async def inject(self, scene: Scene) -> Landed:
        """Stop to read; the proof that it mattered comes with the heal.

        Raises:
            FaultDidNotLand: there is no connection.
        """
        count = await scene.links.stall(self.link, self.way)
        if not count:
            await scene.links.end_stall(self.link, self.way)
            raise FaultDidNotLand(f"{self.link} had no connection to stall")
        return Landed(f"{self.link}: nothing is read {_in_words(self.way)} of {count} connections")

    async def heal(self, scene: Scene) -> str:
        """Read on; the proof is what had waited.

        Raises:
            FaultDidNotLand: nobody had sent anything.
        """
        waited = await scene.links.end_stall(self.link, self.way)
        if not (waited.bytes or waited.ends):
            raise FaultDidNotLand(f"idle link: nothing waited in {self.link} ({waited.connections} connections)")
        return f"{self.link}: {waited.bytes} bytes had waited, {waited.windows} windows were closed"


@dataclass(frozen=True)
class HalfClose(LinkFault):
    """One end of every connection gets a FIN though the other sent none; the other direction goes on."""

    towards: Literal["target", "dialer"]

    heals = False

    async def inject(self, scene: Scene) -> Landed:
        """Send it; the proof is how many got one.

        Raises:
            FaultDidNotLand: nobody did.
        """
        count = await scene.links.half_close(self.link, self.towards)
        if not count:
            raise FaultDidNotLand(f"{self.link} had no connection whose {self.towards} could get a FIN")
        return Landed(f"{self.link}: a FIN to the {self.towards} of {count} connections")

    async def heal(self, scene: Scene) -> str:
        """Nothing to undo."""
        raise FaultDidNotLand(f"{self} has no heal ({scene})")


@dataclass(frozen=True)
class Delay(LinkFault):
    """While held bytes and ends come ``ms`` later, give or take ``jitter_ms`` (seeded), always in order."""

    ms: float
    jitter_ms: float = 0.0
    way: Ways = "both"

    heals = True

    async def inject(self, scene: Scene) -> Landed:
        """Begin; the proof that it mattered comes with the heal."""
        count = await scene.links.delay(self.link, self.way, self.ms, self.jitter_ms)
        return Landed(f"{self.link}: {self.ms:g} ms more {_in_words(self.way)}; {count} connections open")

    async def heal(self, scene: Scene) -> str:
        """End it; the proof is how many bytes came late.

        Raises:
            FaultDidNotLand: none passed.
        """
        return _passed(self.link, await scene.links.unshape(self.link, self.way, "delay"), "late")


@dataclass(frozen=True)
class Throttle(LinkFault):
    """While held no connection carries more than ``bytes_per_s``, per direction; the sender feels it."""

    bytes_per_s: float
    way: Ways = "both"

    heals = True

    async def inject(self, scene: Scene) -> Landed:
        """Begin; the proof that it mattered comes with the heal."""
        count = await scene.links.throttle(self.link, self.way, self.bytes_per_s)
        return Landed(f"{self.link}: {self.bytes_per_s:g} bytes/s {_in_words(self.way)}; {count} connections open")

    async def heal(self, scene: Scene) -> str:
        """End it; the proof is how many bytes came through the slow line.

        Raises:
            FaultDidNotLand: none passed.
        """
        return _passed(self.link, await scene.links.unshape(self.link, self.way, "rate"), "slowly")


@dataclass(frozen=True)
class CutAfter(LinkFault):
    """The first connection that carries so many bytes, or messages, from now on is reset, right behind the last."""

    way: Way
    bytes: int = field(default=0, kw_only=True)
    messages: int = field(default=0, kw_only=True)
    within_s: float = field(default=20.0, kw_only=True, repr=False)

    heals = False

    def __post_init__(self) -> None:
        """Want one of the two counts."""
        if (self.bytes > 0) == (self.messages > 0):
            raise ValueError("CutAfter: expected bytes or messages, from 1 on")

    async def inject(self, scene: Scene) -> Landed:
        """Wait until it has happened.

        Raises:
            FaultDidNotLand: it did not within ``within_s``.
        """
        what = f"{self.bytes} bytes" if self.bytes else f"{self.messages} messages"
        try:
            conn = await (self._after_bytes(scene) if self.bytes else self._after_messages(scene))
        except StartFailed as error:
            raise FaultDidNotLand(
                f"no connection of {self.link} carried {what} {self.way} within {self.within_s:g} s"
            ) from error
        return Landed(f"{self.link}: connection {conn} reset behind {what} {self.way}")

    async def _after_bytes(self, scene: Scene) -> int:
        return await scene.links.cut_after(self.link, self.way, self.bytes, within_s=self.within_s)

    async def _after_messages(self, scene: Scene) -> int:
        links = scene.links
        number = await links.arm(
            self.link, nth(message(), self.messages), before=False, hold=False, act="cut", way=self.way
        )
        try:
            return int((await links.fired(self.link, number, within_s=self.within_s))["conn"])
        finally:
            await links.disarm(self.link, number)

    async def heal(self, scene: Scene) -> str:
        """Nothing to undo: whoever wants a connection dials."""
        raise FaultDidNotLand(f"{self} has no heal ({scene})")


def _in_words(way: Ways) -> str:
    return "either way" if way == "both" else way


def _passed(link: str, count: int, how: str) -> str:
    if not count:
        raise FaultDidNotLand(f"idle link: no byte passed {link}")
    return f"{link}: {count} bytes came {how}"
