"""The incident's verification checklist as six answers: yes, no, not applicable or not observable."""

from __future__ import annotations

from collections.abc import Mapping

from harness import events as ev
from harness.checkers.hearing import deaf_in, observed
from harness.checkers.resumption import first_caption_after
from harness.checkers.timeline import Span, anchors, fault_windows, first_index_after, place_of
from harness.checkers.verdict import Answer, Outcome, Verdict
from harness.checkers.wire import testimony
from harness.clock import SECOND_NS
from harness.frames import Hop
from harness.history import History

YES, NO, NOT_APPLICABLE, NOT_OBSERVABLE = "yes", "no", "not applicable", "not observable"
UP_WITHIN_S = 10.0
"""Captions after the cloud is up (incidents: cloud restart → captions 5 to 10 s)."""
PCM_WITHIN_S = 3.0
"""First audio after the ACK (incidents: phone reconnect → captions 2 to 3 s)."""
REFUSED = "session already exists"
REPLACED = "replacing existing bridge session"
JOINING, JOINED, LEAVING = "JoinRoom request:", "Successfully joined room:", "LeaveRoom request:"
CLOSING = "Closing room session for user"
"""Log lines of the bridge (contract: bridge stderr); a logger may put the time before them, or write JSON."""


def checklist_of(history: History, verdicts: Mapping[str, Verdict]) -> tuple[Answer, ...]:
    """Return the six answers, in the order of the published checklist."""
    return (
        _method_works(history), _never_refused(history), _replaced(history), _pcm_flows(history),
        _transcription(verdicts), _no_pile(verdicts),
    )  # fmt: skip


def zombie_seen(history: History) -> bool:
    """Tell whether the gate saw a session without an owner."""
    return any(g.outcome == "zombie" for g in history.all(ev.Gate))


def refusals(history: History) -> list[ev.LogLine]:
    """Return the log lines of bridge and cloud that say that a session already exists."""
    return [line for line in testimony(history) if REFUSED in line.text.lower()]


def replacements(history: History) -> list[ev.LogLine]:
    """Return the log lines that show that the bridge replaced a session.

    The plain sentence goes only to the bridge's structured sink; without it a session closed between a JoinRoom
    request and its success shows the same.
    """
    told = [line for line in testimony(history) if REPLACED in line.text.lower()]
    if told:
        return told
    found: list[ev.LogLine] = []
    closed: ev.LogLine | None = None
    joining = False
    for line in testimony(history):
        if not line.component.startswith("bridge"):
            continue
        if REFUSED in line.text.lower() or LEAVING in line.text:
            joining = False
        elif JOINING in line.text:
            joining, closed = True, None
        elif joining and CLOSING in line.text:
            closed = line
        elif joining and JOINED in line.text:
            found += [closed] if closed else []
            joining = False
    return found


def _logs_seen(history: History, component: str) -> bool:
    return any(line.component.startswith(component) for line in testimony(history))


def _method_works(history: History) -> Answer:
    item = "captions within 10 s of the cloud being up, with a zombie present"
    if not zombie_seen(history):
        return Answer(item, NOT_APPLICABLE, "no zombie was there")
    struck_ns = min((w.start_ns for w in fault_windows(history)), default=history.start_ns)
    up = [r.t_ns for r in history.all(ev.ComponentReady) if r.component == "cloud" and r.t_ns > struck_ns]
    took = []
    for speaker, person in sorted(history.speakers().items()):
        anchor = anchors(history).get(person)
        if anchor is None:
            return Answer(item, NO, f"{person}'s phone never came as far as the story's anchor")
        found = first_caption_after(history, speaker, anchor.moment_ns)
        if found is None:
            return Answer(item, NO, f"no caption of {person} after {anchor.name}")
        took.append((found.t_ns - (max(up) if up else anchor.moment_ns)) / SECOND_NS)
    if not took:
        return Answer(item, NOT_OBSERVABLE, "nobody talked")
    since = "the cloud was up" if up else "the anchor"
    return Answer(item, YES if max(took) <= UP_WITHIN_S else NO, f"captions {max(took):.2f} s after {since}")


def _never_refused(history: History) -> Answer:
    item = "no “session already exists”"
    found = refusals(history)
    if found:
        return Answer(item, NO, f"{len(found)} times, first in {place_of(found[0])}")
    if not _logs_seen(history, "bridge") and not _logs_seen(history, "cloud"):
        return Answer(item, NOT_OBSERVABLE, "no log line of bridge or cloud was recorded")
    return Answer(item, YES, "0 times in the logs of bridge and cloud")


def _replaced(history: History) -> Answer:
    item = "“Replacing existing bridge session” exactly when a zombie was there"
    found = replacements(history)
    disturbed = bool(history.all(ev.Injecting))
    if disturbed and not zombie_seen(history):
        return Answer(item, NOT_APPLICABLE, f"no zombie was there; seen {len(found)} times")
    if not _logs_seen(history, "bridge"):
        return Answer(item, NOT_OBSERVABLE, "no log line of the bridge was recorded")
    right = bool(found) == zombie_seen(history)
    where = f", first in {place_of(found[0])}" if found else ""
    return Answer(item, YES if right else NO, f"seen {len(found)} times{where}")


def _pcm_flows(history: History) -> Answer:
    item = "PCM flows within 3 s of the ACK, with what was spoken"
    marks = anchors(history)
    acks = [
        m for m in history.all(ev.PhoneMessage)
        if m.type == "connection_ack" and (m.person not in marks or m.t_ns >= marks[m.person].moment_ns - SECOND_NS)
    ]  # fmt: skip
    if not acks:
        return Answer(item, NO, "no ACK after the anchor") if marks else Answer(item, NOT_APPLICABLE, "no anchor")
    ack_ns = acks[0].t_ns
    got = history.at_hop(Hop.CLOUD_IN)
    got = got[(got["index"] >= first_index_after(history, ack_ns)) & (got["speaker"] > 0)]
    if len(got):
        took_s = (int(got["t_ns"][0]) - ack_ns) / SECOND_NS
        text = f"frame {got['index'][0]}, spoken after the ACK, at cloud-in {took_s:.2f} s after it"
        return Answer(item, YES if took_s <= PCM_WITHIN_S else NO, text)
    due = Span(ack_ns, ack_ns + int(PCM_WITHIN_S * SECOND_NS))
    deaf = deaf_in(history, "cloud-in", due)
    if not observed(history, "cloud-in"):
        return Answer(item, NOT_OBSERVABLE, "nothing listens at cloud-in (no audio_chunk subscription)")
    if deaf is not None and deaf.end_ns >= due.end_ns:
        return Answer(item, NOT_OBSERVABLE, f"the ear at cloud-in was deaf ({deaf.what})")
    return Answer(item, NO, "nothing spoken after the ACK ever came to cloud-in")


def _transcription(verdicts: Mapping[str, Verdict]) -> Answer:
    return _of_verdict("transcription works within the budget", verdicts.get("resumes"))


def _no_pile(verdicts: Mapping[str, Verdict]) -> Answer:
    return _of_verdict("no zombies accumulate: one session and one agent per person", verdicts.get("clean"))


def _of_verdict(item: str, verdict: Verdict | None) -> Answer:
    if verdict is None:
        return Answer(item, NOT_OBSERVABLE, "the story does not check it")
    words = {Outcome.HOLDS: YES, Outcome.BROKEN: NO, Outcome.UNKNOWN: NOT_OBSERVABLE}
    return Answer(item, words[verdict.outcome], verdict.because)
