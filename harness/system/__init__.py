"""A system as data: components, links, ears and timers, read from ``fixtures/systems/*.toml``."""

from harness.addresses import Address
from harness.system.layers import known_systems
from harness.system.reading import load_system
from harness.system.starters import known_kinds, starter
from harness.system.templates import RIG_VALUES, made_secrets, resolve, uses
from harness.system.values import Component, Limits, Link, Places, Profile, Ready, Resolved, System

__all__ = [
    "RIG_VALUES",
    "Address",
    "Component",
    "Limits",
    "Link",
    "Places",
    "Profile",
    "Ready",
    "Resolved",
    "System",
    "known_kinds",
    "known_systems",
    "load_system",
    "made_secrets",
    "resolve",
    "starter",
    "uses",
]
