"""Brings a cloud up: database, HTTP client, listening socket; and takes it down again in tests."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

from harness.reference.cloud.background import Background
from harness.reference.cloud.cloud import Cloud
from harness.reference.cloud.context import Context
from harness.reference.cloud.errors import BadSetting, PortTaken
from harness.reference.cloud.log import Log
from harness.reference.cloud.routes import Routes
from harness.reference.cloud.settings import Settings
from harness.reference.cloud.users import Users
from harness.reference.defects import Defects, parse


def bind(address: str, port: int) -> socket.socket:
    """Take the listening socket; port 0 lets the system choose. Raises PortTaken or BadSetting."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen(128)
    except OSError as problem:
        listener.close()
        if problem.errno == errno.EADDRINUSE:
            raise PortTaken(
                f"cloud: expected {address}:{port} to be free, seen it taken; choose another PORT or stop its owner"
            ) from None
        raise BadSetting(f"cloud: cannot listen on {address}:{port}: {problem.strerror}") from None
    return listener


@contextlib.asynccontextmanager
async def serving(settings: Settings, listener: socket.socket, log: Log) -> AsyncIterator[Cloud]:
    """Serve on `listener` while the block runs. Raises UnknownDefect for a defect nobody knows."""
    defects = Defects("cloud", parse("cloud", settings.defect_names))
    with Users(settings.database_path) as users:
        users.put_apps(settings.apps)
        async with aiohttp.ClientSession(trust_env=False) as http:
            background = Background(log)
            cloud = Cloud(Context(settings, defects, log, users, http, background))
            # Query strings carry tokens, so there is no access log.
            runner = web.AppRunner(Routes(cloud).application(), access_log=None, shutdown_timeout=0.01)
            await runner.setup()
            try:
                await web.SockSite(runner, listener).start()
                yield cloud
            finally:
                await background.close()
                await runner.cleanup()
