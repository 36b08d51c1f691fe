"""Whom and what a fault may touch: the people and components inside its blast, and those outside of every one."""

from __future__ import annotations

from collections.abc import Iterable

from harness import events as ev
from harness.history import History


def people(history: History) -> set[str]:
    """Return everybody who had a phone."""
    kinds = (ev.PhoneDialing, ev.PhoneSocketOpen, ev.Talking)
    return {str(e.person) for e in history.iter(*kinds)}  # type: ignore[union-attr]  # all three have one


def same_user(history: History, person: str) -> set[str]:
    """Return the people who share this person's room: one user with several phones."""
    rooms: dict[str, set[str]] = {}
    for e in history.all(ev.RoomConnected):
        rooms.setdefault(e.room, set()).add(e.person)
    return {person}.union(*(those for those in rooms.values() if person in those))


def outsiders(history: History) -> set[str]:
    """Return the people whom no fault of the run may touch; nobody when a fault hits a part that all share.

    Whatever a blast names that is no person (a component, a link) lies on everybody's path: there is one cloud, one
    bridge and one LiveKit in a run.
    """
    everybody = people(history)
    named = {name for e in history.all(ev.Injecting) for name in e.blast}
    if not named or not named <= everybody:
        return set()
    return {p for p in everybody if not same_user(history, p) & named}


def blasts_before(history: History, t_ns: int) -> set[str]:
    """Return every name in the blast of a fault that began before this moment."""
    return {name for e in history.all(ev.Injecting) if e.t_ns <= t_ns for name in e.blast}


def listed(names: Iterable[str]) -> str:
    """Return names for a sentence: ``alice, bob``."""
    return ", ".join(sorted(names))
