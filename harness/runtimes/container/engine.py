"""The Docker engine: its images, and the network and containers of one run. Every call blocks: use threads."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

# Both are read when testcontainers is imported. Its reaper is an image that must be pulled; the run's janitor does that
# work here. And it takes itself to be inside a container wherever /.dockerenv exists.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
os.environ.setdefault("TESTCONTAINERS_CONNECTION_MODE", "docker_host")

import docker.errors
import requests
from docker.models.containers import Container
from docker.types.networks import IPAMConfig, IPAMPool
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.network import Network

from harness.errors import MachineError

RUN_LABEL = "aftershock.run"
"""On every container and network: the run's id."""
PART_LABEL = "aftershock.component"
ENGINE_ERRORS = (docker.errors.DockerException, requests.exceptions.RequestException)
"""What docker-py raises when the engine refuses or does not answer."""
ANSWERS_WITHIN_S = 60
STEP_SHOWN = 90
"""Characters of a build's step that are told."""
TRIES = 8
QUIET_S = 1.5
"""So long nothing of a dead run must turn up before all of it is taken for gone: the engine may still be making what
the rig asked for with its last breath."""
ROUND_S = 0.25

Say = Callable[[str], object]


@dataclass(frozen=True)
class RunNetwork:
    """A network of one run: its containers have fixed addresses, nothing leads out of it but to this machine."""

    name: str
    subnet: ipaddress.IPv4Network
    gateway: str
    """This machine's address in it."""
    interface: str
    """This machine's interface to it."""

    def address(self, number: int) -> str:
        """Return the fixed address of the run's container ``number``, from 0; the gateway has the first."""
        return str(self.subnet[10 + number])


def why(error: BaseException) -> str:
    """Return what the engine said, in one line."""
    said = getattr(error, "explanation", None) or str(error) or type(error).__name__
    return " ".join(str(said).split())[:300]


class Engine:
    """A connection to the engine that ``docker`` uses too (DOCKER_HOST, else the current context)."""

    def __init__(self) -> None:
        """Connect.

        Raises:
            MachineError: no engine answers.
        """
        try:
            self.client = DockerClient(timeout=ANSWERS_WITHIN_S).client
            self.client.ping()
        except ENGINE_ERRORS as refused:
            raise MachineError(
                "a Docker engine that answers, for the parts given as images", why(refused),
                "start it and look at `docker info`, or give those parts as processes",
            ) from None  # fmt: skip

    def close(self) -> None:
        """Let go of the connections."""
        self.client.close()

    # -- images ------------------------------------------------------------------------------------------------------

    def image_facts(self, image: str) -> dict[str, str] | None:
        """Return an image's name, id, digest and version as far as it says so; None when the engine has no such."""
        try:
            found = self.client.images.get(image)
        except docker.errors.ImageNotFound:
            return None
        except ENGINE_ERRORS as refused:
            raise MachineError(f"the image {image}", why(refused), "give the name of an image") from None
        facts = {"image": image, "id": str(found.id)}
        digests = found.attrs.get("RepoDigests") or []
        if digests:
            facts["digest"] = str(digests[0]).partition("@")[2]
        version = (found.labels or {}).get("org.opencontainers.image.version")
        return facts | ({"version": str(version)} if version else {})

    def build(
        self, image: str, context: bytes, dockerfile: str, *, version: str, labels: dict[str, str], say: Say
    ) -> None:
        """Build ``image`` from a tar; tell each step.

        Raises:
            MachineError: a step failed; the sentence has its last lines.
        """
        said: list[str] = []
        try:
            for line in self._building(image, context, dockerfile, version, labels):
                if "error" in line:
                    said.append(str(line["error"]).strip())
                    raise _not_built(image, dockerfile, said)
                text = " ".join(str(line.get("stream", "")).split())
                if text.startswith("Step "):
                    say(f"image {image}: {text[:STEP_SHOWN]}")
                if text:
                    said.append(text)
        except ENGINE_ERRORS as refused:
            raise _not_built(image, dockerfile, [*said, why(refused)]) from None

    def _building(
        self, image: str, context: bytes, dockerfile: str, version: str, labels: dict[str, str]
    ) -> Iterator[Mapping[str, Any]]:
        built: Iterator[Mapping[str, Any]] = self.client.api.build(
            fileobj=context, custom_context=True, dockerfile=dockerfile, tag=image, rm=True, forcerm=True,
            decode=True, labels=labels, buildargs={"VERSION": version},
        )  # fmt: skip
        return built

    def pull(self, image: str, say: Say) -> None:
        """Fetch an image from its registry.

        Raises:
            MachineError: it cannot be had.
        """
        say(f"image {image}: not here, pulling it")
        try:
            self.client.images.pull(image)
        except ENGINE_ERRORS as refused:
            raise MachineError(
                f"the image {image}, here or in its registry", why(refused), "build or pull it, or mend its name"
            ) from None

    # -- networks ----------------------------------------------------------------------------------------------------

    def make_network(self, run: str) -> RunNetwork:
        """Make the run's network.

        Fixed addresses need a subnet of our own choice, and only the engine knows which are free: so it chooses one for
        a first network, and we make a second with that subnet.

        Raises:
            MachineError: the engine has no addresses left, or refuses.
        """
        name, refused = f"aftershock-{run}", "another run was always faster"
        for _ in range(TRIES):
            try:
                subnet = self._free_subnet(name, run)
                gateway = str(subnet[1])
                pool = IPAMPool(subnet=str(subnet), gateway=gateway)
                made = self._network(name, run, ipam=IPAMConfig(pool_configs=[pool]))
            except docker.errors.APIError as error:
                refused = why(error)
                if "overlaps with" in refused:
                    continue  # another run took the subnet in between
                break
            except ENGINE_ERRORS as error:
                refused = why(error)
                break
            return RunNetwork(name, subnet, gateway, f"br-{str(made.id)[:12]}")
        raise MachineError(
            "a Docker network of the run's own", refused,
            "end other runs; `docker network prune` removes unused networks",
        )  # fmt: skip

    def _free_subnet(self, name: str, run: str) -> ipaddress.IPv4Network:
        probe = self._network(name, run)
        try:
            found = self.client.networks.get(str(probe.id)).attrs["IPAM"]["Config"][0]["Subnet"]
        finally:
            probe.remove()
        return ipaddress.IPv4Network(found)

    def _network(self, name: str, run: str, **more: Any) -> Network:
        # Internal: no way out, so that nothing a part does can leave this machine; this machine is reached as ever.
        wanted = {"driver": "bridge", "internal": True, "labels": {RUN_LABEL: run}, "check_duplicate": True, **more}
        network = Network(docker_network_kw=wanted)
        network.name = name
        return network.create()

    # -- what a run has ------------------------------------------------------------------------------------------------

    def left_of(self, run: str) -> list[str]:
        """Return what there is of the run, as "container NAME" and "network NAME"."""
        containers = self.client.containers.list(all=True, filters={"label": f"{RUN_LABEL}={run}"}, ignore_removed=True)
        networks = self.client.networks.list(filters={"label": f"{RUN_LABEL}={run}"})
        return [f"container {one.name}" for one in containers] + [f"network {one.name}" for one in networks]

    def remove_all(self, run: str) -> list[str]:
        """Remove the run's containers, running or not, side by side; then its networks; return what was there."""
        mine = {"label": f"{RUN_LABEL}={run}"}
        containers = self.client.containers.list(all=True, filters=mine, ignore_removed=True)
        if containers:
            with ThreadPoolExecutor(len(containers)) as pool:
                list(pool.map(_remove, containers))
        networks = self.client.networks.list(filters=mine)
        for network in networks:
            with contextlib.suppress(docker.errors.APIError):  # a container that came late holds it: next round
                network.remove()
        return [f"container {one.name}" for one in containers] + [f"network {one.name}" for one in networks]


def _not_built(image: str, dockerfile: str, said: list[str]) -> MachineError:
    end = " / ".join(said[-4:])
    return MachineError(f"to build the image {image} by {dockerfile}", end[-600:], "mend that, or name another image")


def _remove(container: Container) -> None:
    # In use, or on its way out already: the caller looks again.
    with contextlib.suppress(docker.errors.APIError):
        container.remove(force=True, v=True)


def sweep(run: str, within_s: float = 8.0) -> list[str]:
    """Remove all of a dead run, until nothing more of it turns up; return what was there, each once."""
    engine = Engine()
    seen: dict[str, None] = {}
    limit, quiet_from = time.monotonic() + within_s, time.monotonic()
    while time.monotonic() < limit and time.monotonic() - quiet_from < QUIET_S:
        found = engine.remove_all(run)
        if found:
            seen |= dict.fromkeys(found)
            quiet_from = time.monotonic()
        time.sleep(ROUND_S)
    left = engine.left_of(run)
    engine.close()
    return [*(one for one in seen if one not in left), *(f"STILL THERE: {one}" for one in left)]


def sweep_and_tell(run: str) -> None:
    """Print as JSON what ``sweep`` removed (for the janitor, which reads it)."""
    try:
        print(json.dumps(sweep(run)))
    except (MachineError, *ENGINE_ERRORS) as refused:
        print(json.dumps([f"STILL THERE, perhaps: containers of the run ({why(refused)})"]))
