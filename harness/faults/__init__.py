"""A fault is one way to hurt the system, as a frozen value: a target, a blast radius, proof, a heal.

Held faults are entered with ``async with r.fault(...)``, one-shot faults (and held ones that heal at once) with
``await r.strike(...)``. What a fault may touch of the rig is the :class:`Scene`.
"""

from harness.faults.base import Fault, Landed, Scene
from harness.faults.ears import AppCrash
from harness.faults.network import Cut, NetDisconnect, NetDrop, Refuse
from harness.faults.phone import Asleep, Flapping, ForceQuit, SecondSocket, SocketClosed, SocketDropped
from harness.faults.process import Down, Kill, Pause, Restart, Terminate, Vanish
from harness.faults.session import PlantSession, SessionEnded
from harness.faults.together import Together
from harness.faults.trigger import Hang, Hold, When

__all__ = [
    "AppCrash", "Asleep", "Cut", "Down", "Fault", "Flapping", "ForceQuit", "Hang", "Hold", "Kill", "Landed",
    "NetDisconnect", "NetDrop", "Pause", "PlantSession", "Refuse", "Restart", "Scene", "SecondSocket", "SessionEnded", "SocketClosed",
    "SocketDropped", "Terminate", "Together", "Vanish", "When",
]  # fmt: skip
