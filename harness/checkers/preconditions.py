"""What must be true before anything is concluded; each reason found here makes a run UNKNOWN."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness import events as ev
from harness.checkers.timeline import Span, fault_windows, observed_end_ns, talk_end_ns
from harness.checkers.zombies import broken_promises
from harness.clock import MS_NS
from harness.frames import Hop
from harness.history import History

LAG_LIMIT_MS: Final = 500.0
"""A process of ours that was later than this may itself have caused what was seen."""

SILENT_MS: Final = 500
"""Audio that is heard for so long before, and not for so long after, stopped in that moment."""


def failed_preconditions(history: History) -> tuple[str, ...]:
    """Return why nothing can be concluded from this run, one sentence each; empty when judging is possible."""
    found = [
        *_raised(history), *_steadiness(history), *_faults(history), *broken_promises(history), *_lag(history),
        *_machine(history), *_ours(history), *_cut_short(history), *_nobody_spoke(history),
    ]  # fmt: skip
    return tuple(dict.fromkeys(found))


def _raised(history: History) -> Iterator[str]:
    told_below = bool(history.all(ev.SteadyFailed) or history.all(ev.FaultFailed))  # the same reason, in better words
    for raised in history.all(ev.StoryRaised):
        if told_below and not raised.machine:
            continue
        yield f"the {'machine or set-up' if raised.machine else 'story'} failed: {raised.error}"


def _steadiness(history: History) -> Iterator[str]:
    if history.run_started.baseline:
        return  # a baseline that never gets steady is broken, not unknown
    for failed in history.all(ev.SteadyFailed):
        yield f"not steady before the fault: {failed.reason}"
    declared = history.last(ev.Declared)
    if declared and declared.steady and not history.all(ev.SteadyReached) and not history.all(ev.SteadyFailed):
        yield "the story promises a steady state before the fault; none was recorded"


def _faults(history: History) -> Iterator[str]:
    failed = {e.number for e in history.all(ev.FaultFailed)}
    for lost in history.all(ev.FaultFailed):
        yield f"{lost.fault} has no proof: {lost.reason}"
    landed = {w.number: w for w in fault_windows(history)}
    for e in history.all(ev.Injecting):
        if e.number in failed:
            continue
        if e.number not in landed:
            yield f"{e.fault} began at {history.seconds(e.t_ns):.1f} s and never proved that it landed"
        elif e.held and landed[e.number].end_ns is None:
            yield f"{e.fault} landed and was never healed"


def _lag(history: History) -> Iterator[str]:
    """Weigh lag from the first thing that is judged (a dial, speech, a fault) until draining ended."""
    first_ns = min((e.t_ns for e in history.iter(ev.PhoneDialing, ev.Talking, ev.Injecting)), default=history.start_ns)
    dialed_ns = {e.proc: e.t_ns for e in reversed(history.all(ev.PhoneDialing))}
    worst: dict[str, tuple[float, int]] = {}
    for lag in history.all(ev.Lag):
        late = Span(lag.t_ns - int(lag.lag_ms * MS_NS), lag.t_ns)
        # A phone's process counts from its own first dial: before that it only imports.
        own_ns = dialed_ns.get(lag.proc, lag.t_ns) if lag.proc.startswith("phone") else first_ns
        judged = Span(max(first_ns, own_ns), observed_end_ns(history))
        if late.overlap_ns(judged) == 0:
            continue
        excused_ns = max(
            (
                late.overlap_ns(Span(w.start_ns, w.end_ns or history.end_ns))
                for w in fault_windows(history) if lag.proc in w.stops
            ),
            default=0,
        )  # fmt: skip
        own_ms = lag.lag_ms - excused_ns / MS_NS
        if own_ms > max(LAG_LIMIT_MS, worst.get(lag.proc, (0.0, 0))[0]):
            worst[lag.proc] = (own_ms, lag.t_ns)
    for proc, (own_ms, t_ns) in sorted(worst.items()):
        yield f"{proc} itself was {own_ms:.0f} ms late at {history.seconds(t_ns):.1f} s (limit {LAG_LIMIT_MS:.0f} ms)"


def lost_addresses(history: History) -> Iterator[str]:
    """Give a sentence for each address that was lost in the very moment in which audio stopped: media went by it.

    It excuses only what was broken for want of audio: what holds, holds in spite of it.
    """
    said_ns, heard_ns = (history.at_hop(hop)["t_ns"].astype("int64") for hop in (Hop.PHONE_OUT, Hop.CLOUD_IN))
    for lost in history.all(ev.AddressGone):
        before = (heard_ns > lost.t_ns - SILENT_MS * MS_NS) & (heard_ns <= lost.t_ns)
        until_ns = lost.t_ns + SILENT_MS * MS_NS
        after = (heard_ns > lost.t_ns) & (heard_ns <= until_ns)
        if before.any() and not after.any() and ((said_ns > lost.t_ns) & (said_ns <= until_ns)).any():
            yield (
                f"this machine lost the address {lost.address} at {history.seconds(lost.t_ns):.1f} s, "
                "and audio stopped with it (as when a container network of somebody else's ends)"
            )


def _machine(history: History) -> Iterator[str]:
    for e in history.all(ev.ComponentExited):
        if e.machine:
            yield f"the machine ended {e.component} at {history.seconds(e.t_ns):.1f} s: it {e.exit_text}"


def _ours(history: History) -> Iterator[str]:
    for e in history.all(ev.OursExited):
        yield f"{e.process} itself ended at {history.seconds(e.t_ns):.1f} s ({e.exit_text})"


def _cut_short(history: History) -> Iterator[str]:
    """A complete record has the declared guarantees and the end of the teardown; a story that raised says so itself."""
    if _never_flowed(history) or any(history.all(kind) for kind in (ev.StoryRaised, ev.SteadyFailed, ev.FaultFailed)):
        return  # its end is explained
    if history.last(ev.Declared) is None or history.last(ev.RunEnded) is None:
        after = "; ".join(note.text for note in history.all(ev.Note) if note.proc == "janitor")
        yield f"the run was cut short at {_last_seen_s(history):.1f} s" + (f" (its janitor: {after})" if after else "")


def _last_seen_s(history: History) -> float:
    """Return when the run itself was last heard of; what its janitor wrote came after its end."""
    return history.seconds(max((e.t_ns for e in history.events if e.proc != "janitor"), default=history.end_ns))


def _nobody_spoke(history: History) -> Iterator[str]:
    if _never_flowed(history):
        return
    said_ns = history.at_hop(Hop.PHONE_OUT)["t_ns"]
    if len(said_ns) == 0:
        if not any(raised.machine for raised in history.all(ev.StoryRaised)):  # what did not start was not spoken to
            yield "nobody spoke during the run"
        return
    windows = fault_windows(history)
    if not windows:
        return
    landed_ns = windows[0].landed_ns
    # The impact ends when recovery was seen, not at the utterance it began with: a reopened phone speaks only then.
    again = [s.t_ns for s in history.all(ev.SteadyAgain) if s.t_ns > landed_ns]
    end_ns = max(again, default=talk_end_ns(history))
    if not ((said_ns >= landed_ns) & (said_ns <= end_ns)).any():
        yield "nobody spoke during the impact, so nothing could be lost or resumed"


def _never_flowed(history: History) -> bool:
    return history.run_started.baseline and bool(history.all(ev.SteadyFailed))
