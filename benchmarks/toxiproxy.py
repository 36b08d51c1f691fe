"""Toxiproxy, for comparison only: built once from the Go module proxy, run as a process, told its proxies over HTTP."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from harness.settings import settings
from harness.waiting import NotYet, until

VERSION = "v2.5.0"
PACKAGE = f"github.com/Shopify/toxiproxy/v2/cmd/server@{VERSION}"
BUILD_WITHIN_S = 300
Address = tuple[str, int]


class NotBuilt(Exception):
    """There is no Toxiproxy here; the text says why."""


async def binary() -> Path:
    """Return the server, building it when this machine has none yet.

    Raises:
        NotBuilt: there is no Go toolchain, or the build failed.
    """
    path = settings().cache_dir / "toxiproxy" / VERSION / "server"
    if path.exists():
        return path
    go = shutil.which("go")
    if go is None:
        raise NotBuilt("no Go toolchain on PATH to build it with")
    path.parent.mkdir(parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        go, "install", PACKAGE, env={**os.environ, "GOBIN": str(path.parent), "CGO_ENABLED": "0"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        said, _ = await asyncio.wait_for(process.communicate(), BUILD_WITHIN_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise NotBuilt(f"its build took more than {BUILD_WITHIN_S} s") from None
    if process.returncode or not path.exists():
        raise NotBuilt((said.decode(errors="replace").strip().splitlines() or ["go install said nothing"])[-1])
    return path


class Toxiproxy:
    """A running Toxiproxy without toxics."""

    def __init__(self, api: Address) -> None:
        """Describe it; ``start`` spawns. ``api`` is where it takes orders."""
        self._api = api
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None, "not started"
        return self._process.pid

    async def start(self, proxies: Sequence[tuple[Address, Address]]) -> None:
        """Spawn it and make a proxy for each (front, target).

        Raises:
            NotBuilt: as :func:`binary`.
        """
        self._process = await asyncio.create_subprocess_exec(
            str(await binary()), "-host", self._api[0], "-port", str(self._api[1]),
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip

        def up() -> bool | NotYet:
            try:
                return self._ask("GET", "/version", None) == http.HTTPStatus.OK
            except ConnectionError as error:
                return NotYet(str(error))

        await until(up, what="toxiproxy's API", within_s=10)
        for number, (front, target) in enumerate(proxies):
            wanted = {
                "name": f"bench{number}", "listen": _text(front), "upstream": _text(target), "enabled": True,
            }  # fmt: skip
            status = self._ask("POST", "/proxies", wanted)
            assert status == http.HTTPStatus.CREATED, f"toxiproxy made no proxy: {status}"

    def _ask(self, verb: str, path: str, body: object) -> int:
        connection = http.client.HTTPConnection(*self._api, timeout=5)
        try:
            connection.request(verb, path, json.dumps(body) if body else None)
            return connection.getresponse().status
        finally:
            connection.close()

    async def stop(self) -> None:
        """End it."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()


def _text(address: Address) -> str:
    return f"{address[0]}:{address[1]}"
