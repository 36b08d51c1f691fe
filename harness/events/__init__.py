"""What can happen in a run: one frozen record per kind of event, as it stands in ``events/<proc>.jsonl``.

Every event carries ``v`` (schema), ``t_ns`` (CLOCK_MONOTONIC), ``run`` and ``proc`` (who wrote it); ``kind`` is the
tag. Events are few and rich; who was heard where and when is in :mod:`harness.frames`.
"""

from __future__ import annotations

from typing import Union

import msgspec

from harness.events.base import SCHEMA, Event
from harness.events.common import (
    AddressGone,
    Damaged,
    EarDeaf,
    EarHearing,
    Lag,
    Note,
    OursExited,
)
from harness.events.ears import (
    AppSocketClosed,
    AppSocketOpen,
    AppSubscribed,
    AppWebhook,
    Caption,
    Misheard,
    SttClosed,
    SttKeepalive,
    SttOpened,
)
from harness.events.links import (
    LinkClosed,
    LinkOpened,
    LinkRefused,
)
from harness.events.phone import (
    MicState,
    OldSocketClosed,
    PhoneDialFailed,
    PhoneDialing,
    PhoneMessage,
    PhoneSocketClosed,
    PhoneSocketOpen,
    RoomConnected,
    RoomDialFailed,
    RoomDialing,
    RoomLeft,
    RoomLost,
    RoomReconnected,
    RoomReconnecting,
    Talking,
)
from harness.events.rig import (
    Anchor,
    BridgeRead,
    CheckSpec,
    ComponentExited,
    ComponentIgnoredTerm,
    ComponentReady,
    ComponentStarted,
    Connected,
    ContainerEvent,
    CycleDone,
    Declared,
    DeclaredWait,
    Drained,
    FaultFailed,
    ForeignStream,
    Gate,
    Healed,
    Healing,
    HealthRead,
    Injected,
    Injecting,
    Kept,
    KnownIncident,
    Leftover,
    LogLine,
    RecoveryMissed,
    RoomRead,
    RunEnded,
    RunStarted,
    Sample,
    StackReady,
    SteadyAgain,
    SteadyFailed,
    SteadyReached,
    Step,
    StoppedTalking,
    StoryRaised,
    Tested,
)
from harness.events.wire import (
    Armed,
    Fired,
    PacketHurt,
    WireSaid,
    WireUnreadable,
)

__all__ = [
    "SCHEMA",
    "AddressGone",
    "Anchor",
    "AnyEvent",
    "AppSocketClosed",
    "AppSocketOpen",
    "AppSubscribed",
    "AppWebhook",
    "Armed",
    "BridgeRead",
    "Caption",
    "CheckSpec",
    "ComponentExited",
    "ComponentIgnoredTerm",
    "ComponentReady",
    "ComponentStarted",
    "Connected",
    "ContainerEvent",
    "CycleDone",
    "Damaged",
    "Declared",
    "DeclaredWait",
    "Drained",
    "EarDeaf",
    "EarHearing",
    "Event",
    "FaultFailed",
    "Fired",
    "ForeignStream",
    "Gate",
    "Healed",
    "Healing",
    "HealthRead",
    "Injected",
    "Injecting",
    "Kept",
    "KnownIncident",
    "Lag",
    "Leftover",
    "LinkClosed",
    "LinkOpened",
    "LinkRefused",
    "LogLine",
    "MicState",
    "Misheard",
    "Note",
    "OldSocketClosed",
    "OursExited",
    "PacketHurt",
    "PhoneDialFailed",
    "PhoneDialing",
    "PhoneMessage",
    "PhoneSocketClosed",
    "PhoneSocketOpen",
    "RecoveryMissed",
    "RoomConnected",
    "RoomDialFailed",
    "RoomDialing",
    "RoomLeft",
    "RoomLost",
    "RoomRead",
    "RoomReconnected",
    "RoomReconnecting",
    "RunEnded",
    "RunStarted",
    "Sample",
    "StackReady",
    "SteadyAgain",
    "SteadyFailed",
    "SteadyReached",
    "Step",
    "StoppedTalking",
    "StoryRaised",
    "SttClosed",
    "SttKeepalive",
    "SttOpened",
    "Talking",
    "Tested",
    "WireSaid",
    "WireUnreadable",
    "decode",
    "encode",
]  # fmt: skip

AnyEvent = Union[  # noqa: UP007  msgspec reads the union at run time
    RunStarted, Tested, ComponentStarted, ComponentReady, ComponentExited, ComponentIgnoredTerm, ContainerEvent,
    StackReady, LogLine, Step, DeclaredWait, SteadyReached, SteadyFailed, Injecting, Injected, Healing, Healed,
    FaultFailed, Gate, ForeignStream, Anchor, SteadyAgain, RecoveryMissed, HealthRead, BridgeRead, RoomRead, Connected,
    StoppedTalking, Drained, Declared, StoryRaised, Leftover, RunEnded, Kept, Lag, AddressGone, Note, Damaged, EarDeaf,
    EarHearing, OursExited, PhoneDialing, PhoneDialFailed, PhoneSocketOpen, PhoneSocketClosed, OldSocketClosed,
    PhoneMessage, RoomDialing, RoomConnected, RoomDialFailed, RoomLost, RoomReconnecting,
    RoomReconnected, RoomLeft, Talking, MicState, Caption,
    SttOpened, SttKeepalive, SttClosed, AppWebhook, AppSocketOpen, AppSocketClosed, AppSubscribed, Misheard,
    CycleDone, Sample, LinkOpened, LinkRefused, LinkClosed, WireSaid, WireUnreadable, PacketHurt, Armed, Fired,
]  # fmt: skip

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


def encode(event: Event) -> bytes:
    """Return the event as one JSON line, newline included."""
    return _encoder.encode(event) + b"\n"


def decode(line: bytes) -> AnyEvent:
    """Return the event of one JSON line.

    Raises:
        msgspec.DecodeError: the line is no event of this schema.
    """
    return _decoder.decode(line)
