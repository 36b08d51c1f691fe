"""Whether something that others started is there, and when it is gone: by its pid, or by its port."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable, Sequence

import psutil

from harness.processes import Process, look_at
from harness.system import Address

LOOKS_EVERY_S = 0.25
"""How often a port is tried."""
ANSWERS_WITHIN_S = 1.0
UNANSWERED = 3
"""A port that hangs so often, none taken between, answers no more."""
REFUSED = 2
"""So often it must refuse, none taken between: a server with a full backlog may do so once."""
GONE = {errno.ECONNREFUSED, errno.ECONNRESET}
FAR = {errno.ETIMEDOUT, errno.EHOSTUNREACH}
"""As good as no answer."""
EVERYWHERE = ("0.0.0.0", "::")
V4_IN_V6 = "::ffff:"
"""How the kernel lists an IPv4 address that is bound by an IPv6 socket, as gRPC's are."""


async def gone(process: Process) -> None:
    """Return once this very process has ended, whoever's child it is."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        now = look_at(process.pid)
        if now is None or now.start_ticks != process.start_ticks:
            return
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        loop.add_reader(handle, lambda: None if ended.done() else ended.set_result(None))
        try:
            await ended
        finally:
            loop.remove_reader(handle)
    finally:
        os.close(handle)


async def silent(address: Address, paused: Callable[[], bool] = lambda: False) -> str:
    """Return, in words, once nothing takes connections at ``address`` any more; nobody is dialled while ``paused``."""
    refused = unanswered = 0
    while refused < REFUSED and unanswered < UNANSWERED:
        # Time itself: somebody else's part has nothing that would tell us.
        await asyncio.sleep(LOOKS_EVERY_S)
        if paused():
            refused = unanswered = 0
            continue
        seen = await _dial(address)
        if seen is None:
            refused = unanswered = 0
        elif seen.errno in GONE:
            refused += 1
        elif isinstance(seen, TimeoutError) or seen.errno in FAR:
            unanswered += 1
        # Anything else (no descriptor left, no local port) is our own trouble and tells nothing.
    return f"stopped answering at {address[0]}:{address[1]}"


async def refusal(address: Address) -> str | None:
    """Dial once; return why it was not taken, or None."""
    seen = await _dial(address)
    if isinstance(seen, TimeoutError) and seen.errno is None:
        return f"no answer within {ANSWERS_WITHIN_S:g} s"
    return (seen.strerror or str(seen)) if seen is not None else None


async def _dial(address: Address) -> OSError | None:
    """Dial every address that the host has until one takes it; return what its peer said, else our own trouble."""
    seen: OSError | None = None
    try:
        async with asyncio.timeout(ANSWERS_WITHIN_S):
            for host in await _addresses_of(address[0]):
                try:
                    _, writer = await asyncio.open_connection(host, address[1])
                except OSError as refused:
                    seen = refused if seen is None or refused.errno in GONE else seen
                    continue
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
                return None
    except OSError as unknown:  # TimeoutError is one, and so is a name that nobody knows
        return unknown
    return seen


async def _addresses_of(host: str) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


async def listener(address: Address) -> Process | None:
    """Return who listens there on this machine; None when we cannot see it (elsewhere, or another user's)."""
    try:
        hosts = await _addresses_of(address[0])
    except OSError:
        return None
    return await asyncio.to_thread(_listener, hosts, address[1])


def _listener(hosts: Sequence[str], port: int) -> Process | None:
    here = {host for host in hosts if _is_here(host)}
    if not here:
        return None
    pids = set()
    with contextlib.suppress(psutil.Error, OSError):
        for one in psutil.net_connections("tcp"):
            if not one.laddr or one.laddr.port != port or one.status != psutil.CONN_LISTEN or not one.pid:
                continue
            if one.laddr.ip.removeprefix(V4_IN_V6) in (*here, *EVERYWHERE):
                pids.add(one.pid)
    # Several hold the socket of a server that forks its workers: the oldest is the server.
    found = [process for pid in pids if (process := look_at(pid)) is not None]
    return min(found, key=lambda process: (process.start_ticks, process.pid), default=None)


def _is_here(host: str) -> bool:
    """Tell whether it is an address of this machine: it can be bound (0.0.0.0 too, which dials this machine)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        try:
            trial.bind((host, 0))
        except OSError as refused:
            return refused.errno not in {errno.EADDRNOTAVAIL, errno.EINVAL, errno.EAFNOSUPPORT}
    return True
