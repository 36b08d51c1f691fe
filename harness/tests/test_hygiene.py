"""What a run leaves is named; what others do meanwhile is not."""

import os
import socket
import subprocess
import time
from types import SimpleNamespace

import pytest

from harness.rig import hygiene
from harness.rig.hygiene import Baseline
from harness.settings import child_environment, scratch_dir


@pytest.fixture
def stack(monkeypatch):
    run = f"test-hygiene-{os.getpid()}"
    monkeypatch.setattr(hygiene, "rules_naming", lambda *words: [word for word in words if word == "br-left"])
    return SimpleNamespace(
        run=run, in_containers=(), janitor=SimpleNamespace(living=list), interface="", places=set, leased=frozenset(),
    )  # fmt: skip


def started(**how):
    return subprocess.Popen(["sleep", "60"], start_new_session=True, **how)


def test_nothing_is_left_and_looking_is_quick(stack):
    began = time.monotonic()
    baseline = Baseline.take(stack)
    foreign = started()
    with socket.create_server(("127.0.0.1", 0)):
        assert baseline.left(stack, ["bridge"]) == []
    assert time.monotonic() - began < 1  # some 20 ms on a free machine
    foreign.kill()
    foreign.wait()


def test_each_thing_left_is_named(stack):
    baseline = Baseline.take(stack)
    part = started(env=child_environment(stack.run, "bridge", {}))
    command = started(env={})
    scratch_dir(stack.run).mkdir()
    stack.janitor.living = lambda: [part.pid, command.pid]
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        stack.places = lambda: {(host, port), (host, 1)}
        left = baseline.left(stack, ["cloud", "bridge"])
    for process in (part, command):
        process.kill()
        process.wait()
    scratch_dir(stack.run).rmdir()
    assert left == [
        f"process {part.pid} of bridge: sleep 60",
        f"process {command.pid} that a command left: sleep 60",
        f"port {port} of 127.0.0.1 still listens",
        f"directory {scratch_dir(stack.run)}",
    ]
    assert baseline.left(stack, []) == []


@pytest.mark.parametrize(("host", "named"), [("0.0.0.0", "0.0.0.0"), ("::", "::"), ("::1", None), ("127.0.0.1", None)])
def test_a_part_that_listens_everywhere_holds_a_leased_port(stack, host, named):
    """On any other address of the machine than those of the run, the port may be anybody's."""
    baseline = Baseline.take(stack)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        port = server.getsockname()[1]
        assert baseline.left(stack, []) == []
        stack.leased = frozenset({port})
        assert baseline.left(stack, []) == ([f"port {port} of {named} still listens"] if named else [])


def test_an_ipv4_address_in_ipv6_s_table_is_one():
    assert hygiene._address("0000000000000000FFFF00000100007F") == "127.0.0.1"
    assert hygiene._address("00000000000000000000000001000000") == "::1"
    assert hygiene._address("0100007F") == "127.0.0.1"


def test_what_the_engine_has_and_rules_are_named(stack, monkeypatch):
    stack.in_containers, stack.interface = ("bridge",), "br-left"
    baseline = Baseline.take(stack)
    monkeypatch.setattr(Baseline, "_held", lambda _: ["container aftershock-x"])
    assert baseline.left(stack, []) == ["container aftershock-x", "rule br-left"]


def test_what_was_there_before_is_not_the_run_s(stack):
    with socket.create_server(("127.0.0.1", 0)) as server:
        baseline = Baseline.take(stack)
        stack.places = lambda: {server.getsockname()}
        assert baseline.left(stack, []) == []
