"""What the wire says of a cloud and a bridge, told in the contract's words: for parts whose logs are not to be had.

A stranger's log has words of its own, and some have none; what they said to each other passed our links. So a component
whose log does not speak as the contract does (``contract: log messages``) is heard by its calls, answers and silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from harness import events as ev
from harness.checkers.people import AGENT, is_user, same_user
from harness.clock import SECOND_NS
from harness.history import History

SPEAKS = {
    "bridge": re.compile(r"JoinRoom request:|Successfully joined room:|StreamAudio started:"),
    "cloud": re.compile(r"Calling JoinRoom RPC|JoinRoom RPC failed|Audio stream started|Sent CONNECTION_ACK"),
}
"""By these words a log shows that it speaks as the contract does."""
SESSION_OVER = re.compile(r"(?i)user session ended")
"""With this reason a cloud closes the sockets of a disposed session's apps (contract: captions app)."""
GIVEN_UP = ("CANCEL", "NO_ERROR", None)
"""With these a dialer ends a call of its own accord; what gRPC resets because its connection broke has other words."""
ASKED_WITHIN_NS = SECOND_NS
"""A cloud asks for the bridge's status before it acknowledges a phone that came back; so long after that it is late."""


class WireLine(ev.LogLine, frozen=True, tag="wire-line"):
    """A line that nobody wrote: what passed a link, in the contract's words. ``where`` is the link and connection."""

    where: str = ""


@lru_cache(maxsize=2)
def testimony(history: History) -> tuple[ev.LogLine, ...]:
    """Return the log lines of a run and, for each cloud or bridge whose log does not speak, what the wire said."""
    written = history.all(ev.LogLine)
    mute = {end for said in history.all(ev.WireSaid) for end in said.link.split("->") if _kind(end)}
    for line in written:
        if not mute:
            return written
        if line.component in mute and SPEAKS[_kind(line.component)].search(line.text):
            mute.discard(line.component)
    told = [line for line in wire_lines(history) if line.component in mute]
    return tuple(sorted((*written, *told), key=lambda line: line.t_ns)) if told else written


def without_logs(history: History) -> History:
    """Return the history as it would be had nobody had the logs of bridge and cloud."""
    kept = [e for e in history.events if not (isinstance(e, ev.LogLine) and _kind(e.component))]
    return History.of(kept, history.frames, history.notes)


def wire_lines(history: History) -> Iterator[WireLine]:
    """Give what passed the links as lines of the contract."""
    yield from _Calls(history).lines()
    yield from _signals(history)
    yield from _disposals(history)
    yield from _status_never_asked(history)


def _kind(component: str) -> str:
    return "bridge" if component.startswith("bridge") else "cloud" if component.startswith("cloud") else ""


def _line(said: ev.WireSaid | ev.LinkClosed, component: str, text: str) -> WireLine:
    where = f"wire {said.link} #{said.conn}"
    return WireLine(t_ns=said.t_ns, run=said.run, component=component, line=0, text=text, where=where)


class _Calls:
    """The calls between a cloud and its bridge, and which sessions they made."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._has_session: dict[tuple[str, str], bool] = {}
        """(bridge, user): whether a session of this user is in that bridge."""
        self._joined: dict[tuple[str, str], int] = {}
        """(bridge, user): how often a session of this user was made; an old one's stream ends no new one."""
        self._asked: dict[tuple[str, int, int], int | None] = {}
        """A JoinRoom that was asked for -> how many sessions had been made when it met one; None: it met none."""
        self._streams: dict[tuple[str, int, int], tuple[str, int]] = {}
        """(link, connection, stream) of each audio stream that is open -> its user, and the session it is of."""
        self._clients: set[tuple[str, int]] = set()

    def lines(self) -> Iterator[WireLine]:
        kinds = (ev.WireSaid, ev.LinkClosed, ev.Gate, ev.ComponentStarted)
        for event in self._history.iter(*kinds):
            match event:
                case ev.WireSaid():
                    cloud, _, bridge = event.link.partition("->")
                    if _kind(cloud) == "cloud" and _kind(bridge) == "bridge":
                        yield from self._said(event, cloud, bridge)
                case ev.LinkClosed() if event.how != "vanished":
                    yield from self._closed(event)
                case ev.Gate(user=user, outcome=outcome):
                    self._has_session["bridge", user] = outcome == "zombie"
                case ev.ComponentStarted(component=component) if _kind(component) == "bridge":
                    for key in [key for key in self._has_session if key[0] == component]:
                        del self._has_session[key]

    def _said(self, said: ev.WireSaid, cloud: str, bridge: str) -> Iterator[WireLine]:  # noqa: C901  a case per call
        facts = said.facts
        user = str(facts.get("user", ""))
        match said.what, said.name:
            case "message", "JoinRoomRequest":
                if (said.link, said.conn) not in self._clients:
                    self._clients.add((said.link, said.conn))
                    yield _line(said, cloud, "gRPC client initialized")
                key = (bridge, user)
                self._asked[_call(said)] = self._joined.get(key, 0) if self._has_session.get(key) else None
                yield _line(said, cloud, f"Calling JoinRoom RPC for {user}")
                yield _line(said, bridge, f"JoinRoom request: userId={user}, room={facts.get('room_name', '')}")
            case "message", "JoinRoomResponse":
                yield from self._answered(said, cloud, bridge, user)
            case "message", "LeaveRoomRequest":
                yield _line(said, bridge, f"LeaveRoom request: userId={user}")
            case "message", "LeaveRoomResponse":
                self._has_session[bridge, user] = self._has_session.get((bridge, user), False) and not facts["success"]
                if facts["success"]:
                    yield _line(said, bridge, f"Successfully left room: userId={user}")
            case "request", "StreamAudio":
                self._streams[_call(said)] = (user, self._joined.get((bridge, user), 0))
                yield _line(said, cloud, "Audio stream started, listening for audio from bridge")
            case ("message", "AudioChunk") | ("reply", "StreamAudio") if user and self._streams.get(_call(said)) == (
                "",
                0,
            ):
                self._streams[_call(said)] = (user, self._joined.get((bridge, user), 0))
            case "status", "StreamAudio":
                yield from self._ended(said, cloud, bridge)
            case "status", "JoinRoom" if facts.get("code") != "OK" and said.way == "to-dialer":
                yield _line(said, cloud, f"JoinRoom RPC failed: {facts.get('code')} {facts.get('message', '')}")
            case "message", "BridgeStatusResponse":
                yield _line(said, cloud, f"Bridge status fetched: connected={facts.get('connected')}")

    def _answered(self, said: ev.WireSaid, cloud: str, bridge: str, user: str) -> Iterator[WireLine]:
        if said.facts.get("success"):
            key = (bridge, user)
            met = self._asked.pop(_call(said), None) is not None
            if met or self._has_session.get(key):
                yield _line(said, bridge, f"Replacing existing bridge session of {user}")
            self._has_session[key] = True
            self._joined[key] = self._joined.get(key, 0) + 1
            yield _line(said, bridge, f"Successfully joined room: userId={user}")
            yield _line(said, cloud, f"Joined LiveKit room for {user}")
            return
        error = str(said.facts.get("error", ""))
        yield _line(said, bridge, f"JoinRoom of {user} refused: {error}")
        yield _line(said, cloud, f"JoinRoom returned failure for {user}: {error}")

    def _ended(self, said: ev.WireSaid, cloud: str, bridge: str) -> Iterator[WireLine]:
        stream = self._streams.pop(_call(said), None)
        if stream is None:
            return
        self._over(bridge, *stream)
        code = said.facts.get("code")
        if said.way == "to-target" and said.facts.get("reset") in GIVEN_UP:
            return  # the cloud itself gave it up
        text = "Audio stream ended" if code == "OK" else f"Audio stream error: {code} {said.facts.get('message', '')}"
        yield _line(said, cloud, text)

    def _closed(self, closed: ev.LinkClosed) -> Iterator[WireLine]:
        cloud, _, bridge = closed.link.partition("->")
        for key in [key for key in self._streams if key[:2] == (closed.link, closed.conn)]:
            self._over(bridge, *self._streams.pop(key))
            if closed.first != "dialer":
                yield _line(closed, cloud, f"Audio stream error: the connection ended ({closed.how} by {closed.first})")

    def _over(self, bridge: str, user: str, joined: int) -> None:
        """A session goes with its stream, whoever ended that; the one that took its place meanwhile does not."""
        if self._joined.get((bridge, user), 0) == joined:
            self._has_session[bridge, user] = False


def _call(said: ev.WireSaid) -> tuple[str, int, int]:
    return said.link, said.conn, said.stream


def _signals(history: History) -> Iterator[WireLine]:
    """Give what LiveKit told a bridge's agent: that it is out of the room."""
    agents: dict[tuple[str, int], str] = {}
    for said in history.all(ev.WireSaid):
        bridge, _, target = said.link.partition("->")
        if _kind(bridge) != "bridge" or target != "livekit" or said.what != "message":
            continue
        identity = str(said.facts.get("identity", ""))
        if said.name == "join" and identity.startswith(AGENT):
            agents[said.link, said.conn] = identity.removeprefix(AGENT)
        elif said.name == "leave" and said.way == "to-dialer":
            who = agents.get((said.link, said.conn), "")
            yield _line(said, bridge, f"Disconnected from LiveKit room: userId={who} ({said.facts.get('reason', '')})")


def _disposals(history: History) -> Iterator[WireLine]:
    """Give each session's end, as its apps are told of it."""
    for said in history.all(ev.WireSaid):
        _, _, cloud = said.link.partition("->")
        reason = str(said.facts.get("reason", ""))
        if said.what == "close" and said.way == "to-dialer" and _kind(cloud) == "cloud" and SESSION_OVER.search(reason):
            yield _line(said, cloud, f"Session disposed and removed: its app was told {reason!r}")


def _status_never_asked(history: History) -> Iterator[WireLine]:
    """Give each return of a phone, within the grace, of which the cloud did not ask its bridge for the status.

    The grace runs from when the cloud's side saw the old socket end: a sleeping phone sees it only on waking.
    """
    asked = _messages(history, "BridgeStatusRequest")
    called = _messages(history, "JoinRoomRequest")
    grace_ns = int(history.run_started.timers.get("grace_s", 60.0) * SECOND_NS)
    starts = [s.t_ns for s in history.all(ev.ComponentStarted) if _kind(s.component) == "cloud"]
    for user, ended_ns, back_ns in _returns(history):
        if back_ns - ended_ns >= grace_ns or any(ended_ns < t <= back_ns for t in starts):
            continue
        acks = [
            m.t_ns for m in history.all(ev.PhoneMessage)
            if m.type == "connection_ack" and is_user(history, m.person, user) and m.t_ns >= back_ns
        ]  # fmt: skip
        until_ns = (acks[0] if acks else back_ns) + ASKED_WITHIN_NS
        joins = [s for s in called if s.facts.get("user") == user and back_ns <= s.t_ns <= until_ns]
        told = any(
            same_user(str(s.facts.get("user", "")), user) and back_ns - ASKED_WITHIN_NS <= s.t_ns <= until_ns
            for s in asked
        )
        if joins and not told:
            yield _line(joins[0], "cloud", f"GetStatus threw: {user}'s phone came back, and it was never asked")


def _messages(history: History, name: str) -> list[ev.WireSaid]:
    return [s for s in history.all(ev.WireSaid) if s.what == "message" and s.name == name]


def _returns(history: History) -> Iterator[tuple[str, int, int]]:
    """Give each socket that a user's phone opened when its last one had ended: user, end, and the new one's request."""
    ends: dict[tuple[str, int], int] = {}
    for event in history.iter(ev.WireSaid, ev.LinkClosed):
        match event:
            case ev.LinkClosed() | ev.WireSaid(what="close"):
                ends.setdefault((event.link, event.conn), event.t_ns)
    last: dict[str, tuple[str, int]] = {}
    for said in history.all(ev.WireSaid):
        user = str(said.facts.get("user", ""))
        if said.what != "request" or not user or "upgrade" not in said.facts or not said.link.startswith("phone"):
            continue
        ended_ns = ends.get(last[user], said.t_ns) if user in last else said.t_ns
        if ended_ns < said.t_ns:
            yield user, ended_ns, said.t_ns
        last[user] = said.link, said.conn
