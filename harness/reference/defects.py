"""Every way the reference system can be made to be wrong, as a named switch.

A scenario is proven only when it fails with its defect on and holds with it off. To add a defect:
one entry in `DEFECTS`, and one small branch `if defects.has("name")` in the part that has it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

Part = Literal["bridge", "cloud", "phone", "app"]

EXIT_UNKNOWN_DEFECT: Final = 64
"""Exit code of a part that was asked for a defect nobody knows (EX_USAGE of sysexits.h)."""


class UnknownDefect(ValueError):
    """A defect was asked for that is not in the registry."""

    def __init__(self, part: str, name: str) -> None:
        """Name the part that was asked and the word it was given."""
        self.part = part
        self.name = name
        known = sorted(d.name for d in DEFECTS.values() if d.part == part) or ["none yet"]
        super().__init__(
            f"unknown {part} defect {name!r}; {part} knows: {', '.join(known)} (write NAME or {part}:NAME)",
        )


@dataclass(frozen=True)
class Defect:
    """One switch."""

    part: Part
    """The component that misbehaves."""
    name: str
    """The word a user writes, without the part."""
    incident: str
    """The id of the incident it brings back."""
    what: str
    """What the component does wrong, in one sentence."""

    @property
    def key(self) -> str:
        """The full name, ``part:name``."""
        return f"{self.part}:{self.name}"


_ALL: Final = (
    Defect(
        "bridge",
        "refuse-existing-session",
        "join-refused-existing-session",
        "JoinRoom is refused while the user still has a session, instead of replacing it.",
    ),
    Defect(
        "bridge",
        "keep-session-on-stream-error",
        "zombie-first-connect",
        "A session outlives the audio stream that broke, so a dead cloud leaves a zombie.",
    ),
    Defect(
        "bridge",
        "mute",
        "silent-audio-gap",
        "Every call succeeds and the status is healthy, but no audio is ever passed on.",
    ),
    Defect(
        "bridge",
        "deaf-after-gap",
        "silent-audio-gap",
        "After a second without a packet no audio is passed on any more; calls succeed, the status is healthy.",
    ),
    Defect(
        "cloud",
        "ack-hides-audio-failure",
        "ack-hides-audio-failure",
        "The phone is acknowledged as if all were well although the bridge could not join the room.",
    ),
    Defect(
        "cloud",
        "no-getstatus",
        "getstatus-missing",
        "GetStatus is missing from the cloud's gRPC client, so every status check throws.",
    ),
    Defect(
        "cloud",
        "rejoin-without-leave",
        "join-refused-existing-session",
        "A rejoin sends JoinRoom without leaving the old session first.",
    ),
    Defect(
        "bridge",
        "panic-on-late-packet",
        "bridge-panic-closed-channel",
        "A packet that comes after its session was closed ends the whole process with a panic.",
    ),
    Defect(
        "bridge",
        "sigterm-waits",
        "bridge-sigterm-hangs",
        "Asked to end, it waits for its open streams to end first, which they never do.",
    ),
    Defect(
        "bridge",
        "leak-per-join",
        "bridge-session-leak",
        "Each join keeps its room's memory and a file descriptor for ever.",
    ),
    Defect(
        "cloud",
        "one-shot-reconnect",
        "bridge-restart-slower-than-retry",
        "After a stream error it reconnects once and never again.",
    ),
    Defect(
        "cloud",
        "no-join-retry",
        "sfu-down-at-join",
        "A join that failed is not tried again before the phone reconnects.",
    ),
    Defect(
        "cloud",
        "no-reconnect-on-end",
        "stream-end-not-retried",
        "A stream that ends with OK is not opened again.",
    ),
    Defect(
        "cloud",
        "fresh-client-no-dispose",
        "orphan-client-ping-pong",
        "A new bridge client is made beside the old one, which goes on recovering its own stream.",
    ),
    Defect(
        "cloud",
        "no-gap-detector",
        "silent-audio-gap",
        "Nobody watches for silence while the microphone is on.",
    ),
    Defect(
        "cloud",
        "stt-no-recreate",
        "stt-close-not-recreated",
        "An STT stream that closed is not opened again.",
    ),
    Defect(
        "cloud",
        "stt-subscribe-once",
        "stt-down-at-subscribe",
        "A transcription that could not begin when the app subscribed is not tried again.",
    ),
    Defect(
        "cloud",
        "health-from-keepalive",
        "stt-keepalive-false-health",
        "An STT stream that gets keepalives counts as audio arriving, so nobody is told of the silence.",
    ),
    Defect(
        "cloud",
        "no-app-restart",
        "apps-not-restarted-on-reconnect",
        "A reconnecting phone's apps are not started again.",
    ),
    Defect(
        "cloud",
        "forget-running-apps",
        "away-beyond-grace",
        "A fresh session does not start the apps that ran in the one before it.",
    ),
    Defect(
        "cloud",
        "no-mic-resync",
        "mic-state-lost-while-away",
        "A reconnecting phone is not told the microphone's state.",
    ),
    Defect(
        "cloud",
        "ignore-app-close",
        "app-runs-but-deaf",
        "An app whose socket closed still counts as running, and is not called again.",
    ),
    Defect(
        "cloud",
        "swap-endian",
        "pcm-byte-order",
        "The bytes of every sample of the bridge's audio are exchanged.",
    ),
    Defect(
        "cloud",
        "close-without-identity",
        "old-close-disposes-live-session",
        "The late close of an old socket counts as the phone's going away, and ends the live session after the grace.",
    ),
    Defect(
        "phone",
        "no-room-retry",
        "phone-fails-room-rejoin",
        "A phone that could not join its room waits for the next acknowledgement instead of trying again.",
    ),
    Defect(
        "phone",
        "redial-when-replaced",
        "concurrent-join-self-kick",
        "A phone whose place in the room another phone of its user took dials at once, and takes it back.",
    ),
    Defect(
        "bridge",
        "no-kick-notice",
        "kicked-agent-unnoticed",
        "A session whose agent was put out of its room keeps its stream open, and nobody is told.",
    ),
    Defect(
        "bridge",
        "leave-on-signal-cut",
        "silent-audio-gap",
        "An agent whose signalling connection was cut leaves its room for good, instead of dialing again.",
    ),
    Defect(
        "bridge",
        "cleanup-by-user-id",
        "old-stream-error-deletes-new-session",
        "The error of an old stream ends whatever session its user has by then.",
    ),
    Defect(
        "bridge",
        "shared-stream-queue",
        "two-streams-split-audio",
        "A second stream of one session reads the same queue, so each hears about half.",
    ),
    Defect(
        "bridge",
        "join-race",
        "join-not-atomic",
        "Joins of one user at the same time do not wait for each other, and the one that was kicked may be kept.",
    ),
    Defect(
        "bridge",
        "keep-session-when-kicked",
        "refusal-kicked-stream-open",
        "A session that lost its room stays in the way of every join after it.",
    ),
    Defect(
        "bridge",
        "keep-odd-byte",
        "pcm-byte-order",
        "An odd byte at the end of a packet is kept and put before the next one.",
    ),
    Defect(
        "bridge",
        "drop-after-gap",
        "packet-loss-doubled",
        "After a packet that is missing by its number the next one is dropped, too.",
    ),
    Defect(
        "cloud",
        "no-rejoin",
        "agent-kicked-by-other-environment",
        "A bridge that says it is not connected is believed to come back by itself: nobody joins again.",
    ),
    Defect(
        "cloud",
        "no-pong-timeout",
        "phone-half-open",
        "A phone that answers no ping counts as connected for ever.",
    ),
    Defect(
        "cloud",
        "no-rpc-deadline",
        "join-hang-no-ack",
        "Calls to the bridge have no deadline, and the acknowledgement waits for them.",
    ),
    Defect(
        "cloud",
        "no-connecting-guard",
        "concurrent-join-self-kick",
        "Two paths may join for one user at the same time.",
    ),
    Defect(
        "cloud",
        "init-twice",
        "duplicate-connection-init",
        "A connection_init of the phone runs the whole start a second time, with a bridge client of its own.",
    ),
    Defect(
        "cloud",
        "apps-before-ack",
        "ack-late-slow-webhook",
        "The apps' webhooks are waited for before the phone is acknowledged.",
    ),
    Defect(
        "cloud",
        "unbounded-backlog",
        "captions-lag-after-burst",
        "Audio that could not be passed on is kept without bound and replayed at the speed of speech.",
    ),
    Defect(
        "cloud",
        "stt-init-hang",
        "stt-closes-during-init",
        "The wait for a new STT stream to be ready ignores that it closed.",
    ),
    Defect(
        "cloud",
        "forget-failed-leave",
        "refusal-new-client-beside-session",
        "A LeaveRoom that failed counts as done, so the session stays in the bridge.",
    ),
    Defect(
        "cloud",
        "no-grace-cleanup",
        "token-expired-after-sleep",
        "The session of a phone that stays away is never disposed.",
    ),
    Defect(
        "phone",
        "keep-old-token",
        "token-expired-after-sleep",
        "The phone goes on with the room token it has, instead of fetching a new one.",
    ),
)

DEFECTS: Final[dict[str, Defect]] = {defect.key: defect for defect in _ALL}
"""Every defect of the reference system, by ``part:name``."""


def parse(part: Part, names: Iterable[str]) -> frozenset[str]:
    """Read the defects meant for one part: bare names, ``part:name``, or comma lists of both.

    A known defect of another part is passed over, so one list may be given to all parts. Returns bare names.
    Raises `UnknownDefect` for anything that is not in the registry.
    """
    wanted: set[str] = set()
    for word in (piece.strip() for item in names for piece in item.split(",")):
        if not word:
            continue
        prefix, colon, rest = word.partition(":")
        owner, name = (prefix, rest) if colon else (part, word)
        if f"{owner}:{name}" not in DEFECTS:
            raise UnknownDefect(owner if owner in get_args(Part) else part, name if colon and owner == part else word)
        if owner == part:
            wanted.add(name)
    return frozenset(wanted)


@dataclass(frozen=True)
class Defects:
    """The defects one part runs with. Asking for a name that is not in the registry raises, so a typo cannot hide."""

    part: Part
    active: frozenset[str] = field(default_factory=frozenset)
    """Bare names, as `parse` gives them."""

    def __post_init__(self) -> None:
        """Refuse names that are not in the registry."""
        for name in self.active:
            self._known(name)

    def has(self, name: str) -> bool:
        """Tell whether the defect is on. Raises `UnknownDefect` for a name that the part does not have."""
        self._known(name)
        return name in self.active

    def _known(self, name: str) -> None:
        if f"{self.part}:{name}" not in DEFECTS:
            raise UnknownDefect(self.part, name)
