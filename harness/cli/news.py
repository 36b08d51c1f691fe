"""Which events are news to somebody who watches a run, and the line each gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from harness import events as ev

TELLING = ("rig", "janitor")
"""Whose notes are news; those of the others are for whoever looks into the records."""

_LINES: Final[dict[type[ev.Event], Callable[[Any], str]]] = {
    ev.RunStarted: lambda e: f"{e.scenario} on {e.system}, profile {e.profile}, seed {e.seed}",
    ev.StackReady: lambda e: f"everything is up after {e.took_s:.2f} s",
    ev.Step: lambda e: e.text,
    ev.DeclaredWait: lambda e: f"waiting {e.seconds:.1f} s: {e.why}",
    ev.SteadyReached: lambda e: f"steady for {e.for_s:.1f} s",
    ev.SteadyFailed: lambda e: f"never steady: {e.reason}",
    ev.Injected: lambda e: f"Injected {e.fault}: {e.proof}",
    ev.Healed: lambda e: f"Healed {e.fault}: {e.proof}",
    ev.FaultFailed: lambda e: f"{e.fault} did not land: {e.reason}",
    ev.Gate: lambda e: f"zombie: {e.outcome} ({e.detail})" if e.detail else f"zombie: {e.outcome}",
    ev.RoomReconnecting: lambda e: f"the phone of {e.person} lost its room, and its media library resumes",
    ev.RoomReconnected: lambda e: f"the phone of {e.person} has its room back",
    ev.Anchor: lambda e: f"captions are owed to {e.person} from here on: {e.name}",
    ev.SteadyAgain: lambda e: f"captions of {e.person} flow again",
    ev.RecoveryMissed: lambda e: f"no recovery: {e.reason}",
    ev.StoryRaised: lambda e: f"the story raised: {e.error}",
    ev.Leftover: lambda e: f"left over: {e.what}",
    ev.OursExited: lambda e: f"{e.process} of the harness itself ended ({e.exit_text})",
}


def sentence(event: ev.AnyEvent) -> str | None:
    """Return the line for an event, or None for what is not news."""
    if isinstance(event, ev.ComponentExited):
        whose = "" if event.machine else " outside any fault"
        return None if event.by_us else f"{event.component} {event.exit_text}{whose}"
    if isinstance(event, ev.ContainerEvent):
        return f"{event.component}: something in it was killed for want of memory" if event.action == "oom" else None
    if isinstance(event, ev.Note):
        return event.text if event.proc in TELLING else None
    line = _LINES.get(type(event))
    return line(event) if line is not None else None
