"""The engine's answers, good and bad; without an engine."""

from typing import Any

import docker.errors
import pytest
import requests
import urllib3

from harness.errors import MachineError
from harness.runtimes.container.engine import Engine, why
from harness.tests.container_world import NETWORK, SUBNET, api_error


@pytest.fixture
def bare_engine(monkeypatch):
    """Give an engine that has no connection, with the names of the networks it was asked for."""
    one = Engine.__new__(Engine)
    answers: list[Exception] = []
    wanted: list[Any] = []

    def network(name, run, **more):
        wanted.append(more)
        answer = answers.pop(0) if answers else None
        if answer is not None:
            raise answer
        return type("Made", (), {"id": "0123456789abcdef"})()

    monkeypatch.setattr(one, "_network", network)
    monkeypatch.setattr(one, "_free_subnet", lambda name, run: SUBNET)
    return one, answers, wanted


def test_a_subnet_lost_to_another_run_is_tried_again(bare_engine):
    one, answers, wanted = bare_engine
    answers.append(api_error("Pool overlaps with other one on this address space"))
    assert one.make_network("run-1") == NETWORK
    assert len(wanted) == 2
    assert wanted[1]["ipam"]["Config"][0]["Subnet"] == "172.31.7.0/24"
    assert NETWORK.address(2) == "172.31.7.12"


def test_no_addresses_left_is_a_sentence(bare_engine):
    one, answers, wanted = bare_engine
    answers.append(api_error("could not find an available, non-overlapping IPv4 address pool"))
    with pytest.raises(MachineError, match="IPv4 address pool; `aftershock clean` removes"):
        one.make_network("run-1")
    assert len(wanted) == 1


def test_a_failed_build_ends_with_its_last_lines(monkeypatch):
    one = Engine.__new__(Engine)
    said: list[str] = []
    steps = [{"stream": "Step 1/2 : FROM   x\n"}, {"stream": "Collecting grpcio\n"}, {"error": "pip returned 1"}]
    monkeypatch.setattr(one, "_building", lambda *_: iter(steps))
    with pytest.raises(MachineError, match=r"docker/bridge/Dockerfile; saw .*Collecting grpcio / pip returned 1"):
        one.build("b:1", b"", "docker/bridge/Dockerfile", version="1", labels={}, say=said.append)
    assert said == ["image b:1: Step 1/2 : FROM x"]


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("tcp://127.0.0.1:abc", "saw DOCKER_HOST=tcp://127.0.0.1:abc (Port could not be cast"),
        ("ssh://nowhere", "saw DOCKER_HOST=ssh://nowhere (Install paramiko"),
        ("npipe:////./pipe/docker", "saw DOCKER_HOST=npipe"),
    ],
)
def test_a_docker_host_that_names_no_engine_is_a_sentence(monkeypatch, host, says):
    monkeypatch.setenv("DOCKER_HOST", host)
    with pytest.raises(MachineError) as raised:
        Engine(1)
    assert says in str(raised.value)
    assert raised.value.mend == "mend DOCKER_HOST, or unset it"


def test_an_engine_that_is_silent_is_not_the_fault_of_a_docker_host_that_names_it(monkeypatch):
    def refuse(timeout):
        raise docker.errors.DockerException("Connection refused")

    monkeypatch.setattr("harness.runtimes.container.engine.DockerClient", refuse)
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/mine.sock")
    with pytest.raises(MachineError, match="saw Connection refused; start it"):
        Engine(1)


def test_why_is_the_systems_own_words():
    refused = requests.exceptions.ConnectionError(
        urllib3.exceptions.ProtocolError("Connection aborted.", ConnectionRefusedError(111, "Connection refused"))
    )
    assert why(refused) == "Connection refused"
    nested = docker.errors.DockerException(f"Error while fetching server API version: {refused}")
    nested.__cause__ = refused
    assert why(nested) == "Connection refused"
    assert why(requests.exceptions.ReadTimeout("UnixHTTPConnectionPool(host='localhost')")) == "no answer in time"
    assert why(api_error("no such\n image")) == "no such image"
    assert why(docker.errors.DockerException()) == "DockerException"
