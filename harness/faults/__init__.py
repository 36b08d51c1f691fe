"""A fault is one way to hurt the system, as a frozen value: a target, a blast radius, proof, a heal.

Held faults are entered with ``async with r.fault(...)``, one-shot faults (and held ones that heal at once) with
``await r.strike(...)``. What a fault may touch of the rig is the :class:`Scene`.
"""

from harness.faults.base import Fault, Landed, Scene
from harness.faults.ears import AppCrash, SttEndsEarly, WebhookHangs
from harness.faults.joins import ConnectionInit, JoinsToo
from harness.faults.links import Blackhole, CutAfter, Delay, HalfClose, Stall, Throttle
from harness.faults.media import Burst, Corrupt, Drop, Duplicate, Reorder
from harness.faults.network import Cut, NetDisconnect, NetDrop, Refuse
from harness.faults.phone import Asleep, Flapping, ForceQuit, SecondSocket, SocketClosed, SocketDropped, WentAway
from harness.faults.process import Down, Kill, Pause, Restart, Terminate, Vanish
from harness.faults.room import Kicked, OtherEnvironment, RoomDeleted, Simulated, TokenRunsOut
from harness.faults.session import OldStream, PlantSession, SecondStream, SessionEnded
from harness.faults.together import Together
from harness.faults.trigger import Hang, Hold, When

__all__ = [
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
    "OldStream",
    "OtherEnvironment",
    "Pause",
    "PlantSession",
    "Refuse",
    "Reorder",
    "Restart",
    "RoomDeleted",
    "Scene",
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
]  # fmt: skip
