"""One link: its front, where it listens at addresses that never move, and the connections through it."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.addresses import Address, family_of, in_words, is_path, place, probe_port
from harness.errors import MachineError
from harness.events import LinkClosed, LinkOpened, LinkRefused, Note
from harness.history import Recorder
from harness.links.hurting import Hurts
from harness.links.kernel import waiting_dialers
from harness.links.reading import Conversation, Said, Way
from harness.links.record import WireRecord
from harness.links.tcp import Connection, End, ResetWatch, close_with_reset
from harness.links.triggers import Trigger, Triggers, hold_back

BACKLOG = 4096
ACCEPTED_AT_ONCE = 32
"""Connections accepted before the others get their turn."""
EXHAUSTED_RETRY_S = 0.1
EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


@dataclass(frozen=True)
class LinkState:
    """How a link stands: counts of connections, and bytes passed on since it was opened."""

    open: int
    silent: int
    listening: bool
    accepted: int
    to_target_bytes: int
    to_dialer_bytes: int


@dataclass
class Front:
    """A link as its process holds it; every method acts at once, only dialing the target takes time."""

    name: str
    addresses: Sequence[Address]
    target: Address
    resets: ResetWatch
    recorder: Recorder
    reads: bool = True
    """Whether readers read along."""
    triggers: Triggers = field(default_factory=Triggers)
    hurts: Hurts = field(default_factory=Hurts)
    """What faults do to its connections, also to new ones."""
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _listeners: list[socket.socket] = field(default_factory=list)
    _live: dict[int, Connection] = field(default_factory=dict)
    _silent: list[Connection] = field(default_factory=list)
    _dialing: set[int] = field(default_factory=set)
    _accepted: int = 0
    _gone_bytes: tuple[int, int] = (0, 0)
    _is_exhausted: bool = False

    def __post_init__(self) -> None:
        """Begin its record."""
        self.emit = self.recorder.emit
        self._record = WireRecord(self.name, self.recorder)

    def listen(self) -> None:
        """Listen at every address, or at none.

        Raises:
            MachineError: one is taken, or cannot be bound.
        """
        if self._listeners:
            return
        try:
            for address in self.addresses:
                self._listeners.append(_listener(address))
        except MachineError:
            self.close()
            raise
        self.listen_or_not()

    def listen_or_not(self) -> None:
        """Accept who dials, or leave him in the backlog while a hole lets nobody through."""
        for listener in self._listeners:
            if self.hurts.accepts():
                self._loop.add_reader(listener, self._acceptable, listener)
            else:
                self._loop.remove_reader(listener)

    def waiting_dialers(self) -> int:
        """Return how many connections nobody has accepted yet."""
        return sum(waiting_dialers(listener) for listener in self._listeners)

    def close(self) -> None:
        """Stop to listen, so that who dials is refused; connections go on."""
        for listener in self._listeners:
            self._loop.remove_reader(listener)
            listener.close()
        self._listeners.clear()

    def silence(self) -> int:
        """Silence every connection open now; return how many."""
        chosen = list(self._live.values())
        for connection in chosen:
            self._silent.append(connection)
            connection.silence()
        return len(chosen)

    def reset(self) -> int:
        """Reset both sides of every connection that is not silent; return how many."""
        chosen = list(self._live.values())
        for connection in chosen:
            connection.reset("link")
        return len(chosen)

    def release(self) -> int:
        """Reset the silent connections; return how many."""
        chosen = list(self._silent)
        self._silent.clear()
        for connection in chosen:
            connection.release()
        return len(chosen)

    def arm(self, trigger: Trigger) -> None:
        """Wait for a moment."""
        self.triggers.add(trigger)

    def disarm(self, number: int | str) -> Trigger | None:
        """Wait no more, and let go on what was kept back for it."""
        trigger = self.triggers.remove(number)
        for connection in list(self._live.values()):
            connection.settle()
        return trigger

    def live(self) -> list[Connection]:
        """Return the connections that are open and not silent."""
        return list(self._live.values())

    def is_hole(self, way: Way) -> bool:
        """Tell whether nothing of a direction comes through, its end included."""
        return self.hurts.is_hole(way)

    def heard(self, connection: Connection, said: list[Said], t_ns: int) -> None:
        """Write down what a reader understood."""
        talk = connection.conversation
        if said or (talk is not None and talk.unreadable):
            self._record.write(connection.number, said, talk.unreadable if talk is not None else "", t_ns)

    def carried_bytes(self, way: Way) -> int:
        """Return how many bytes of a direction have passed since the link was opened."""
        gone = self._gone_bytes[0 if way == "to-target" else 1]
        return gone + sum(connection.pump(way).carried_bytes for connection in self._live.values())

    def state(self) -> LinkState:
        """Count."""
        return LinkState(
            open=len(self._live), silent=len(self._silent), listening=bool(self._listeners), accepted=self._accepted,
            to_target_bytes=self.carried_bytes("to-target"), to_dialer_bytes=self.carried_bytes("to-dialer"),
        )  # fmt: skip

    def _acceptable(self, listener: socket.socket) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                dialer, _address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    raise
                self._rest(listener, error)
                return
            self._is_exhausted = False
            self._accepted += 1
            self._dial(dialer, self._accepted)

    def _rest(self, listener: socket.socket, error: OSError) -> None:
        """Leave dialers waiting in the backlog, as any process without descriptors does, and try again soon."""
        if not self._is_exhausted:
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            self.emit(Note(text=f"link {self.name} cannot accept ({error.strerror}; limit {limit}): new dialers wait"))
        self._is_exhausted = True
        self._loop.remove_reader(listener)
        self._loop.call_later(EXHAUSTED_RETRY_S, self._resume, listener)

    def _resume(self, listener: socket.socket) -> None:
        if listener in self._listeners and self.hurts.accepts():
            self._loop.add_reader(listener, self._acceptable, listener)

    def _dial(self, dialer: socket.socket, number: int) -> None:
        try:
            target = socket.socket(family_of(self.target), socket.SOCK_STREAM)
        except OSError as error:
            close_with_reset(dialer)
            self.emit(LinkRefused(link=self.name, reason=f"no socket to dial with: {error.strerror}"))
            return
        for sock in (dialer, target):
            sock.setblocking(False)
            if sock.family == socket.AF_INET:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(
            self._loop, self.resets, dialer, target, number=number, owner=self,
            conversation=Conversation() if self.reads else None,
        )  # fmt: skip
        self._live[number] = connection
        self._dialing.add(number)
        code = target.connect_ex(place(self.target))
        if code == errno.EINPROGRESS:
            self._loop.add_writer(target, self._dialed, connection)
        else:
            self._reached(connection, code)

    def _dialed(self, connection: Connection) -> None:
        self._loop.remove_writer(connection.target)
        self._reached(connection, connection.target.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def _reached(self, connection: Connection, code: int) -> None:
        if code == 0:
            self._dialing.discard(connection.number)
            self.emit(LinkOpened(link=self.name, conn=connection.number))
            self._begin(connection)
        else:
            self.emit(LinkRefused(link=self.name, reason=f"target {in_words(self.target)}: {os.strerror(code)}"))
            connection.reset("link")  # still among the dialing, so its end is not told as one of an open link

    def _begin(self, connection: Connection) -> None:
        self.hurts.begin(self.name, connection)
        opening = Said("to-target", "open", "", 0, 0)
        taken = self.triggers.taking(opening)
        held = hold_back(taken, lambda drop: connection.cut() if drop else connection.run())
        is_cut = any(trigger.act == "cut" for trigger in taken)
        if is_cut:
            connection.cut()
        for trigger in taken:
            trigger.fire(connection.number, opening)
        if not is_cut and not held:
            connection.run()

    def ended(self, connection: Connection, how: str, first: End) -> None:
        """Count what it carried, and tell how it ended."""
        del self._live[connection.number]
        self._record.forget(connection.number)
        self.hurts.ended(connection)
        to_target, to_dialer = connection.to_target.carried_bytes, connection.to_dialer.carried_bytes
        self._gone_bytes = (self._gone_bytes[0] + to_target, self._gone_bytes[1] + to_dialer)
        if connection.number in self._dialing:
            self._dialing.discard(connection.number)
            return
        self.emit(LinkClosed(
            link=self.name, conn=connection.number, how=how, first=first,
            to_target_bytes=to_target, to_dialer_bytes=to_dialer,
        ))  # fmt: skip


def _listener(address: Address) -> socket.socket:
    listener = socket.socket(family_of(address), socket.SOCK_STREAM)
    try:
        if is_path(address):
            _remove_left_over(address[0])
        else:
            # Our own connections of before, also silent ones, still hold this port; a listener of others is told apart.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place(address))
        if is_path(address):
            Path(address[0]).chmod(0o600)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if not is_path(address):
            probe_port(*address)  # makes the sentence
        raise MachineError(
            f"to listen at {in_words(address)}", error.strerror or str(error), "choose another address"
        ) from error
    listener.setblocking(False)
    return listener


def _remove_left_over(path: str) -> None:
    """Remove the file of a listener that is no more; a living one stays, and makes our own bind fail."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if probe.connect_ex(path) == errno.ECONNREFUSED:
            Path(path).unlink()
