"""What becomes of an audio packet between the microphone and the media engine: before DTLS, so a fault can choose it.

Each held fault is a stage; packets pass the stages in the order in which the faults came. A packet that one fault hurt
is left alone by all others (it may be held up with the rest), so what was done to it can be counted exactly.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Protocol

import msgspec
import numpy as np

from harness import events as ev
from harness.clock import SECOND_NS, now_ns
from harness.errors import SettingsError
from harness.phone.configuration import PhoneConfiguration
from harness.speech import FRAME_BYTES, FRAME_MS
from harness.waiting import pause

ROOM_AGAIN_S: Final = 0.005
"""How often an engine that is full is asked again, while held packets wait for it."""
GIVE_UP_NS: Final = 2 * SECOND_NS
"""A room that takes nothing for so long is lost; what waits for it would be stale in the next one."""
WRONG_BYTES: Final = 4
"""Of each frame of a packet that is corrupted; one would do, as a frame must be right in all of its 640."""
SEQUENCE_BYTES: Final = 1


class HurtRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one fault does to packets; exactly one of share, every and pattern chooses them."""

    name: str
    """Of the fault; equal ones may be held at once."""
    how: Literal["drop", "duplicate", "reorder", "bytes", "odd-byte", "swapped", "hold"]
    share: float | None = None
    every: int | None = None
    pattern: str | None = None
    copies: int = 1
    by: int = 1


def read_hurt(fields: dict[str, Any]) -> HurtRequest:
    """Return what a ``hurt`` request asks for.

    Raises:
        SettingsError: a field is missing, unknown or of the wrong kind.
    """
    try:
        return msgspec.convert(fields, HurtRequest)
    except msgspec.ValidationError as error:
        raise SettingsError("the fields of a hurt request", str(error), "correct that field") from None


@dataclass(frozen=True)
class Packet:
    """One audio packet: sequence byte and PCM, the frames in it, and what to call when it was sent."""

    payload: bytes
    first_index: int
    frames: int
    on_sent: Callable[[], None]
    hurt: bool = False
    held_by: _Reorder | None = None
    """Which fault let others pass; whether any really came before it is seen at the end of the path."""


@dataclass
class Choice:
    """Says of each packet whether it is meant: by chance, every n-th, or by a pattern of 1 and 0 that repeats."""

    share: float | None
    every: int | None
    pattern: str | None
    chance: random.Random
    seen: int = 0

    def meant(self) -> bool:
        """Decide over the next packet."""
        self.seen += 1
        if self.share is not None:
            return self.chance.random() < self.share
        if self.every is not None:
            return self.seen % self.every == 0
        assert self.pattern is not None, "one of the three is there"
        return self.pattern[(self.seen - 1) % len(self.pattern)] == "1"


class Stage(Protocol):
    """One fault at work."""

    packets: int
    """How many packets it hurt (or held)."""

    def take(self, packet: Packet) -> list[Packet]:
        """Return what goes on now in its place."""

    def flush(self) -> list[Packet]:
        """Return what it still holds, for the end."""


Tell = Callable[[Packet, str, int], None]
"""Writes down what is done to a packet, and how many copies it makes, before it goes on."""


class _Hurt:
    """Drops, doubles, or changes the packets that are chosen."""

    def __init__(self, request: HurtRequest, chance: random.Random, tell: Tell) -> None:
        self._request, self._chance, self._tell = request, chance, tell
        self._choice = Choice(request.share, request.every, request.pattern, chance)
        self.packets = 0

    def take(self, packet: Packet) -> list[Packet]:
        if packet.hurt or not self._choice.meant():
            return [packet]
        self.packets += 1
        hurt, how = replace(packet, hurt=True), self._request.how
        if how == "drop":
            self._tell(packet, "dropped", 0)
            return []
        if how == "duplicate":
            self._tell(packet, "duplicated", self._request.copies)
            return [hurt] * (1 + self._request.copies)
        self._tell(packet, {"bytes": "corrupted", "odd-byte": "odd", "swapped": "swapped"}[how], 0)
        return [replace(hurt, payload=changed(packet.payload, how, self._chance))]

    def flush(self) -> list[Packet]:
        return []


class _Reorder:
    """Holds each packet that is chosen until ``by`` others have overtaken it."""

    def __init__(self, request: HurtRequest, chance: random.Random) -> None:
        self._by = request.by
        self._choice = Choice(request.share, request.every, request.pattern, chance)
        self._held: deque[tuple[Packet, int]] = deque()  # and how many had passed when it came
        self._passed = 0
        self.packets = 0

    def take(self, packet: Packet) -> list[Packet]:
        if not packet.hurt and self._choice.meant():
            self._held.append((packet, self._passed))
            return []
        self._passed += 1
        out = [packet]
        while self._held and self._passed - self._held[0][1] >= self._by:
            out += self._let_go()
        return out

    def flush(self) -> list[Packet]:
        """Let go what waits."""
        out: list[Packet] = []
        while self._held:
            out += self._let_go()
        return out

    def _let_go(self) -> list[Packet]:
        packet, since = self._held.popleft()
        return [packet if self._passed == since else replace(packet, hurt=True, held_by=self)]


class _Hold:
    """Holds every packet until it is flushed."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._held: list[Packet] = []
        self.packets = 0

    def take(self, packet: Packet) -> list[Packet]:
        self._tell(packet, "held", 0)
        self.packets += 1
        self._held.append(packet)
        return []

    def flush(self) -> list[Packet]:
        held, self._held = self._held, []
        return held


class PacketPath:
    """The way of a phone's packets to its engine, and the faults that stand on it."""

    def __init__(
        self, configuration: PhoneConfiguration, emit: Callable[[ev.Event], None], can_send: Callable[[], bool],
        send: Callable[[bytes, Callable[[], None]], None],
    ) -> None:  # fmt: skip
        """Hurt nothing yet; ``send`` takes payload and on_sent, ``can_send`` tells whether it would now."""
        self._configuration, self._emit, self._can_send, self._send = configuration, emit, can_send, send
        self._stages: list[tuple[str, Stage]] = []
        self._numbers = 0
        self._late: deque[Packet] = deque()
        self._newest = -1
        """The first frame of the newest packet that went on."""
        self._sender: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> bool:
        """Tell whether packets that a fault held are on their way out: what is spoken now goes behind them."""
        return self._sender is not None

    def put(self, packet: Packet) -> None:
        """Take a packet of the microphone's; without faults it goes on in the same step."""
        self._go_on(self._through([packet], [stage for _, stage in self._stages]))

    def hurt(self, request: HurtRequest) -> dict[str, Any]:
        """Begin a fault; return the ``seed`` that repeats its choices.

        Raises:
            SettingsError: the choice is not exactly one, or this phone's packets cannot be told apart.
        """
        self._check(request)
        self._numbers += 1
        seed = f"{self._configuration.seed}/{self._configuration.person}/{self._numbers}"
        chance = random.Random(seed)
        stage: Stage
        if request.how == "hold":
            stage = _Hold(self._tell)
        elif request.how == "reorder":
            stage = _Reorder(request, chance)
        else:
            stage = _Hurt(request, chance, self._tell)
        self._stages.append((request.name, stage))
        return {"seed": seed}

    async def heal(self, name: str) -> dict[str, Any]:
        """End the last fault of this name; return how many ``packets`` it hurt, once all it held is handed over.

        Raises:
            SettingsError: there is no such fault: the phone was opened anew since.
        """
        place = next((i for i in reversed(range(len(self._stages))) if self._stages[i][0] == name), None)
        if place is None:
            raise SettingsError("a fault that this phone has", name, "heal it before the phone is force-quit")
        _, stage = self._stages.pop(place)
        self._go_on(self._through(stage.flush(), [behind for _, behind in self._stages[place:]]))
        if self._sender is not None:
            await asyncio.wait({self._sender})
        return {"packets": stage.packets}

    def _through(self, packets: list[Packet], stages: list[Stage]) -> list[Packet]:
        for stage in stages:
            packets = [out for packet in packets for out in stage.take(packet)]
        return packets

    def _go_on(self, packets: list[Packet]) -> None:
        for packet in packets:
            # Those that overtook it may have been dropped since: then it is in its place, and not hurt.
            if packet.held_by is not None and packet.first_index < self._newest:
                packet.held_by.packets += 1
                self._tell(packet, "reordered", 0)
            self._newest = max(self._newest, packet.first_index)
        self._late += packets
        while self._late and self._sender is None and self._can_send():
            self._hand_over()
        if self._late and self._sender is None:
            self._sender = asyncio.create_task(self._send_late(), name="held packets")

    async def _send_late(self) -> None:
        """Hand over what the engine had no room for at once, in order; what cannot be sent in time is dropped."""
        give_up_ns = now_ns() + GIVE_UP_NS
        try:
            while self._late:
                if self._can_send():
                    self._hand_over()
                    give_up_ns = now_ns() + GIVE_UP_NS
                elif now_ns() > give_up_ns:
                    self._tell(self._late.popleft(), "dropped", 0)
                else:
                    await pause(ROOM_AGAIN_S, why="the engine's queue is full")
        finally:
            self._sender = None

    def _hand_over(self) -> None:
        packet = self._late.popleft()
        self._send(packet.payload, packet.on_sent)

    def _tell(self, packet: Packet, how: str, copies: int) -> None:
        self._emit(
            ev.PacketHurt(
                person=self._configuration.person, speaker=self._configuration.speaker, how=how,
                first_index=packet.first_index, frames=packet.frames, copies=copies,
            )
        )  # fmt: skip

    def _check(self, request: HurtRequest) -> None:
        chosen = [request.share is not None, request.every is not None, request.pattern is not None]
        if request.how != "hold" and sum(chosen) != 1:
            raise SettingsError("exactly one of share, every and pattern", f"{sum(chosen)} of them", "name one")
        if request.pattern is not None and (not request.pattern or set(request.pattern) - {"0", "1"}):
            raise SettingsError("a pattern of 1 (hurt) and 0 (not)", repr(request.pattern), "write it as '1101'")
        if request.share is not None and not 0 < request.share <= 1:
            raise SettingsError("a share above 0, up to 1", f"{request.share:g}", "write 0.05 for 5 %")
        if (request.every if request.every is not None else 1) < 1 or request.copies < 1 or request.by < 1:
            raise SettingsError("every, copies and by from 1 on", str(request), "raise them")
        if self._configuration.fallback:
            raise SettingsError("a phone without fallback", "fallback on", "hurt the packets of one that has none")
        if self._configuration.packet_ms % FRAME_MS:
            raise SettingsError(
                "packets of whole frames", f"{self._configuration.packet_ms} ms", "use packet_ms 20, 40 or 100"
            )


def changed(payload: bytes, how: str, chance: random.Random) -> bytes:
    """Return a packet with wrong bytes in each frame, one byte more at its end, or both bytes of each sample exchanged.

    The sequence byte stays as it is.
    """
    sequence, pcm = payload[:SEQUENCE_BYTES], payload[SEQUENCE_BYTES:]
    if how == "odd-byte":
        return payload + bytes((chance.randrange(256),))
    samples = np.frombuffer(pcm, np.uint8).copy()
    if how == "swapped":
        return sequence + samples.view("<u2").byteswap().tobytes()
    for begin in range(0, len(samples), FRAME_BYTES):
        places = chance.sample(range(begin, min(begin + FRAME_BYTES, len(samples))), WRONG_BYTES)
        samples[places] ^= chance.randrange(1, 256)
    return sequence + samples.tobytes()
