"""The Docker engine: its images, and the network of one run. Every call blocks: use threads."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

# Both are read when testcontainers is imported. Its reaper is an image that must be pulled; the run's janitor does that
# work here. And it takes itself to be inside a container wherever /.dockerenv exists.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
os.environ.setdefault("TESTCONTAINERS_CONNECTION_MODE", "docker_host")

import docker.errors
import requests
from docker.client import DockerClient as Connection
from docker.types.networks import IPAMConfig, IPAMPool
from docker.utils.utils import parse_host
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.network import Network

from harness.errors import MachineError
from harness.remains import Remain
from harness.run_lease import machine_id
from harness.settings import settings

RUN_LABEL = "aftershock.run"
"""On every container and network: the run's id."""
PART_LABEL = "aftershock.component"
MACHINE_LABEL = "aftershock.machine"
"""On every container and network: which start of which machine has the rig, since several may share an engine."""
ENGINE_ERRORS = (docker.errors.DockerException, requests.exceptions.RequestException)
"""What docker-py raises when the engine refuses or does not answer."""
ANSWERS_WITHIN_S = 60
"""Limit of a call that makes something."""
ACTS_WITHIN_S = 10
"""Limit of a call that does something to what is there: kill, pause, inspect."""
PINGS_WITHIN_S = 3.0
"""An engine that lets so much time pass without a word is taken for dead."""
STEP_SHOWN = 90
"""Characters of a build's step that are told."""
TRIES = 8

INTERFACE_OPTION = "com.docker.network.bridge.name"
"""Docker's option of a bridge network: how this machine's interface to it is called."""
LAST_CHOICE = "tap"
"""How this machine's interface to a run's network begins; digits follow. WebRTC libraries send media over any interface
of the machine, and Google's prefers one of unknown kind (``br-...``) to Ethernet: a run beside this one would go deaf
when the network is removed. What is called tap and digits counts as a VPN there, which comes last (rtc_base/network.cc,
GetAdapterTypeFromName and SortNetworks)."""

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
    id: str = ""

    def address(self, number: int) -> str:
        """Return the fixed address of the run's container ``number``, from 0; the gateway has the first."""
        return str(self.subnet[10 + number])

    def remain(self) -> Remain:
        """Return it as an entry of remains.json."""
        return Remain("network", self.name, self.id, interface=self.interface)


def run_labels(run: str) -> dict[str, str]:
    """Return the labels of everything that is made for a run."""
    return {RUN_LABEL: run, MACHINE_LABEL: machine_id()}


def why(error: BaseException) -> str:
    """Return what the engine said, or why it said nothing, in one line."""
    if isinstance(error, requests.exceptions.Timeout):
        return "no answer in time"
    said = getattr(error, "explanation", None) or _refusal(error) or str(error) or type(error).__name__
    return " ".join(str(said).split())[:300]


def _refusal(error: BaseException) -> str:
    """Return the system's own words, e.g. "Connection refused", from under the libraries' layers of errors."""
    if isinstance(error, OSError) and not isinstance(error, requests.exceptions.RequestException) and error.strerror:
        return error.strerror
    inner = [one for one in (*error.args, error.__cause__) if isinstance(one, BaseException)]
    nested = [one for part in error.args if isinstance(part, tuple) for one in part if isinstance(one, BaseException)]
    return next((words for one in (*inner, *nested) if (words := _refusal(one))), "")


def silence_of(connection: Connection) -> str | None:
    """Return why the engine behind a connection gives no answer (within 3 s), or None when it does."""
    api = connection.api
    try:
        api.get(f"{api.base_url}/_ping", timeout=PINGS_WITHIN_S).raise_for_status()
    except ENGINE_ERRORS as refused:
        return why(refused)
    return None


class Engine:
    """A connection to the engine that ``docker`` uses too (DOCKER_HOST, else the current context)."""

    def __init__(self, within_s: int = ANSWERS_WITHIN_S) -> None:
        """Connect; ``within_s`` is how long each answer may take.

        Raises:
            MachineError: no engine answers, or DOCKER_HOST names none that could.
        """
        try:
            self.client = DockerClient(timeout=within_s).client
            self.client.ping()
        except (*ENGINE_ERRORS, ValueError) as refused:  # what docker-py raises of a port that is none
            raise _no_answer(settings().docker_host, refused) from None

    @cached_property
    def quick(self) -> Connection:
        """A connection with a shorter limit, for what is done to containers that are there."""
        made: Connection = DockerClient(timeout=ACTS_WITHIN_S).client
        return made

    def close(self) -> None:
        """Let go of the connections."""
        self.client.close()
        if "quick" in self.__dict__:
            self.quick.close()

    def silent(self) -> str | None:
        """Return why the engine gives no answer (within 3 s), or None when it does."""
        return silence_of(self.client)

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

    def tags_with(self, label: str) -> list[str]:
        """Return every tag of the images that carry a label. Raises ENGINE_ERRORS."""
        return sorted(str(tag) for one in self.client.images.list(filters={"label": label}) for tag in one.tags)

    def tag(self, image: str, name: str, tag: str) -> None:
        """Give an image that is there one more tag.

        Raises:
            MachineError: the engine refuses.
        """
        try:
            self.client.images.get(image).tag(name, tag)
        except ENGINE_ERRORS as refused:
            raise MachineError(f"to tag {image} as {name}:{tag}", why(refused), "look at `docker images`") from None

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
                interface = f"{LAST_CHOICE}{int(subnet.network_address)}"
                named = {INTERFACE_OPTION: interface}
                made = self._network(name, run, ipam=IPAMConfig(pool_configs=[pool]), options=named)
            except docker.errors.APIError as error:
                refused = why(error)
                if "overlaps with" in refused:
                    continue  # another run took the subnet in between
                break
            except ENGINE_ERRORS as error:
                refused = why(error)
                break
            return RunNetwork(name, subnet, gateway, interface, str(made.id))
        raise MachineError(
            "a Docker network of the run's own", refused,
            "`aftershock clean` removes what dead runs left; else end other runs, or give the engine a larger pool "
            "(default-address-pools in its daemon.json)",
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
        wanted = {"driver": "bridge", "internal": True, "labels": run_labels(run), "check_duplicate": True, **more}
        network = Network(docker_network_kw=wanted)
        network.name = name
        return network.create()


def _no_answer(host: str, refused: Exception) -> MachineError:
    if _is_no_address(host):
        return MachineError(
            "DOCKER_HOST to name an engine, as unix:///var/run/docker.sock or tcp://HOST:PORT",
            f"DOCKER_HOST={host} ({why(refused)})", "mend DOCKER_HOST, or unset it",
        )  # fmt: skip
    return MachineError(
        "a Docker engine that answers, for the parts given as images", why(refused),
        "start it and look at `docker info`, or give those parts as processes",
    )  # fmt: skip


def _is_no_address(host: str) -> bool:
    """Tell whether no engine could be reached by this DOCKER_HOST, whichever runs; ssh needs more than is installed."""
    try:
        return str(parse_host(host)).startswith(("ssh:", "npipe:"))
    except (docker.errors.DockerException, ValueError):
        return True


def _not_built(image: str, dockerfile: str, said: list[str]) -> MachineError:
    end = " / ".join(said[-4:])
    return MachineError(f"to build the image {image} by {dockerfile}", end[-600:], "mend that, or name another image")
