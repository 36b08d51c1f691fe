"""Faults on a phone's audio packets, between microphone and media engine, before they are encrypted.

Held faults: what they do is chosen by ``share`` (by chance, repeated by the run's seed), ``every`` (each n-th packet)
or ``pattern`` (of 1 = hurt and 0 = not, repeated). Each packet that is hurt is written down before it goes on, so what
was lost on purpose can be told from what the system lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from harness.control import ControlError
from harness.errors import FaultDidNotLand, StartFailed
from harness.events.wire import PACKETS_OF
from harness.faults.base import Landed, PhoneFault, PhoneHandle, Scene

HEALS_WITHIN_S = 20.0
"""Handing over what was held takes a moment for each second of speech."""


@dataclass(frozen=True)
class _PacketFault(PhoneFault):
    heals = True

    @property
    def target(self) -> str:
        return f"{PACKETS_OF}{self.person}"

    def _request(self) -> dict[str, Any]:
        raise NotImplementedError

    async def inject(self, scene: Scene) -> Landed:
        """Let the phone do so to its packets from now on; the proof is the seed that repeats its choices."""
        phone = scene.person(self.person)
        told = await _asked(phone, "hurt", name=str(self), **self._request())
        return Landed(f"{phone.name}'s packets go through {self} from now on (seed {told['seed']})")

    async def heal(self, scene: Scene) -> str:
        """Let packets be; the proof is how many were hurt.

        Raises:
            FaultDidNotLand: none was.
        """
        phone = scene.person(self.person)
        packets = int((await _asked(phone, "heal", name=str(self), within_s=HEALS_WITHIN_S))["packets"])
        if not packets:
            raise FaultDidNotLand(f"none of {phone.name}'s packets was hurt while it was held")
        return f"{packets} of {phone.name}'s packets were hurt"


@dataclass(frozen=True)
class _ChosenPackets(_PacketFault):
    share: float | None = None
    every: int | None = None
    pattern: str | None = None

    def __str__(self) -> str:
        """Return it without a pattern longer than a line."""
        chosen = {"share": self.share, "every": self.every, "pattern": self.pattern}
        by = ", ".join(f"{name}={_short(value)}" for name, value in chosen.items() if value is not None)
        extra = "".join(f", {name}={value}" for name, value in self._extra().items())
        return f"{type(self).__name__}({self.person}, {by}{extra})"

    def _extra(self) -> dict[str, Any]:
        return {}

    def _request(self) -> dict[str, Any]:
        return {"how": type(self).__name__.lower(), **self._choice(), **self._extra()}

    def _choice(self) -> dict[str, Any]:
        return {"share": self.share, "every": self.every, "pattern": self.pattern}


@dataclass(frozen=True)
class Drop(_ChosenPackets):
    """The chosen packets never leave the phone; their numbers are missing."""


@dataclass(frozen=True)
class Duplicate(_ChosenPackets):
    """The chosen packets are sent ``copies`` times more, one behind the other, with the same number."""

    copies: int = 1

    def _extra(self) -> dict[str, Any]:
        return {"copies": self.copies}


@dataclass(frozen=True)
class Reorder(_ChosenPackets):
    """The chosen packets are sent only after ``by`` others have overtaken them."""

    by: int = 1

    def _extra(self) -> dict[str, Any]:
        return {"by": self.by}


@dataclass(frozen=True)
class Corrupt(_ChosenPackets):
    """The chosen packets have wrong bytes in each frame, one byte more at the end, or each sample's bytes exchanged."""

    how: Literal["bytes", "odd-byte", "swapped"] = "bytes"

    def _extra(self) -> dict[str, Any]:
        return {"how": self.how}


@dataclass(frozen=True)
class Burst(_PacketFault):
    """All packets are held for ``held_s``, then sent at once, in order: nothing is lost, and all of it is late.

    For ``r.strike(Burst(...))``; held for a block, the block's own time comes on top.
    """

    held_s: float

    def _request(self) -> dict[str, Any]:
        return {"how": "hold"}

    async def heal(self, scene: Scene) -> str:
        """Wait until so much is held, and send it; the proof is how many packets it was."""
        await scene.let_time_pass(self.held_s, f"the packets of {self.held_s:g} s come at once")
        return await super().heal(scene)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:20]}… ({len(text)} packets)"


async def _asked(phone: PhoneHandle, verb: str, **fields: Any) -> Any:
    if not phone.is_there():
        raise FaultDidNotLand(f"the process of {phone.name}'s phone is gone")
    try:
        return await phone.ask(verb, **fields)
    except (ControlError, StartFailed) as error:
        raise FaultDidNotLand(str(error)) from error
