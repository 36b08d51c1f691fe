"""Aftershock: proves that live captions come back. The names below are all that a scenario may import."""

from harness.checkers import alive, bounded_loss, clean, honest, intact, ordered, resumes, unique
from harness.errors import FaultDidNotLand, GuaranteeBroken, Inconclusive
from harness.faults import (
    Down,
    Fault,
    ForceQuit,
    Kill,
    Landed,
    Pause,
    PlantSession,
    Restart,
    SocketClosed,
    SocketDropped,
    Terminate,
    Vanish,
)
from harness.rig import Rig
from harness.story import scenario

__all__ = [
    "Down", "Fault", "FaultDidNotLand", "ForceQuit", "GuaranteeBroken", "Inconclusive", "Kill", "Landed", "Pause",
    "PlantSession", "Restart", "Rig", "SocketClosed", "SocketDropped", "Terminate", "Vanish", "alive", "bounded_loss",
    "clean", "honest", "intact", "ordered", "resumes", "scenario", "unique",
]  # fmt: skip
