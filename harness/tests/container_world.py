"""Containers and an engine as docker-py shows them, made up."""

import asyncio
import contextlib
import ipaddress
import queue
from typing import Any

import docker.errors

from harness.history import Recorder
from harness.runtimes.container import running
from harness.runtimes.container.engine import RunNetwork
from harness.runtimes.container.running import ContainerRunning
from harness.runtimes.log import Log
from harness.system import Component

SUBNET = ipaddress.IPv4Network("172.31.7.0/24")
NETWORK = RunNetwork("aftershock-run-1", SUBNET, "172.31.7.1", "tap2887714560", "0123456789abcdef")


def api_error(text):
    """Return what docker-py raises when the engine refuses."""
    return docker.errors.APIError("refused", explanation=text)


class MadeUpContainer:
    """A container as docker-py shows it; ``deaf`` ignores signals."""

    short_id = "c0ffee123456"
    id = "c0ffee123456c0ffee123456"
    name = "made-up"

    def __init__(self, *, deaf=False, frozen=False, keeps=None, nameless=False):
        self.attrs: dict[str, Any] = {"State": {"Pid": 4711, "Status": "running", "OOMKilled": False}}
        self.attrs["NetworkSettings"] = {"Networks": {NETWORK.name: {}}}
        self.deaf, self.frozen, self.keeps, self.nameless = deaf, frozen, keeps, nameless
        self.client = self  # of which networks and a sign of life are asked
        self.networks = self.api = self
        self.silent = None
        self.lines: queue.Queue[bytes | None] = queue.Queue()
        self.status: queue.Queue[Any] = queue.Queue()
        self.asked = []

    def ends(self, status, **state):
        self.attrs["State"] |= state
        self.lines.put(None)
        self.status.put(status)

    def kill(self, signal):
        self.asked.append(signal)
        if not self.deaf:
            self.ends(137)

    def stop(self, timeout):
        self.asked.append(f"stop {timeout}")
        self.ends(137 if self.deaf else 0)

    def restart(self, timeout):
        self.asked.append(f"restart {timeout}")
        self.ends(143, Pid=self.keeps or 4712)

    base_url = "http+docker://localhost"

    def get(self, what, timeout=0):
        if what == f"{self.base_url}/_ping":
            if self.silent is not None:
                raise self.silent
            return self
        assert what == NETWORK.id
        return self

    def raise_for_status(self):
        pass

    def disconnect(self, _):
        if self.keeps is None:
            del self.attrs["NetworkSettings"]["Networks"][NETWORK.name]

    def connect(self, _, *, ipv4_address, aliases):
        found = {"IPAddress": self.keeps or ipv4_address, "Aliases": [*([] if self.nameless else aliases), "c0ffee"]}
        self.attrs["NetworkSettings"]["Networks"][NETWORK.name] = found

    def pause(self):
        if not self.frozen:
            self.attrs["State"]["Status"] = "paused"

    def unpause(self):
        self.attrs["State"]["Status"] = "running"

    def reload(self):
        pass

    def logs(self, **_):
        return (line for line in iter(self.lines.get, None))

    def wait(self, **_):
        status = self.status.get()
        if isinstance(status, Exception):
            raise status
        return {"StatusCode": status}


class MadeUpEngine:
    """An engine that holds these of the run, removes what is not stuck, and may be gone."""

    def __init__(self, *held, stuck=(), gone=None):
        self.held, self.stuck, self.gone = list(held), stuck, gone
        self.client = self.api = self
        self.order = []

    def silent(self):
        return self.gone

    def containers(self, **_):
        self.order.append("looked")
        return [{"Names": [f"/{name}"], "Id": f"id-of-{name}"} for name in self.held if "network" not in name]

    def networks(self, **_):
        return [{"Name": name, "Id": f"id-of-{name}"} for name in self.held if "network" in name]

    def remove_container(self, one, **_):
        self.held = [name for name in self.held if f"id-of-{name}" != one or name in self.stuck]

    remove_network = remove_container

    def close(self):
        self.order.append("closed")


@contextlib.contextmanager
def running_containers(tmp_path, monkeypatch):
    """Give a maker of running made-up containers; what it made ends with the block."""
    monkeypatch.setattr(running, "IGNORED_AFTER_S", 0.1)
    recorder = Recorder(tmp_path, "run-1", "rig")
    every = []

    def make(part=None, **how):
        container: Any = MadeUpContainer(**how)
        log = Log(tmp_path / "logs" / "bridge.log", "bridge", recorder=recorder, all_events=True)
        one: Any = ContainerRunning(
            part or Component("bridge"), container, log, {"image": "x:1"}, asyncio.to_thread, network=NETWORK,
            address="172.31.7.11",
        )  # fmt: skip
        one.exits = []
        one.watch(None, lambda ended: one.exits.append(ended.log_path.read_text()))
        every.append((one, container))
        return one, container

    yield make
    for one, container in every:
        container.ends(0)
        one.join(1)
    recorder.close()
