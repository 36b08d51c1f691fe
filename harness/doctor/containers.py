"""The Docker engine, the images of runs, and the addresses that the engine gives to networks."""

from __future__ import annotations

import errno
import ipaddress
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.doctor.machine import datagram
from harness.doctor.values import Check, Group, Status
from harness.errors import MachineError
from harness.livekit_server import cached_path

if TYPE_CHECKING:
    from harness.runtimes.container.engine import Engine

ENGINE_WITHIN_S = 3
"""An engine that keeps silent for longer counts as one that does not answer."""
API_NEEDED = (1, 24)
"""docker-py 7.2's MINIMUM_DOCKER_API_VERSION."""
BASE_IMAGE = "python:3.11-slim-bookworm"
"""What docker/bridge and docker/cloud are built from."""
ROUTES = Path("/proc/net/route")
ROUTE_UP, ROUTE_REJECT = 0x1, 0x200
"""RTF_UP and RTF_REJECT of linux/route.h."""
BUILT_IN_POOLS = (*(f"172.{octet}.0.0/16" for octet in range(17, 32)), "192.168.0.0/16")
"""The engine's own, where its configuration names none (Docker's manual, `dockerd --default-address-pool`)."""
WORDS = {
    "No such file or directory": "there is no socket where the engine's should be",
    "Permission denied": "this user may not use the engine's socket",
    "no answer in time": "the engine keeps silent",
    "timed out": "the engine keeps silent",
    "Connection refused": "nothing listens at the engine's socket",
}
"""Part of what is raised -> what it means."""

Network = ipaddress.IPv4Network


def examine_engine() -> list[Check]:
    """Look at everything that needs the engine; where none answers, that is the one lack."""
    checks = [_program()]
    # Imported here: it takes a third of a second, which runs of processes need not wait for.
    from harness.runtimes.container.engine import ENGINE_ERRORS, Engine, why  # noqa: PLC0415

    try:
        engine = Engine(ENGINE_WITHIN_S)
    except MachineError as refused:
        return [*checks, _no_engine(refused.seen)]
    try:
        checks += [_answers(engine), *_images(engine), _gateway(engine), _pools(engine)]
    except ENGINE_ERRORS as refused:
        checks.append(_no_engine(why(refused)))
    finally:
        engine.close()
    return checks


def _program() -> Check:
    found = shutil.which("docker")
    if found:
        return Check(Group.CONTAINERS, "docker program", Status.OK, found)
    return Check(
        Group.CONTAINERS, "docker program", Status.INFO, "none on PATH; runs speak to the engine themselves",
        "looking at containers by hand", "install the docker program (Debian: apt-get install docker.io)",
    )  # fmt: skip


def _no_engine(said: str) -> Check:
    seen = next((words for part, words in WORDS.items() if part in said), said)
    mend = "systemctl start docker (install Docker Engine first where it is missing; DOCKER_HOST names another)"
    if seen == WORDS["Permission denied"]:
        mend = "usermod -aG docker USER as root, then log in anew"
    if said.startswith("DOCKER_HOST="):
        mend = "mend DOCKER_HOST, or unset it"
    return Check(Group.CONTAINERS, "Docker engine", Status.LACK, seen, "parts given as images", mend)


def _answers(engine: Engine) -> Check:
    told: dict[str, Any] = engine.client.version()
    api = tuple(int(part) for part in str(told["ApiVersion"]).split(".")[:2])
    seen = f"{told['Version']} answers, API {told['ApiVersion']}, {told['Os']}/{told['Arch']}"
    if api < API_NEEDED or told["Os"] != "linux":
        needed = ".".join(map(str, API_NEEDED))
        mend = "use an engine of Linux containers that is newer"
        return Check(Group.CONTAINERS, "Docker engine", Status.LACK, seen, f"containers: API {needed} is needed", mend)
    return Check(Group.CONTAINERS, "Docker engine", Status.OK, seen)


def _images(engine: Engine) -> list[Check]:
    from harness import images  # noqa: PLC0415  it imports docker-py, too

    base = engine.image_facts(BASE_IMAGE) is not None
    ours = [images.python_recipe(name).image for name in images.PYTHON_PARTS]
    livekit = _livekit_image()
    wanted = [*ours, *([livekit] if livekit else [])]
    have = [image for image in wanted if engine.image_facts(image) is not None]
    missing = [image for image in wanted if image not in have] + ([] if livekit else [images.LIVEKIT])
    seen = ", ".join(have) or "none of this state of the files"
    checks = []
    if not missing:
        checks.append(Check(Group.CONTAINERS, "images", Status.OK, seen))
    else:
        checks.append(Check(
            Group.CONTAINERS, "images", Status.INFO, f"{seen}; missing: {', '.join(missing)}",
            "the first run builds them: half a minute, for which packages are fetched",
            "aftershock run baseline --system containers",
        ))  # fmt: skip
    if base:
        checks.append(Check(Group.CONTAINERS, "base image", Status.OK, BASE_IMAGE))
    elif set(ours) <= set(have):
        checks.append(Check(
            Group.CONTAINERS, "base image", Status.INFO, f"no {BASE_IMAGE}; nothing has to be built now",
            "building images anew pulls it", f"docker pull {BASE_IMAGE}",
        ))  # fmt: skip
    else:
        checks.append(Check(
            Group.CONTAINERS, "base image", Status.INFO, f"no {BASE_IMAGE}",
            "building our bridge and cloud pulls it first: nothing is built where no registry can be reached",
            f"docker pull {BASE_IMAGE}",
        ))  # fmt: skip
    return checks


def _livekit_image() -> str | None:
    """Return the name that LiveKit's image has with the server of this machine; None when that is not built yet."""
    from harness import images  # noqa: PLC0415

    on_path = shutil.which("livekit-server")
    server = Path(on_path) if on_path else cached_path()
    return images.livekit_recipe(server).image if server.exists() else None


def _gateway(engine: Engine) -> Check:
    """Send a datagram to this machine's address in the engine's default network, where there is one."""
    found = [network for network in engine.client.networks.list() if network.name == "bridge"]
    config = found[0].attrs["IPAM"]["Config"] if found else []
    gateway = config[0].get("Gateway") if config else None
    if gateway is None:
        return Check(Group.CONTAINERS, "UDP to containers", Status.INFO, "no default network to try it in; not tried")
    why_not = datagram(gateway)
    if why_not:
        vanished = why_not == os.strerror(errno.EADDRNOTAVAIL)
        return Check(
            Group.CONTAINERS, "UDP to containers", Status.LACK, f"at the gateway {gateway}: {why_not}",
            "media between phones and LiveKit in a container",
            "restart the Docker engine: its bridge is gone" if vanished
            else f"iptables -I INPUT -d {gateway} -p udp -j ACCEPT",
        )  # fmt: skip
    return Check(Group.CONTAINERS, "UDP to containers", Status.OK, f"a datagram came at the gateway {gateway}")


def _pools(engine: Engine) -> Check:
    """Look whether packets to a network that has just vanished would leave by the default route."""
    configured = engine.client.info().get("DefaultAddressPools") or []
    named = [ipaddress.ip_network(str(pool["Base"]), strict=False) for pool in configured]
    pools = [pool for pool in named if isinstance(pool, Network)]  # runs' own networks are of IPv4
    if not named:
        pools = [Network(pool) for pool in BUILT_IN_POOLS]
    routes = list(_routes(ROUTES.read_text()))
    shown = ", ".join(map(str, named)) if named else "the engine's built-in address pools"
    leaks = [pool for pool in pools if leaves_the_machine(pool, routes)]
    if not leaks:
        return Check(Group.CONTAINERS, "container routes", Status.OK, f"nothing to {shown} leaves this machine")
    return Check(
        Group.CONTAINERS, "container routes", Status.INFO, f"{shown}: no route of their own",
        "a packet to a network that was just removed follows the default route out of this machine",
        " && ".join(f"ip route add unreachable {pool} metric 42949" for pool in leaks[:2])
        + (" && ..." if len(leaks) > 2 else ""),
        bars=(),
    )  # fmt: skip


def leaves_the_machine(pool: Network, routes: Iterable[tuple[Network, bool]]) -> bool:
    """Tell whether a packet to ``pool`` would take the default route; ``routes``: (to, rejects?) each."""
    known = list(routes)
    default = any(network.prefixlen == 0 and not rejects for network, rejects in known)
    stopped = any(rejects and pool.subnet_of(network) for network, rejects in known)
    return default and not stopped


def _routes(table: str) -> Iterable[tuple[Network, bool]]:
    """Read /proc/net/route: hexadecimal addresses in this machine's byte order (little-endian on all that we know)."""
    for line in table.splitlines()[1:]:
        words = line.split()
        flags = int(words[3], 16)
        if flags & ROUTE_UP:
            yield _network(words[1], words[7]), bool(flags & ROUTE_REJECT)


def _network(destination: str, mask: str) -> Network:
    address = ipaddress.IPv4Address(bytes.fromhex(destination)[::-1])
    length = int(mask, 16).bit_count()
    return Network((int(address), length), strict=False)
