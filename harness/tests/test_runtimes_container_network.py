"""What a container's own network is made to suffer, and what the engine tells of containers; without an engine."""

from typing import Any

import docker.errors
import pytest

from harness.errors import FaultDidNotLand
from harness.runtimes.container import packets
from harness.runtimes.container.happenings import Happenings
from harness.tests.container_world import NETWORK, running_containers


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Give a maker of running made-up containers; what it made ends with the test."""
    with running_containers(tmp_path, monkeypatch) as make:
        yield make


async def test_off_its_network_and_back_with_address_and_name(made):
    one, container = made()
    assert "is off aftershock-run-1, where it was 172.31.7.11" in await one.detach()
    assert container.attrs["NetworkSettings"]["Networks"] == {}
    assert "is 172.31.7.11 on aftershock-run-1 again, named bridge" in await one.attach()


async def test_a_network_that_stays_or_comes_back_otherwise_did_not_land(made):
    one, _ = made(keeps="172.31.7.99")
    with pytest.raises(FaultDidNotLand, match="bridge is still on aftershock-run-1"):
        await one.detach()
    with pytest.raises(FaultDidNotLand, match=r"should be 172.31.7.11 .* again; it is 172.31.7.99 as bridge, c0ffee"):
        await one.attach()


async def test_an_address_without_the_name_is_not_enough(made):
    one, _ = made(nameless=True)
    await one.detach()
    with pytest.raises(FaultDidNotLand, match=r"should be 172.31.7.11 .* again; it is 172.31.7.11 as c0ffee"):
        await one.attach()


async def test_what_ended_while_it_was_off_its_network_is_said(made):
    one, container = made()
    await one.detach()
    container.ends(1)
    await one.wait_exit()
    with pytest.raises(FaultDidNotLand, match="bridge ended while it was off aftershock-run-1: it exited 1"):
        await one.attach()
    assert "IPAddress" in container.attrs["NetworkSettings"]["Networks"][NETWORK.name], "its next start has none"


# -- what the engine tells ---------------------------------------------------------------------------------------------


def told(action, /, *, of="bridge", run="run-1", kind="container", **known):
    labels = {"aftershock.run": run, "aftershock.component": of} if kind == "container" else {}
    return {"Type": kind, "Action": action, "Actor": {"ID": f"id-{of}", "Attributes": {**labels, **known}}}


def happenings_of(*said, fails=None):
    def each():
        yield from said
        if fails:
            raise fails

    class Api:
        def events(self, **_):
            stream = type("S", (), {"__iter__": lambda _: each(), "close": lambda _: None})
            return stream()

    heard: list[Any] = []
    connection = type("C", (), {"client": type("D", (), {"api": Api()})()})()
    one = Happenings(connection, "run-1", NETWORK.name, heard.append)
    one._thread.join(2)
    one.close()
    return heard


def test_what_the_engine_tells_of_this_run_becomes_events():
    heard = happenings_of(
        told("exec_create: python3 /app/healthcheck.py"), told("start"), told("start", run="another"),
        told("connect", kind="network", name=NETWORK.name, container="id-bridge"),
        told("disconnect", kind="network", name="another", container="id-bridge"),
        told("connect", kind="network", name=NETWORK.name, container="id-unknown"),
        told("health_status: healthy"), told("oom"), told("kill", signal="9"), told("die", exitCode="137"),
    )  # fmt: skip
    assert [(e.component, e.action, e.detail) for e in heard[:-1]] == [
        ("bridge", "start", ""), ("bridge", "connect", ""), ("bridge", "health_status", "healthy"),
        ("bridge", "oom", ""), ("bridge", "kill", "signal 9"), ("bridge", "die", "exit 137"),
    ]  # fmt: skip
    assert heard[-1].text == "the Docker engine tells no more of this run's containers: the stream ended"


def test_an_engine_that_goes_away_is_a_note():
    (note,) = happenings_of(fails=docker.errors.DockerException("connection reset"))
    assert note.text.endswith("tells no more of this run's containers: connection reset")


# -- packets -----------------------------------------------------------------------------------------------------------


def test_rules_are_never_by_the_interfaces_name():
    assert packets.rules_to_add("udp") == (
        "*filter\n:AFTERSHOCK-UDP - [0:0]\n-A AFTERSHOCK-UDP -p udp -j DROP\n"
        "-I INPUT 1 ! -i lo -j AFTERSHOCK-UDP\n-I OUTPUT 1 ! -o lo -j AFTERSHOCK-UDP\nCOMMIT\n"
    )
    assert "-A AFTERSHOCK-ALL -j DROP" in packets.rules_to_add("all")
    assert "-D OUTPUT ! -o lo -j AFTERSHOCK-TCP" in packets.rules_to_remove("tcp")


COUNTED = """Chain INPUT (policy ACCEPT 3 packets, 180 bytes)
    pkts      bytes target     prot opt in     out     source               destination
      99     9 AFTERSHOCK-UDP  all  --  !lo    *       0.0.0.0/0            0.0.0.0/0
       7      700 DROP       tcp  --  *      *       0.0.0.0/0            0.0.0.0/0

Chain AFTERSHOCK-UDP (2 references)
    pkts      bytes target     prot opt in     out     source               destination
     114    90210 DROP       udp  --  *      *       0.0.0.0/0            0.0.0.0/0

Chain OTHER (0 references)
       5      500 DROP       tcp  --  *      *       0.0.0.0/0            0.0.0.0/0
"""


async def test_only_packets_of_our_own_rules_count(monkeypatch):
    async def says(*_, **__):
        return COUNTED

    monkeypatch.setattr(packets, "_told", says)
    assert await packets.dropped(1, "udp") == 114
    assert await packets.dropped(1, "tcp") is None


@pytest.fixture
def namespace(monkeypatch):
    """Stand for a container's network namespace with packets to count, or without rules (None)."""
    state: dict[str, Any] = {"count": 3, "asked": []}

    async def add(pid, protocol):
        state["asked"].append(("add", pid, protocol))

    async def remove(pid, protocol):
        state["asked"].append(("remove", pid, protocol))

    async def dropped(pid, protocol):
        return state["count"]

    for work in (add, remove, dropped):
        monkeypatch.setattr(packets, work.__name__, work)
    return state


async def test_dropped_packets_are_counted_when_the_rules_go(made, namespace):
    one, _ = made()
    assert "udp packets to and from container c0ffee123456 (pid 4711) are dropped" in await one.drop("udp")
    with pytest.raises(FaultDidNotLand, match="udp packets of bridge are dropped already"):
        await one.drop("udp")
    await one.drop("all")
    assert await one.undrop() == "rules removed, 3 packets dropped"
    assert await one.undrop() == "rules removed, 3 packets dropped"
    assert namespace["asked"][2:] == [("remove", 4711, "all"), ("remove", 4711, "udp")]


async def test_rules_that_dropped_nothing_are_removed_and_did_not_land(made, namespace):
    one, _ = made()
    namespace["count"] = 0
    await one.drop("tcp")
    with pytest.raises(FaultDidNotLand, match="no tcp packet of bridge came by, so none was dropped"):
        await one.undrop()
    assert namespace["asked"][-1] == ("remove", 4711, "tcp")


async def test_rules_that_went_with_a_restart_are_not_taken_for_removed(made, namespace):
    one, container = made()
    with pytest.raises(FaultDidNotLand, match="went with the network namespace of bridge: it was started again"):
        await one.undrop()
    await one.drop("udp")
    container.ends(137)
    await one.wait_exit()
    with pytest.raises(FaultDidNotLand, match="went with the network namespace of bridge: it exited 137"):
        await one.undrop()
    with pytest.raises(FaultDidNotLand, match="bridge was not running"):
        await one.drop("udp")


def test_why_packets_cannot_be_dropped(monkeypatch, tmp_path):
    for name, net in (("self", "net:[1]"), ("12", "net:[2]"), ("13", "net:[1]")):
        (tmp_path / name / "ns").mkdir(parents=True)
        (tmp_path / name / "ns" / "net").symlink_to(net)
        (tmp_path / name / "cgroup").write_text("9:pids:/docker/c0ffee\n")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda program: f"/usr/bin/{program}")
    assert packets.cannot_drop(12, "c0ffee", tmp_path) is None
    assert "shares this machine's own network" in str(packets.cannot_drop(13, "c0ffee", tmp_path))
    assert "elsewhere" in str(packets.cannot_drop(12, "decaf", tmp_path))
    assert "elsewhere" in str(packets.cannot_drop(14, "c0ffee", tmp_path))
    monkeypatch.setattr("shutil.which", lambda program: None if program == "nsenter" else program)
    assert packets.cannot_drop(12, "c0ffee", tmp_path) == (
        "no nsenter on this machine; install util-linux and iptables"
    )
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert "take root" in str(packets.cannot_drop(12, "c0ffee", tmp_path))
