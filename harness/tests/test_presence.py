"""Who listens at a port, and when nobody does any more."""

import asyncio
import errno
import os
import socket

import pytest

from harness.runtimes import presence
from harness.runtimes.presence import listener, silent

HERE = "127.0.0.1"


@pytest.mark.parametrize("bound", ["0.0.0.0", HERE])
async def test_who_listens_is_told_for_addresses_of_this_machine_alone(bound):
    with socket.create_server((bound, 0)) as listening:
        port = listening.getsockname()[1]
        found = await listener((HERE, port))
        assert found is not None
        assert found.pid == os.getpid()
        assert await listener(("localhost", port)) == found
        assert await listener(("192.0.2.7", port)) is None  # TEST-NET-1, RFC 5737


def saying(monkeypatch, *said):
    """Have each dial answer the next of these; what is dialled afterwards is left waiting."""
    rest = iter(said)
    monkeypatch.setattr(presence, "LOOKS_EVERY_S", 0.0)

    async def dial(address):
        for one in rest:
            return one
        return await asyncio.Event().wait()

    monkeypatch.setattr(presence, "_dial", dial)


REFUSED, RESET = OSError(errno.ECONNREFUSED, "refused"), OSError(errno.ECONNRESET, "reset")
OURS, LATE = OSError(errno.EMFILE, "too many open files"), TimeoutError()


@pytest.mark.parametrize("said", [(REFUSED, RESET), (None, LATE, LATE, LATE), (LATE, REFUSED, OURS, REFUSED)])
async def test_what_refuses_twice_or_hangs_thrice_answers_no_more(monkeypatch, said):
    saying(monkeypatch, *said)
    assert await asyncio.wait_for(silent((HERE, 1)), 1) == f"stopped answering at {HERE}:1"


@pytest.mark.parametrize("said", [(OURS, OURS, OURS, OURS), (REFUSED, None, REFUSED), (LATE, LATE, None, LATE)])
async def test_what_is_our_own_trouble_or_passes_ends_nothing(monkeypatch, said):
    saying(monkeypatch, *said)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(silent((HERE, 1)), 0.05)


async def test_nobody_is_dialled_while_it_is_paused(monkeypatch):
    saying(monkeypatch, LATE, LATE, LATE)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(silent((HERE, 1), lambda: True), 0.05)
