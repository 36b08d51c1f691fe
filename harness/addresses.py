"""Machine-wide leases of loopback addresses and ports, so that stacks of different runs stand side by side.

A lease is a locked file in ``settings().lock_dir``: the kernel drops the lock when its process ends, however it ends,
so nothing has to be cleaned up. The files themselves are empty and stay.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Generic, Literal, Self, TypeVar

import psutil

from harness.errors import MachineError
from harness.settings import settings

T = TypeVar("T")
Address = tuple[str, int]
"""Where somebody listens: an IPv4 address and a port, or the path of a unix socket and 0."""
Protocol = Literal["tcp", "udp"]

# Below 32768, where Linux by default starts to hand out ports to dialers (ip_local_port_range).
FIRST_PORT, LAST_PORT = 20_000, 31_999
# 127.0-15.* is left to others: name resolvers and container engines live there.
FIRST_SECOND_OCTET, LAST_SECOND_OCTET = 16, 127
LOOPBACKS = (LAST_SECOND_OCTET - FIRST_SECOND_OCTET + 1) * 64
"""How many loopback addresses there are to lease: 64 in each second octet."""


def is_path(address: Address) -> bool:
    """Tell whether this is a unix socket."""
    return "/" in address[0]


def family_of(address: Address) -> socket.AddressFamily:
    """Return the family of sockets that reach it."""
    return socket.AF_UNIX if is_path(address) else socket.AF_INET


def place(address: Address) -> str | Address:
    """Return it as ``bind`` and ``connect`` want it."""
    return address[0] if is_path(address) else address


def in_words(address: Address) -> str:
    """Return it as people write it."""
    return address[0] if is_path(address) else f"{address[0]}:{address[1]}"


def grpc_target(address: Address) -> str:
    """Return it as gRPC wants it."""
    return f"unix:{address[0]}" if is_path(address) else in_words(address)


class Lease(Generic[T]):
    """Something of the machine that is ours alone until ``close`` or the end of this process."""

    def __init__(self, value: T, locks: list[int]) -> None:
        """Hold ``value`` by the locked file descriptors ``locks``."""
        self.value = value
        self._locks = locks

    def close(self) -> None:
        """Give it back; closing twice is fine."""
        while self._locks:
            os.close(self._locks.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


Leases = Lease[tuple[int, ...]]
"""Several ports, held together; ``value`` is the tuple of them."""


def lease_loopback() -> Lease[str]:
    """Lease a loopback address 127.x.y.1 (x >= 16) that no other run has.

    Raises:
        MachineError: all are leased, or the machine does not let us bind there.
    """
    for number in _shuffled(range(LOOPBACKS)):
        address = f"127.{FIRST_SECOND_OCTET + number // 64}.{number % 64}.1"
        lock = _try_lock(f"address-{address}")
        if lock is None:
            continue
        try:
            with socket.socket() as probe:
                probe.bind((address, 0))
        except OSError as error:
            os.close(lock)
            raise MachineError(
                "all of 127.0.0.0/8 usable as this machine's own", f"{address} cannot be bound ({error.strerror})",
                "run on Linux, or in a container of ours",
            ) from error  # fmt: skip
        return Lease(address, [lock])
    raise MachineError(
        f"a free one of {LOOPBACKS} loopback addresses", f"all are leased by locks in {settings().lock_dir}",
        "end other runs on this machine",
    )  # fmt: skip


def lease_ports(count: int) -> Leases:
    """Lease ``count`` ports that no other run has and on which nothing listens, TCP or UDP, on any address.

    Raises:
        MachineError: not enough are left.
    """
    locks: list[int] = []
    ports: list[int] = []
    for port in _shuffled(range(FIRST_PORT, LAST_PORT + 1)):
        if len(ports) == count:
            break
        lock = _try_lock(f"port-{port}")
        if lock is None:
            continue
        if _is_free("0.0.0.0", port, "tcp") and _is_free("0.0.0.0", port, "udp"):
            locks.append(lock)
            ports.append(port)
        else:
            os.close(lock)
    leases = Lease(tuple(ports), locks)
    if len(ports) < count:
        leases.close()
        raise MachineError(
            f"{count} free ports between {FIRST_PORT} and {LAST_PORT}", f"{len(ports)} that are free and not leased",
            "end other runs, or whatever else listens there",
        )  # fmt: skip
    return leases


def probe_port(host: str, port: int, protocol: Protocol = "tcp") -> None:
    """Make sure that a port can be bound, for servers that would share a taken one without a word (SO_REUSEPORT).

    Raises:
        MachineError: it is taken (the sentence says by whom, where we may see that), or may not be bound.
    """
    where = f"{protocol} port {port} of {host}"
    try:
        _bind(host, port, protocol)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            holder = _holder(port, protocol)
            raise MachineError(f"{where} free", f"port taken by {holder}", "end it, or choose another port") from error
        raise MachineError(f"{where} free", f"{error.strerror}", "choose another address or port") from error


def _bind(host: str, port: int, protocol: Protocol) -> None:
    """Bind and let go; the plainest bind that tells a listener from the remains of one.

    TCP: with SO_REUSEADDR Linux passes over connections in TIME_WAIT (whose sockets had it set, as nearly all servers
    do) but never over a listener, not even one with SO_REUSEPORT, since we do not set that. UDP: SO_REUSEADDR would
    share the port with its owner, and UDP has no TIME_WAIT, so nothing is set.
    """
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as probe:
        if protocol == "tcp":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def _is_free(host: str, port: int, protocol: Protocol) -> bool:
    try:
        _bind(host, port, protocol)
    except OSError:
        return False
    return True


def _holder(port: int, protocol: Protocol) -> str:
    """Say who has a port bound, as far as this user may see it."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections(protocol):
            is_bound = protocol == "udp" or connection.status == psutil.CONN_LISTEN
            if is_bound and connection.laddr and connection.laddr.port == port and connection.pid:
                return f"pid {connection.pid} ({psutil.Process(connection.pid).name()})"
    return "a process we may not look at"


def _shuffled(numbers: range) -> Iterator[int]:
    """Start somewhere at random and go round, so that runs seldom meet and a port just given back rests."""
    start = random.randrange(len(numbers))
    yield from (numbers[(start + i) % len(numbers)] for i in range(len(numbers)))


def _try_lock(name: str) -> int | None:
    """Lock the file ``name`` without waiting; return its descriptor, or None when somebody else has it."""
    lock = open_lock(settings().lock_dir / name)
    if lock is None:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def open_lock(path: Path) -> int | None:
    """Open a lock file, made if missing; None when another user's file cannot be read.

    The directory is open to all users and sticky, like /tmp. Opening an existing file there goes without O_CREAT,
    which the kernel refuses on other users' files (fs.protected_regular); reading is enough to lock.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    for _ in range(2):
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            _make_lock_dir(path.parent)
        except PermissionError:
            return None
        try:
            lock = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o444)
        except FileExistsError:
            continue  # another run made it this very moment: open that one
        except OSError as error:
            raise MachineError(f"to make {path}", f"{error.strerror}", "free or repair that directory") from error
        os.fchmod(lock, 0o444)  # whatever the umask
        return lock
    return None


def _make_lock_dir(directory: Path) -> None:
    if not directory.is_dir():
        try:
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(0o1777)
        except OSError as error:
            raise MachineError(f"to make the directory {directory}", f"{error.strerror}", "make it") from error
