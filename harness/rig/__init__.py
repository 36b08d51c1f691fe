"""The rig: everything started for one scenario, and the words a story is told in."""

from harness.rig.budgets import Budgets
from harness.rig.cycling import cycles
from harness.rig.options import RigOptions
from harness.rig.people import Person, PhoneSettings
from harness.rig.rig import Rig

__all__ = ["Budgets", "Person", "PhoneSettings", "Rig", "RigOptions", "cycles"]
