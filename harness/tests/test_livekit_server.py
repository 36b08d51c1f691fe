"""Where the LiveKit server comes from, what its configuration says, and that the real one keeps to loopback."""

import asyncio
import json
from pathlib import Path

import psutil
import pytest

from harness import livekit_server
from harness.addresses import lease_loopback, lease_ports
from harness.errors import MachineError, StartFailed
from harness.history import Recorder
from harness.livekit_server import VERSION, cached_path, config, find_or_build
from harness.runtimes import Stoppable, process, ready
from harness.settings import settings
from harness.system import Component, Ready, Resolved

SECRET = "s" * 32
REAL = cached_path()


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with an empty cache and nothing but sh and env on PATH."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("sh", "env", "cp", "chmod", "echo", "sleep", "touch"):
        (tools / tool).symlink_to(f"/bin/{tool}" if Path(f"/bin/{tool}").exists() else f"/usr/bin/{tool}")
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setenv("AFTERSHOCK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(livekit_server, "PROJECT_ROOT", tmp_path)
    return tools


def silent(_text: str) -> None:
    """Take no notice of progress."""


GO = f"""
if [ "$1" = version ]; then echo go version go1.27.3 linux/amd64; exit 0; fi
echo "go: downloading much" >&2
touch "$GOBIN/../began-$$"
sleep 0.3
echo '#!/bin/sh' > "$GOBIN/server"
echo 'echo livekit-server version {VERSION}' >> "$GOBIN/server"
chmod +x "$GOBIN/server"
"""


async def test_a_server_given_by_path_must_be_the_pinned_version(machine, tmp_path):
    good = program(tmp_path / "good", f"echo livekit-server version {VERSION}")
    assert (await find_or_build(str(good), silent)).path == good
    old = program(tmp_path / "old", "echo livekit-server version 1.8.0")
    other = program(tmp_path / "other", "echo hello")
    plain = tmp_path / "plain"
    plain.write_text("no program")
    for path, seen in [
        (old, "version 1.8.0"),
        (other, "a program that does not say so"),
        (plain, "a file that is not executable"),
        (tmp_path / "none", "no such file"),
    ]:
        with pytest.raises(MachineError) as raised:
            await find_or_build(str(path), silent)
        assert str(raised.value).startswith(f"expected a LiveKit server {VERSION} at {path}; saw {seen}; give the path")


async def test_path_comes_before_the_cache_when_its_version_is_right(machine):
    cached = program(cached_path(), "exit 1")
    on_path = program(machine / "livekit-server", "echo livekit-server version 1.8.0")
    assert (await find_or_build(None, silent)).path == cached
    program(on_path, f"echo livekit-server version {VERSION}")
    found = await find_or_build(None, silent)
    assert (found.path, found.version, len(found.sha256)) == (on_path, VERSION, 64)


async def test_it_is_built_once_though_two_want_it(machine):
    program(machine / "go", GO)
    program(cached_path().parent / "build-stale" / "server", "exit 1")
    said: list[str] = []
    first, second = await asyncio.gather(find_or_build(None, said.append), find_or_build(None, said.append))
    assert first == second
    assert first.path == cached_path()
    folder = first.path.parent
    assert len(list(folder.glob("began-*"))) == 1
    assert not list(folder.glob("build-*"))
    assert any("another run is building it" in text for text in said)
    assert any("built in" in text for text in said)


async def test_a_build_that_fails_says_why_and_leaves_nothing(machine):
    program(machine / "go", 'if [ "$1" = version ]; then echo go version go1.26.0; else echo no space left; exit 1; fi')
    with pytest.raises(MachineError) as raised:
        await find_or_build(None, silent)
    assert "it no space left" in str(raised.value)
    assert [entry.name for entry in cached_path().parent.iterdir()] == ["lock"]


async def test_go_comes_by_uv_when_the_machines_is_too_old(machine, tmp_path):
    program(machine / "go", "echo go version go1.22.1 linux/amd64")
    with pytest.raises(MachineError) as raised:
        await find_or_build(None, silent)
    assert "saw Go 1.22 on PATH; install Go 1.26, or uv" in str(raised.value)
    program(tmp_path / ".uv" / "bin" / "uv", f"shift 5\n{GO}")
    said: list[str] = []
    assert (await find_or_build(None, said.append)).path == cached_path()
    assert any("fetching a Go toolchain with uv" in text for text in said)


async def test_a_cache_that_cannot_be_written_is_a_sentence(machine, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("AFTERSHOCK_CACHE", str(tmp_path / "file"))
    with pytest.raises(MachineError, match="set AFTERSHOCK_CACHE to a directory of yours"):
        await find_or_build(None, silent)


def test_the_configuration_keeps_everything_on_loopback():
    settled = json.loads(config("127.16.0.1", 20001, 20002, "key", SECRET))
    assert settled["bind_addresses"] == ["127.16.0.1"]
    assert settled["rtc"]["stun_servers"] == ["127.0.0.1:9"]
    assert settled["rtc"]["tcp_port"] == 0
    assert settled["rtc"]["allow_tcp_fallback"] is False
    with pytest.raises(ValueError, match="at least 32 characters"):
        config("127.16.0.1", 20001, 20002, "key", "short")


@pytest.fixture
async def real(tmp_path):
    """Start the real server with some configuration."""
    if not REAL.exists():
        if settings().in_ci:
            pytest.fail(f"no LiveKit server at {REAL}")
        pytest.skip(f"no LiveKit server at {REAL}")
    address, ports = lease_loopback(), lease_ports(2)
    recorder = Recorder(tmp_path, "run-lk", "rig")
    component = Component("livekit", ports={"signal": 1}, ready=Ready("http", port="signal", path="/"), events=False)
    started = []

    async def begin(change):
        path = tmp_path / "livekit.yaml"
        path.write_text(change(config(address.value, ports.value[0], ports.value[1], "key", SECRET)))
        resolved = Resolved((str(REAL), "--config", str(path)), {})
        running = await process.start(component, resolved, run="run-lk", run_dir=tmp_path, recorder=recorder)
        started.append(running)
        await ready(component, {"signal": (address.value, ports.value[0])}, running)
        return running, address.value, ports.value

    yield begin
    for running in started:
        assert isinstance(running, Stoppable)
        await running.stop(1.0)
    recorder.close()
    address.close()
    ports.close()


async def test_the_real_server_listens_on_loopback_only(real):
    running, address, (signal_port, udp_port) = await real(lambda text: text)
    sockets = {sock.laddr for sock in psutil.Process(int(running.identity)).net_connections() if not sock.raddr}
    assert (address, signal_port) in sockets
    assert ("127.0.0.1", udp_port) in sockets
    assert all(ip.startswith("127.") for ip, _port in sockets), sockets


async def test_a_key_that_the_server_does_not_know_is_seen_though_it_exits_with_0(real):
    with pytest.raises(StartFailed, match=r"it ended before .*; it exited 0"):
        await real(lambda text: text.replace('"node_ip"', '"node_ipp"'))
