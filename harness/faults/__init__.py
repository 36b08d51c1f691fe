"""A fault is one way to hurt the system, as a frozen value: a target, a blast radius, proof, a heal.

Held faults are entered with ``async with r.fault(...)``, one-shot faults (and held ones that heal at once) with
``await r.strike(...)``. What a fault may touch of the rig is the :class:`Scene`.
"""

from harness.faults.base import Fault, Landed, Scene
from harness.faults.network import NetDisconnect, NetDrop
from harness.faults.phone import ForceQuit, SocketClosed, SocketDropped
from harness.faults.process import Down, Kill, Pause, Restart, Terminate, Vanish
from harness.faults.session import PlantSession

__all__ = [
    "Down", "Fault", "ForceQuit", "Kill", "Landed", "NetDisconnect", "NetDrop", "Pause", "PlantSession", "Restart",
    "Scene", "SocketClosed", "SocketDropped", "Terminate", "Vanish",
]  # fmt: skip
