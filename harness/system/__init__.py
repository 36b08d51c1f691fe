"""A system as data: components, links, ears and timers, read from ``fixtures/systems/*.toml``."""

from harness.system.values import Address, Component, Link, Places, Profile, Ready, Resolved, System

__all__ = ["Address", "Component", "Link", "Places", "Profile", "Ready", "Resolved", "System"]
