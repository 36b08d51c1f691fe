"""Whether something that others started is there, and when it is gone: by its pid, or by its port."""

from __future__ import annotations

import asyncio
import contextlib
import os

import psutil

from harness.processes import Process, look_at
from harness.system import Address

LOOKS_EVERY_S = 0.25
"""How often a port is tried."""
ANSWERS_WITHIN_S = 1.0
UNANSWERED = 3
"""A port that hangs so often in a row answers no more; one that refuses is gone at once."""
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


async def silent(address: Address) -> str:
    """Return, in words, once nothing takes connections at ``address`` any more."""
    unanswered = 0
    while True:
        seen = await refusal(address)
        unanswered = unanswered + 1 if seen is not None else 0
        if seen is not None and (seen != _HANGS or unanswered >= UNANSWERED):
            return f"stopped answering at {address[0]}:{address[1]}"
        # Time itself: somebody else's part has nothing that would tell us.
        await asyncio.sleep(LOOKS_EVERY_S)


_HANGS = f"no answer within {ANSWERS_WITHIN_S:g} s"


async def refusal(address: Address) -> str | None:
    """Dial once; return why it was not taken, or None."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(*address), ANSWERS_WITHIN_S)
    except TimeoutError:
        return _HANGS
    except OSError as refused:
        return refused.strerror or str(refused)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return None


async def listener(address: Address) -> Process | None:
    """Return who listens there on this machine; None when we cannot see it (elsewhere, or another user's)."""
    return await asyncio.to_thread(_listener, *address)


def _listener(host: str, port: int) -> Process | None:
    pids = set()
    with contextlib.suppress(psutil.Error, OSError):
        for one in psutil.net_connections("tcp"):
            if not one.laddr or one.laddr.port != port or one.status != psutil.CONN_LISTEN or not one.pid:
                continue
            if one.laddr.ip.removeprefix(V4_IN_V6) in (host, *EVERYWHERE):
                pids.add(one.pid)
    # Several hold the socket of a server that forks its workers: the oldest is the server.
    found = [process for pid in pids if (process := look_at(pid)) is not None]
    return min(found, key=lambda process: (process.start_ticks, process.pid), default=None)
