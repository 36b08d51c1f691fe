"""What the zombie gate saw, in words, and whether the promised zombie was still there when the next cloud joined."""

from __future__ import annotations

from collections.abc import Iterator

from harness import events as ev
from harness.checkers.checklist import CLOSING, JOINED, JOINING, LEAVING, REFUSED, REPLACED
from harness.checkers.wire import testimony
from harness.history import History


def gate_text(gate: ev.Gate) -> str:
    """Return what the gate saw of one user, in one phrase."""
    who = gate.user.partition("@")[0]
    if gate.outcome == "no-answer":
        return f"{who}: no answer"
    if gate.outcome == "zombie":
        return f"{who}: zombie present, as promised" if gate.promised else f"{who}: zombie: present"
    return f"{who}: zombie: none" + (", though promised" if gate.promised else "")


def broken_promises(history: History) -> Iterator[str]:
    """Give a sentence for each promised zombie that was not there: at the gate, or at the next JoinRoom after it."""
    for gate in history.all(ev.Gate):
        if not gate.promised:
            continue
        if gate.outcome != "zombie":
            said = "the bridge gave no answer" if gate.outcome == "no-answer" else "the bridge holds no session"
            yield f"no zombie made: {said} for {gate.user}" + (f" ({gate.detail})" if gate.detail else "")
        elif _gone_before_join(history, gate):
            yield f"the zombie was gone before the new cloud joined: nothing of {gate.user} was refused or replaced"


def _gone_before_join(history: History, gate: ev.Gate) -> bool:
    """Tell whether the first JoinRoom after the gate went through as if no session had been there.

    Only a join that succeeded can show that. A refusal without a line of its own (the plain words go to the bridge's
    structured sink alone) ends without a success, so a join that did not succeed proves nothing here.
    """
    joining = False
    met = False
    since_ns = _doors_open_ns(history, gate)
    for line in testimony(history):
        if line.t_ns < since_ns:
            continue
        words = line.text.lower()
        if REFUSED in words or REPLACED in words:  # whatever else such a line says
            if joining:
                return False
            continue
        if not line.component.startswith("bridge") or gate.user not in line.text:
            continue
        if JOINING in line.text or LEAVING in line.text:
            if joining:
                return False
            joining = JOINING in line.text
        elif joining and CLOSING in line.text:
            met = True
        elif joining and JOINED in line.text:
            return not met and not _told_later(history, line.t_ns)
    return False


def _doors_open_ns(history: History, gate: ev.Gate) -> int:
    """Return when a phone could first reach the new cloud; a line that was read late is older than that."""
    opened = [e.t_ns for e in history.all(ev.LinkOpened) if e.link == "phone->cloud" and e.t_ns >= gate.t_ns]
    return min(opened, default=gate.t_ns)


def _told_later(history: History, since_ns: int) -> bool:
    """Tell whether the structured sink, which is flushed late, spoke of a session after all."""
    return any(
        line.t_ns >= since_ns and line.component.startswith("bridge")
        and (REFUSED in line.text.lower() or REPLACED in line.text.lower())
        for line in testimony(history)
    )  # fmt: skip
