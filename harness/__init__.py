"""Aftershock: proves that live captions come back. The names below are all that a scenario may import."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.checkers import (
        alive,
        always,
        bounded_loss,
        clean,
        contained,
        honest,
        intact,
        ordered,
        resumes,
        timely,
        unique,
    )
    from harness.errors import FaultDidNotLand, GuaranteeBroken, Inconclusive
    from harness.faults import (
        AppCrash,
        Asleep,
        Blackhole,
        Burst,
        ConnectionInit,
        Corrupt,
        Cut,
        CutAfter,
        Delay,
        Down,
        Drop,
        Duplicate,
        Fault,
        Flapping,
        ForceQuit,
        HalfClose,
        Hang,
        Hold,
        JoinsToo,
        Kicked,
        Kill,
        Landed,
        NetDisconnect,
        NetDrop,
        OtherEnvironment,
        Pause,
        PlantSession,
        Refuse,
        Reorder,
        Restart,
        RoomDeleted,
        SecondSocket,
        SecondStream,
        SessionEnded,
        Simulated,
        SocketClosed,
        SocketDropped,
        Stall,
        SttEndsEarly,
        Terminate,
        Throttle,
        Together,
        TokenRunsOut,
        Vanish,
        WebhookHangs,
        WentAway,
        When,
    )
    from harness.moments import closed, message, nth, opened, reply, request, status
    from harness.rig import Rig, cycles
    from harness.story import scenario

__all__ = [
    "AppCrash", "Asleep", "Blackhole", "Burst", "ConnectionInit", "Corrupt", "Cut", "CutAfter", "Delay", "Down",
    "Drop", "Duplicate", "Fault", "FaultDidNotLand", "Flapping", "ForceQuit", "GuaranteeBroken", "HalfClose", "Hang",
    "Hold", "Inconclusive", "JoinsToo", "Kicked", "Kill", "Landed", "NetDisconnect", "NetDrop", "OtherEnvironment",
    "Pause", "PlantSession", "Refuse", "Reorder", "Restart", "Rig", "RoomDeleted", "SecondSocket", "SecondStream",
    "SessionEnded", "Simulated", "SocketClosed", "SocketDropped", "Stall", "SttEndsEarly", "Terminate", "Throttle",
    "Together", "TokenRunsOut", "Vanish", "WebhookHangs", "WentAway", "When", "alive", "always", "bounded_loss",
    "clean", "closed", "contained", "cycles", "honest", "intact", "message", "nth", "opened", "ordered", "reply",
    "request", "resumes", "scenario", "status", "timely", "unique",
]  # fmt: skip

_HOMES = {
    "harness.checkers": (
        "alive",
        "always",
        "bounded_loss",
        "clean",
        "contained",
        "honest",
        "intact",
        "ordered",
        "resumes",
        "timely",
        "unique",
    ),
    "harness.errors": ("FaultDidNotLand", "GuaranteeBroken", "Inconclusive"),
    "harness.faults": (
        "AppCrash",
        "Asleep",
        "Blackhole",
        "Burst",
        "ConnectionInit",
        "Corrupt",
        "Cut",
        "CutAfter",
        "Delay",
        "Down",
        "Drop",
        "Duplicate",
        "Fault",
        "Flapping",
        "ForceQuit",
        "HalfClose",
        "Hang",
        "Hold",
        "JoinsToo",
        "Kicked",
        "Kill",
        "Landed",
        "NetDisconnect",
        "NetDrop",
        "OtherEnvironment",
        "Pause",
        "PlantSession",
        "Refuse",
        "Reorder",
        "Restart",
        "RoomDeleted",
        "SecondSocket",
        "SecondStream",
        "SessionEnded",
        "Simulated",
        "SocketClosed",
        "SocketDropped",
        "Stall",
        "SttEndsEarly",
        "Terminate",
        "Throttle",
        "Together",
        "TokenRunsOut",
        "Vanish",
        "WebhookHangs",
        "WentAway",
        "When",
    ),
    "harness.moments": ("closed", "message", "nth", "opened", "reply", "request", "status"),
    "harness.rig": ("Rig", "cycles"),
    "harness.story": ("scenario",),
}


def __getattr__(name: str) -> object:
    """Import a scenario's name when it is first used.

    Every process of ours begins with this file, and most need nothing of the rig, which takes a second to import.
    """
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
