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
    """Return the people who are one user with several phones: dialed as one.

    In records that do not say as whom a phone dialed, those who met in one room.
    """
    users = {(e.person, e.user) for e in history.all(ev.PhoneDialing) if e.user}
    met = {(e.person, e.room) for e in history.all(ev.RoomConnected)}
    pairs = users or met
    mine = {group for who, group in pairs if who == person}
    return {person} | {who for who, group in pairs if group in mine}


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
