"""``aftershock phone``: one simulated phone by hand, against a standing stack or the user's own cloud."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from harness import events as ev
from harness.cli.words import Engine
from harness.clock import now_ns, seconds_between
from harness.errors import HarnessError, UsageError
from harness.phone.configuration import Engine as EngineName
from harness.redact import know_secret
from harness.rig.live import Live
from harness.rig.people import Person, PhoneSettings
from harness.rig.phones import PhoneBooth
from harness.rig.reach import Reach
from harness.rig.run_dir import RunDir, check_writable
from harness.run_lease import found_leases
from harness.waiting import within

SEEN, NOT_SEEN, NOT_CONNECTED = 0, 1, 3
CONNECTS_WITHIN_S = 15.0
LOOK_EVERY_S = 0.05
DISPLAY = "phone-display"

Stack = Annotated[str | None, typer.Option("--stack", metavar="RUN|DIR", help="A stack that stands, as `up` named it.")]
Cloud = Annotated[str | None, typer.Option("--cloud", metavar="ws://HOST:PORT", help="A cloud of your own instead.")]
SecretFile = Annotated[
    Path | None,
    typer.Option("--secret-file", metavar="FILE", help="Holds the secret that signs core tokens; with --cloud."),
]
Livekit = Annotated[
    str, typer.Option("--livekit", metavar="ws://HOST:PORT", help="Dial this LiveKit, not the one the cloud names.")
]
App = Annotated[str | None, typer.Option("--app", metavar="PACKAGE", help="The captions app to start; with --cloud.")]
User = Annotated[str, typer.Option("--user", metavar="E-MAIL", help="Whose phone it is.")]
ForSeconds = Annotated[
    float | None, typer.Option("--for", min=0.1, metavar="SECONDS", help="End by itself after that.")
]
Runs = Annotated[
    Path, typer.Option("--runs", metavar="DIR", help="Where the phone's own record is kept; with --cloud.")
]


def phone(
    stack: Stack = None,
    cloud: Cloud = None,
    user: User = "alice@example.com",
    secret_file: SecretFile = None,
    livekit: Livekit = "",
    app: App = None,
    engine: Engine = "aiortc",
    for_s: ForSeconds = None,
    runs: Runs = Path("runs"),
) -> None:
    """Connect one phone, talk, and print what it sees until Ctrl-C.

    Exit codes: 0 it saw captions of its own words, 1 it saw none, 3 it could not connect, 64 wrong use.
    """
    if (stack is None) == (cloud is None):
        seen = "neither" if stack is None else "both"
        raise UsageError("either --stack or --cloud", seen, "`aftershock up` prints the command for its stack")
    if stack is not None:
        reach, runs = standing(stack)
    else:
        reach = own_cloud(cloud or "", secret_file, livekit, app)
    name = name_of(user)
    check_writable(runs)
    raise typer.Exit(asyncio.run(_by_hand(reach, name, user, runs.resolve(), for_s, engine)))


def standing(word: str) -> tuple[Reach, Path]:
    """Return how to reach the stack with this run id or run directory, and where its runs are kept.

    Raises:
        UsageError: none of that name stands.
    """
    alive = [one for one in found_leases() if one.alive and one.kept]
    found = next((one for one in alive if word == one.run or Path(word).resolve() == one.run_dir), None)
    if found is None:
        known = f"there are {', '.join(one.run for one in alive)}" if alive else "start one by `aftershock up`"
        raise UsageError("a stack that stands", repr(word), known)
    return Reach.read(found.run), found.run_dir.parent.parent


def own_cloud(cloud: str, secret_file: Path | None, livekit: str, app: str | None) -> Reach:
    """Return how to reach the user's own cloud.

    Raises:
        UsageError: an address or the file of the secret cannot be used.
    """
    for url in (cloud, livekit or "ws://unused:1"):
        _check_address(url)
    if secret_file is None:
        raise UsageError(
            "--secret-file with --cloud", "none", "put the secret that signs the cloud's core tokens into a file"
        )
    try:
        secret = secret_file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"a secret in {secret_file}", str(error), "name a file that holds only the secret") from error
    if not secret:
        raise UsageError(f"a secret in {secret_file}", "an empty file", "write the secret into it")
    know_secret(secret)
    return Reach(
        cloud_url=cloud.rstrip("/"), livekit_url=livekit.rstrip("/"), media_host=_own_address(livekit or cloud),
        epoch_ns=now_ns(), app=app, secret=secret,
    )  # fmt: skip


def _check_address(url: str) -> None:
    expected, mend = "an address such as ws://127.0.0.1:8002", "write scheme, host and port only"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(expected, f"{url!r} ({error})", mend) from error
    if parts.scheme not in {"ws", "wss"} or not parts.hostname or parts.path.strip("/") or port == 0:
        raise UsageError(expected, repr(url), mend)


def _own_address(url: str) -> str:
    """Return the address of this machine from which that host is reached; nothing is sent to find out."""
    parts = urlsplit(url)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((parts.hostname, parts.port or 443))
            return str(probe.getsockname()[0])
    except (OSError, UnicodeError) as error:  # the latter: a name that is none
        raise UsageError("a host that has a route", f"{url!r} ({error})", "check its name and the network") from error


def name_of(user: str) -> str:
    """Return the person's name in the records: what stands before the ``@``.

    Raises:
        UsageError: there is nothing.
    """
    name = user.partition("@")[0].strip()
    if not name:
        raise UsageError("a user such as alice@example.com", repr(user), "write a name before the @")
    return name


async def _by_hand(reach: Reach, name: str, user: str, runs: Path, for_s: float | None, engine: EngineName) -> int:
    over = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    kept = RunDir.create(runs, "phone")
    booth = PhoneBooth(kept.run, kept.path, reach.configuration, engine)
    person = Person(name, user, booth, Live(kept.path, reach.epoch_ns), PhoneSettings(engine=engine))
    words = f"s{person.speaker}wN"
    print(f"{user} dials {reach.cloud_url} and talks; its words are {words}; record in {kept.path}", flush=True)
    try:
        await person.opens_the_app()
        await person.starts_talking()
        return await _look_on(person, over, for_s)
    except HarnessError as wrong:
        if over.is_set():
            return NOT_SEEN
        sys.stderr.write(f"{wrong}\n")
        return NOT_CONNECTED
    finally:
        await booth.close()
        kept.close()


async def _look_on(person: Person, over: asyncio.Event, for_s: float | None) -> int:
    began = now_ns()
    screen = Screen(person.speaker)
    limit_s = for_s if for_s is not None else float("inf")
    while not over.is_set() and seconds_between(began, now_ns()) < limit_s:
        person.live.look()
        for event in person.live.events:
            line = screen.line(event)
            if line is not None:
                print(f"[{max(0.0, seconds_between(began, event.t_ns)):6.1f} s] {line}", flush=True)
        person.live.events.clear()
        if not person.is_there():
            sys.stderr.write("the phone's own process ended; its log is in the record\n")
            return NOT_CONNECTED
        if not screen.acked and seconds_between(began, now_ns()) > CONNECTS_WITHIN_S:
            break
        try:
            await within(over.wait(), LOOK_EVERY_S)
        except TimeoutError:
            continue
    if not screen.acked and not over.is_set():
        waited_s = seconds_between(began, now_ns())
        sys.stderr.write(f"expected a connection_ack of the cloud; saw {screen.last} for {waited_s:.0f} s\n")
        return NOT_CONNECTED
    print(f"captions of {len(screen.words)} words seen" if screen.words else "no captions of its own words seen")
    return SEEN if screen.words else NOT_SEEN


@dataclass
class Screen:
    """What the phone shows and feels, as lines."""

    speaker: int
    acked: bool = False
    words: set[int] = field(default_factory=set)
    """Of this phone's own speaker, that captions on its display named."""
    last: str = "nothing"
    """The last that was seen of the socket."""
    _mic: bool | None = None

    def line(self, event: ev.AnyEvent) -> str | None:
        """Return the line for an event of the phone's record, or None."""
        if isinstance(event, ev.Caption):
            return self._caption(event) if event.hop == DISPLAY else None
        if isinstance(event, ev.PhoneSocketOpen | ev.PhoneDialFailed | ev.PhoneSocketClosed):
            self.last = _socket_line(event)
            return self.last
        if isinstance(event, ev.PhoneMessage):
            self.acked |= event.type == "connection_ack"
            return "ACK: the cloud knows this phone" if event.type == "connection_ack" else None
        if isinstance(event, ev.MicState):
            changed, self._mic = event.on != self._mic, event.on
            return f"microphone {'on' if event.on else 'off'}" if changed else None
        return _room_line(event)

    def _caption(self, event: ev.Caption) -> str:
        if event.speaker != self.speaker:
            return f"display: {event.text}"
        self.words |= set(event.words)
        return f"caption of words {span(event.words)}: {event.text}"


def span(words: Sequence[int]) -> str:
    """Return word numbers as people write them: ``10-14``, or one."""
    first, last = min(words), max(words)
    return str(first) if first == last else f"{first}-{last}"


def _socket_line(event: ev.PhoneSocketOpen | ev.PhoneDialFailed | ev.PhoneSocketClosed) -> str:
    if isinstance(event, ev.PhoneSocketOpen):
        return "socket open"
    if isinstance(event, ev.PhoneDialFailed):
        return f"dial {event.attempt} failed: {event.reason}"
    return f"socket closed by {event.by}, code {event.code} {event.reason}".rstrip()


def _room_line(event: ev.AnyEvent) -> str | None:
    if isinstance(event, ev.RoomConnected):
        return f"in room {event.room}, audio goes out"
    if isinstance(event, ev.RoomDialFailed):
        return f"room not reached: {event.reason}"
    if isinstance(event, ev.RoomLost):
        return f"room lost: {event.reason}"
    if isinstance(event, ev.RoomReconnecting):
        return "room lost: the media library resumes"
    if isinstance(event, ev.RoomReconnected):
        return "room is back"
    return None
