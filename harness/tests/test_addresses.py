"""Leases are machine-unique, end with their process, and never hand out what is taken."""

import socket
import subprocess
import sys

import pytest

from harness import addresses
from harness.addresses import lease_loopback, lease_ports, probe_port
from harness.errors import MachineError
from harness.settings import settings


@pytest.fixture(autouse=True)
def lock_dir(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.settings.tempfile.gettempdir", lambda: str(tmp_path))
    return settings().lock_dir


def small(monkeypatch, count):
    """Leave only ``count`` ports to lease."""
    with lease_ports(1) as leases:
        first = leases.value[0]
    monkeypatch.setattr(addresses, "FIRST_PORT", first)
    monkeypatch.setattr(addresses, "LAST_PORT", first + count - 1)
    return first


def test_loopbacks_differ_and_can_be_bound():
    with lease_loopback() as one, lease_loopback() as two:
        assert one.value != two.value
        first, second = (int(word) for word in one.value.split(".")[:2])
        assert first == 127
        assert second >= 16
        with socket.socket() as sock:
            sock.bind((one.value, 0))


def test_ports_are_unique_and_come_back(monkeypatch, lock_dir):
    small(monkeypatch, 3)
    with lease_ports(2) as leases, lease_ports(1) as other:
        assert len({*leases.value, *other.value}) == 3
        with pytest.raises(MachineError, match=r"expected 1 free ports .* saw 0 that are free and not leased"):
            lease_ports(1)
    assert len(lease_ports(3).value) == 3
    assert lock_dir.stat().st_mode & 0o7777 == 0o1777


def test_no_loopback_left_is_one_sentence(monkeypatch):
    monkeypatch.setattr(addresses, "LOOPBACKS", 1)
    with lease_loopback(), pytest.raises(MachineError, match="all are leased"):
        lease_loopback()


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize("option", [None, socket.SO_REUSEADDR, socket.SO_REUSEPORT])
def test_a_port_in_use_is_passed_over(monkeypatch, kind, option):
    first = small(monkeypatch, 2)
    with socket.socket(socket.AF_INET, kind) as taken:
        if option is not None:
            taken.setsockopt(socket.SOL_SOCKET, option, 1)
        taken.bind(("127.0.0.1", first))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        with lease_ports(1) as leases:
            assert leases.value == (first + 1,)


def test_a_port_with_a_connection_in_time_wait_is_fine():
    with lease_ports(1) as leases, socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", leases.value[0]))
        listener.listen()
        with socket.create_connection(listener.getsockname()) as dialer:
            accepted, _ = listener.accept()
            accepted.close()  # who closes first keeps the TIME_WAIT, on this port
            assert dialer.recv(1) == b""
        listener.close()
        probe_port("0.0.0.0", leases.value[0])


def test_leases_end_with_their_process(monkeypatch, tmp_path):
    first = small(monkeypatch, 1)
    code = (
        "import sys, tempfile; tempfile.tempdir = sys.argv[1]; from harness import addresses;"
        "addresses.FIRST_PORT = addresses.LAST_PORT = int(sys.argv[2]);"
        "lease = addresses.lease_ports(1); print(lease.value, flush=True); sys.stdin.read()"
    )
    argv = [sys.executable, "-c", code, str(tmp_path), str(first)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == f"({first},)\n"
        with pytest.raises(MachineError):
            lease_ports(1)
        other.kill()
    with lease_ports(1) as leases:
        assert leases.value == (first,)


def test_a_taken_port_names_its_holder():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        probe_port("127.0.0.2", port)
        taken.listen()
        with pytest.raises(MachineError, match=rf"tcp port {port} of 127.0.0.1 free; saw port taken by pid \d+ \(.+\)"):
            probe_port("127.0.0.1", port)


def test_an_address_that_is_not_ours_is_one_sentence():
    with pytest.raises(MachineError, match="Cannot assign requested address; choose another address or port"):
        probe_port("192.0.2.1", 0)
