"""The doctor: what it says of what it sees, and which runs that rules out."""

import errno
import ipaddress
import json
import resource
import shutil
import socket
import sys
from types import SimpleNamespace

import psutil
import pytest

from harness import cli, livekit_server
from harness.addresses import FIRST_PORT, LAST_PORT
from harness.cli import doctor as cli_doctor
from harness.doctor import (
    Check,
    Examination,
    Group,
    Status,
    as_json,
    as_text,
    containers,
    examination,
    lacks_text,
    machine,
    tools,
)
from harness.errors import MachineError
from harness.runtimes.container import engine

OURS = Check(Group.MUST, "ports", Status.LACK, "3 of 12000 free", "any run", "ss -tulpn")
FINE = Check(Group.MUST, "Python", Status.OK, "3.11.7")
ENGINE = Check(Group.CONTAINERS, "Docker engine", Status.LACK, "no socket", "parts given as images", "start it")
LOADED = Check(Group.MUST, "cores", Status.INFO, "load 9", "UNKNOWN for lag", "wait")


def test_a_lack_rules_out_what_needs_it_and_nothing_else():
    assert all(Examination((FINE, LOADED)).ready.values())
    assert not any(Examination((OURS,)).ready.values())
    ready = Examination((FINE, ENGINE)).ready
    assert ready == {
        "process runs": True, "container runs": False, "network faults in containers": False, "pm2 scenarios": True,
    }  # fmt: skip


def test_the_table_has_every_group_each_mend_and_what_the_machine_is_ready_for():
    text = as_text(Examination((FINE, ENGINE)))
    assert [line for line in text.splitlines() if not line.startswith(" ")] == [
        "must have", "containers", "extras",
        "ready for: process runs, pm2 scenarios; not for: container runs, network faults in containers",
    ]  # fmt: skip
    assert "mend: start it" in text
    assert "without it: parts given as images" in text


def test_the_lacks_alone():
    assert lacks_text(Examination((FINE, LOADED))) == "doctor: nothing lacking that it knows of"
    text = lacks_text(Examination((FINE, ENGINE)))
    assert "Docker engine" in text
    assert "Python" not in text


def test_json_has_the_published_keys():
    got = json.loads(as_json(Examination((FINE, ENGINE))))
    assert got["schema"] == 1
    assert set(got["checks"][1]) == {"group", "name", "status", "seen", "without", "mend"}
    assert got["ready"]["container runs"] is False


@pytest.mark.parametrize(("checks", "code"), [((FINE, ENGINE), 0), ((OURS,), 3)])
def test_exit_code_says_whether_process_runs_can_be_done(monkeypatch, capsys, checks, code):
    async def examine(runs):
        return Examination(checks)

    monkeypatch.setattr(cli_doctor, "examine", examine)
    assert cli.main(["doctor", "--json"]) == code
    assert json.loads(capsys.readouterr().out)["schema"] == 1


@pytest.mark.parametrize(
    ("limit", "status"), [(64, Status.LACK), (512, Status.INFO), (4096, Status.OK), (resource.RLIM_INFINITY, Status.OK)]
)
def test_descriptors(monkeypatch, limit, status):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, 4096))
    assert machine.descriptors().status is status


def test_a_clock_that_differs_between_processes_is_a_lack(monkeypatch):
    assert machine.clock().status is Status.OK
    monkeypatch.setattr(sys, "executable", "/bin/echo")
    assert machine.clock().status is Status.LACK


def test_few_free_ports_are_a_lack(monkeypatch):
    assert machine.ports().status is Status.OK
    taken = [SimpleNamespace(laddr=SimpleNamespace(port=port)) for port in range(FIRST_PORT, LAST_PORT - 5)]
    monkeypatch.setattr(psutil, "net_connections", lambda _: taken)
    found = machine.ports()
    assert found.status is Status.LACK
    assert found.seen.startswith("6 of 12000 free")


def test_a_datagram_comes_back_or_the_reason_why_not():
    assert machine.datagram("127.0.0.1") == ""
    assert machine.datagram("192.0.2.77") != ""


def test_a_loopback_that_cannot_be_bound_is_a_lack(monkeypatch):
    def refuse(self, address):
        raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")

    assert machine.loopback().status is Status.OK
    monkeypatch.setattr(socket.socket, "bind", refuse)
    assert "127.16.0.1 cannot be bound" in machine.loopback().seen


def test_a_directory_yet_to_be_made_is_measured_where_it_would_be(tmp_path, monkeypatch):
    assert machine.disk("runs", tmp_path / "not" / "there").status is not Status.LACK
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    found = machine.disk("runs", tmp_path / "not" / "there")
    assert (found.status, str(tmp_path) in found.seen, "--runs DIR" in found.mend) == (Status.LACK, True, True)


async def test_without_livekit_and_without_a_way_to_build_it(monkeypatch):
    async def nothing():
        return None

    async def old():
        return (1, 19)

    monkeypatch.setattr(livekit_server, "found", nothing)
    monkeypatch.setattr(livekit_server, "go_on_path", old)
    monkeypatch.setattr(livekit_server, "uvs", list)
    found = await tools.livekit()
    assert (found.status, "Go 1.19" in found.seen) == (Status.LACK, True)
    monkeypatch.setattr(livekit_server, "uvs", lambda: ["/bin/uv"])
    assert (await tools.livekit()).status is Status.INFO


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        ("No such file or directory", "there is no socket where the engine's should be"),
        ("Permission denied", "this user may not use the engine's socket"),
        ("something new", "something new"),
        ("DOCKER_HOST=x (no address)", "DOCKER_HOST=x (no address)"),
    ],
)
def test_no_engine_is_told_in_words_and_rules_out_containers(monkeypatch, raised, words):
    def refuse(within_s):
        raise MachineError("an engine", raised, "start it")

    monkeypatch.setattr(engine, "Engine", refuse)
    found = containers.examine_engine()[-1]
    assert (found.status, found.seen) == (Status.LACK, words)
    assert found.mend.startswith("mend DOCKER_HOST") == raised.startswith("DOCKER_HOST")
    assert not Examination((found,)).ready["container runs"]


TABLE = """Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
*\t00001FAC\t00000000\t0201\t0\t0\t42949\t0000FFFF\t0\t0\t0
"""


@pytest.mark.parametrize(("pool", "leaves"), [("172.31.0.0/17", False), ("172.17.0.0/16", True)])
def test_a_pool_leaves_by_the_default_route_unless_one_of_its_own_rejects(pool, leaves):
    routes = list(containers._routes(TABLE))
    assert containers.leaves_the_machine(ipaddress.IPv4Network(pool), routes) is leaves
    assert not containers.leaves_the_machine(ipaddress.IPv4Network(pool), routes[1:])


@pytest.mark.parametrize(
    ("pools", "status", "shown"),
    [
        (["10.1.2.3/16"], Status.INFO, "10.1.0.0/16: no route"),
        (["fd00::/64"], Status.OK, "nothing to fd00::/64 leaves"),
        (["fd00::/64", "10.1.0.0/16"], Status.INFO, "fd00::/64, 10.1.0.0/16: no route"),
        ([], Status.INFO, "the engine's built-in address pools"),
    ],
)
def test_pools_as_the_engine_may_name_them(monkeypatch, tmp_path, pools, status, shown):
    table = tmp_path / "route"
    table.write_text(TABLE)
    monkeypatch.setattr(containers, "ROUTES", table)
    info = {"DefaultAddressPools": [{"Base": base, "Size": 24} for base in pools]}
    made_up = SimpleNamespace(client=SimpleNamespace(info=lambda: info))
    found = containers._pools(made_up)  # type: ignore[arg-type]
    assert (found.status, shown in found.seen) == (status, True)


async def test_a_check_that_fails_by_itself_is_a_lack_and_the_rest_is_told(monkeypatch, tmp_path):
    def fail():
        raise ValueError("odd answer")

    monkeypatch.setattr(machine, "memory", fail)
    monkeypatch.setattr(containers, "examine_engine", fail)
    found = await examination.examine(tmp_path)
    seen = {check.name: check.seen for check in found.lacks()}
    assert seen["memory"] == seen["Docker engine"] == "could not be looked at: odd answer"
    assert {"Python", "clock", "npm", "root"} <= {check.name for check in found.checks}


def test_a_file_in_the_place_of_the_runs_directory_is_a_lack(tmp_path):
    (tmp_path / "file").write_text("")
    assert machine.disk("runs", tmp_path / "file").status is Status.LACK
