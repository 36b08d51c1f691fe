"""What the families of :mod:`harness.checkers.diagnosis` look at: the run, what broke, and each hop since then."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from harness import events as ev
from harness.checkers.checklist import refusals, replacements
from harness.checkers.hearing import Hearing, HopState, hop_states
from harness.checkers.timeline import anchors, at, fault_windows, first_index_after, observed_end_ns, of_log
from harness.checkers.verdict import Evidence, Outcome, Verdict
from harness.checkers.wire import testimony
from harness.clock import SECOND_NS
from harness.frames import Flag, Hop
from harness.history import History

CAPTIONS = ("resumes", "honest", "bounded_loss", "timely", "contained")
"""The guarantees that break when captions do not come as they should."""
JOIN_FAILED = r"JoinRoom returned failure|JoinRoom RPC failed|Failed to start bridge subscriber|Bridge rejoin failed"
"""What a cloud's log says of a join that failed."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A run in which something is broken (or a green one, when looking for findings)."""

    history: History
    verdicts: Mapping[str, Verdict]

    def broken(self, *guarantees: str) -> bool:
        """Tell whether one of these guarantees is broken."""
        return any((v := self.verdicts.get(g)) is not None and v.outcome is Outcome.BROKEN for g in guarantees)

    @cached_property
    def from_ns(self) -> int:
        """Since when things are looked at: the last anchor, else the first fault, else the first word."""
        marks = anchors(self.history)
        if marks:
            return max(a.moment_ns for a in marks.values())
        windows = fault_windows(self.history)
        if windows:
            return windows[0].landed_ns
        talked = self.history.first(ev.Talking)
        return talked.t_ns if talked else self.history.start_ns

    @cached_property
    def struck_ns(self) -> int:
        """When the first fault began, else the start of the run."""
        return min((w.start_ns for w in fault_windows(self.history)), default=self.history.start_ns)

    @cached_property
    def until_ns(self) -> int:
        """Until when things are looked at: the end of draining, or of the record."""
        return observed_end_ns(self.history)

    @cached_property
    def hops(self) -> dict[str, HopState]:
        """What each hop heard since ``from_ns``; where captions came too late, until they were due."""
        return {s.hop: s for s in hop_states(self.history, self.from_ns, until_ns=self.due_ns)}

    @cached_property
    def due_ns(self) -> int | None:
        """When captions were due that came too late; None when they came in time, or never."""
        late = self.verdicts.get("resumes")
        declared = self.history.last(ev.Declared)
        within_s = [s.params["within_s"] for s in declared.checks if s.name == "resumes"] if declared else []
        if not within_s or late is None or late.outcome is not Outcome.BROKEN:
            return None
        came = next(s for s in hop_states(self.history, self.from_ns) if s.hop == "app-in")
        return self.from_ns + round(within_s[0] * SECOND_NS) if came.state is Hearing.HEARD else None

    @cached_property
    def silent_from(self) -> str | None:
        """The first hop that was silent, or None."""
        return next((s.hop for s in self.hops.values() if s.state is Hearing.SILENT), None)

    def heard(self, hop: str) -> bool:
        """Tell whether a hop heard what was spoken."""
        return self.hops[hop].state is Hearing.HEARD

    def silent(self, hop: str) -> bool:
        """Tell whether a hop, observed and with its ear open, heard nothing."""
        return self.hops[hop].state is Hearing.SILENT

    @property
    def nothing_from_bridge(self) -> bool:
        """Whether the bridge fell silent, as far as anybody saw: what was heard coming out of it is not its silence."""
        return self.silent_from in {"bridge-out", "cloud-in", "stt-in"} and not self.heard("bridge-out")

    def hop_proof(self) -> Evidence:
        """Return the hops in one line."""
        text = ", ".join(f"{s.hop} {s.state}" + (f" ({s.note})" if s.note else "") for s in self.hops.values())
        return at(self.history, self.from_ns, "hops", text)

    def log(self, component: str, pattern: str, since_ns: int = 0) -> list[ev.LogLine]:
        """Return the log lines of a component (by the beginning of its name) that match ``pattern``.

        A cloud or bridge whose log does not speak is heard on the wire (:mod:`harness.checkers.wire`).

        What came once the story was over, and parts were ended by the rig, tells of nothing.
        """
        found = self._matching.get((component, pattern))
        if found is None:
            known, log = re.compile(pattern, re.IGNORECASE), self._log_of(component)
            found = [line for line in log.perhaps(literals(pattern)) if known.search(line.text)]
            self._matching[component, pattern] = found
        return [line for line in found if since_ns <= line.t_ns <= self.until_ns]

    def _log_of(self, component: str) -> _Log:
        if component not in self._logs:
            lines = testimony(self.history)
            self._logs[component] = _Log([line for line in lines if line.component.startswith(component)])
        return self._logs[component]

    @cached_property
    def _logs(self) -> dict[str, _Log]:
        return {}

    @cached_property
    def _matching(self) -> dict[tuple[str, str], list[ev.LogLine]]:
        return {}

    def proof(self, *lines: ev.LogLine) -> tuple[Evidence, ...]:
        """Return log lines as evidence, three at most."""
        return tuple(of_log(self.history, line) for line in lines[:3])

    @cached_property
    def zombies(self) -> tuple[Evidence, ...]:
        """What the gate saw, if it saw a zombie."""
        return tuple(
            at(self.history, g.t_ns, "gate", f"{g.user}: {g.outcome} {g.detail}".rstrip())
            for g in self.history.all(ev.Gate) if g.outcome == "zombie"
        )  # fmt: skip

    @cached_property
    def unsent(self) -> str:
        """Why most of what was spoken since ``from_ns`` never left the phone: no room, microphone off, or empty."""
        said = self.history.at_hop(Hop.PHONE_OUT)
        said = said[said["index"] >= first_index_after(self.history, self.from_ns)]
        if self.due_ns is not None:
            said = said[said["index"] < first_index_after(self.history, self.due_ns)]
        flags = said["flags"]
        for flag, words in ((Flag.NO_ROOM, "no room"), (Flag.MIC_OFF, "microphone off")):
            if len(flags) and int(((flags & int(flag)) != 0).sum()) * 2 > len(flags):
                return words
        return ""

    def last_log(self, component: str, pattern: str) -> ev.LogLine | None:
        """Return the last log line since the first fault that matches, if any."""
        return next(reversed(self.log(component, pattern, self.struck_ns)), None)

    def silent_hops(self, from_ns: int, until_ns: int) -> set[str]:
        """Return the hops that were silent, observed and with their ears open, between two moments."""
        states = hop_states(self.history, from_ns, until_ns=until_ns)
        return {s.hop for s in states if s.state is Hearing.SILENT}

    @cached_property
    def refused(self) -> list[ev.LogLine]:
        """Log lines that refuse a join because a session exists; the cloud's own word for it comes second."""
        return refusals(self.history)

    @cached_property
    def replaced(self) -> list[ev.LogLine]:
        """Log lines that show a session being replaced."""
        return replacements(self.history)

    def fresh_when(self, line: ev.LogLine) -> bool:
        """Tell whether the cloud process that lived at ``line`` had neither joined nor reconnected anybody before."""
        starts = [
            s.t_ns for s in self.history.all(ev.ComponentStarted)
            if s.component.startswith("cloud") and s.t_ns <= line.t_ns
        ]  # fmt: skip
        born_ns = max(starts, default=self.history.start_ns)
        earlier = self.log("cloud", r"Reconnect: |Joined LiveKit room|Connected to LiveKit room via gRPC", born_ns)
        return not any(e.t_ns <= line.t_ns for e in earlier)

    @cached_property
    def acks(self) -> tuple[ev.PhoneMessage, ...]:
        """ACKs that promise LiveKit audio, since the first fault."""
        return tuple(
            m for m in self.history.all(ev.PhoneMessage)
            if m.type == "connection_ack" and "livekit" in m.body and m.t_ns >= self.struck_ns
        )  # fmt: skip


class _Log:
    """The lines of a component, and all their texts as one: a soak has a million, and few that tell of anything."""

    def __init__(self, lines: list[ev.LogLine]) -> None:
        self.lines = lines
        texts = [line.text.lower() for line in lines]
        self._ends = list(accumulate(len(text) + 1 for text in texts))
        self._text = "\n".join(texts)

    def perhaps(self, words: list[str] | None) -> list[ev.LogLine]:
        """Return the lines that have one of these words, in order; all of them for None."""
        if words is None:
            return self.lines
        numbers: set[int] = set()
        for word in words:
            at_ = self._text.find(word)
            while at_ >= 0:
                number = bisect_right(self._ends, at_)
                numbers.add(number)
                at_ = self._text.find(word, self._ends[number])
        return [self.lines[number] for number in sorted(numbers)]


def literals(pattern: str) -> list[str] | None:
    """Return lower-case words of which a line that matches has one; None when the pattern is too rich to tell.

    Looking for a word is many times faster than a pattern that ignores case.
    """
    if set(pattern) & set("()[]{}\\"):
        return None
    words = [max(re.split(r".[?*]|[.+^$]", branch), key=len).lower() for branch in pattern.split("|")]
    return words if all(words) else None
