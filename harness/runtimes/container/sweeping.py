"""What of dead runs an engine still has, found by its labels, and removing it. Every call blocks, none for long."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import docker.errors

from harness.errors import MachineError
from harness.firewall import rules_naming
from harness.remains import Remain
from harness.runtimes.container.engine import ENGINE_ERRORS, INTERFACE_OPTION, MACHINE_LABEL, RUN_LABEL, Engine, why

ANSWERS_WITHIN_S = 6
SWEPT_WITHIN_S = 8.0
QUIET_S = 0.75
"""So long nothing more of a dead run must turn up before all of it is taken for gone..."""
MAKING_S = 2.0
"""...and not before this long after we began: the engine may still be making what the rig asked for at its end."""
ROUND_S = 0.25
SIDE_BY_SIDE = 8
INTERFACES = Path("/sys/class/net")


@dataclass(frozen=True)
class Labelled:
    """A container or network that carries the label of a run."""

    kind: str
    """container or network."""
    name: str
    id: str
    run: str
    machine: str
    """What the rig called its machine (:func:`harness.run_lease.machine_id`); empty when it said nothing."""
    interface: str = ""
    """This machine's interface to a network; empty for a container."""

    def remain(self) -> Remain:
        """Return it as an entry of remains.json."""
        return Remain(self.kind, self.name, self.id, interface=self.interface)


@dataclass(frozen=True)
class Swept:
    """What became of a dead run's containers, networks and rules."""

    removed: tuple[str, ...]
    """In words."""
    left: tuple[Remain, ...]
    problem: str = ""
    """Why the engine could not be asked; empty when it answered."""


def labelled(engine: Engine, run: str = "") -> list[Labelled]:
    """Return what carries the label of ``run``, or of any run: containers first, since networks wait for them."""
    label = f"{RUN_LABEL}={run}" if run else RUN_LABEL
    # The API's own lists: one call each, and nothing that vanishes meanwhile is asked for again.
    containers = engine.client.api.containers(all=True, filters={"label": label})
    networks = engine.client.api.networks(filters={"label": label})
    found = [
        _labelled("container", str(one["Names"][0]).lstrip("/") if one["Names"] else "", one) for one in containers
    ]
    return found + [_labelled("network", str(one["Name"]), one) for one in networks]


def remove(engine: Engine, found: Iterable[Labelled]) -> None:
    """Remove these, running, paused or not, side by side; networks last. What resists is for the caller to see."""
    each = list(found)
    api = engine.client.api
    calls: dict[str, Callable[[str], object]] = {
        "container": lambda one: api.remove_container(one, force=True, v=True),
        "network": api.remove_network,
    }
    for kind, call in calls.items():
        ids = [one.id for one in each if one.kind == kind]
        if ids:
            with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
                list(pool.map(_quiet(call), ids))


def clear(engine: Engine, wanted: Iterable[Labelled], within_s: float = SWEPT_WITHIN_S) -> list[Labelled]:
    """Remove these (of dead runs, so nothing more of them turns up); return what is still there after ``within_s``."""
    left, limit = list(wanted), time.monotonic() + within_s
    while left:
        remove(engine, left)
        there = {one.id for one in labelled(engine)}
        left = [one for one in left if one.id in there]
        if time.monotonic() > limit:
            break
        time.sleep(ROUND_S if left else 0)
    return left


def sweep(run: str, within_s: float = SWEPT_WITHIN_S) -> Swept:
    """Remove all of a dead run, until nothing more of it turns up; look for rules on its networks.

    Raises:
        MachineError: no engine answers.
    """
    began = time.monotonic()
    engine = Engine(ANSWERS_WITHIN_S)
    seen: dict[Labelled, None] = {}
    try:
        quiet_at, found = began + MAKING_S, labelled(engine, run)
        while time.monotonic() < began + within_s and (found or time.monotonic() < quiet_at):
            if found:
                seen |= dict.fromkeys(found)
                remove(engine, found)
                quiet_at = max(began + MAKING_S, time.monotonic() + QUIET_S)
            time.sleep(ROUND_S)
            found = labelled(engine, run)
        left = labelled(engine, run)
    except ENGINE_ERRORS as refused:
        return Swept((), tuple(one.remain() for one in seen), why(refused))
    finally:
        engine.close()
    rules = rules_naming(run, *freed(one.interface for one in seen if one not in left))
    return Swept(
        tuple(f"{one.kind} {one.name}" for one in seen if one not in left),
        (*(one.remain() for one in left), *(Remain("rule", rule) for rule in rules)),
    )


def freed(interfaces: Iterable[str]) -> list[str]:
    """Return those that this machine has no more; one that it has is another run's by now, rules on it are not ours."""
    return [name for name in dict.fromkeys(interfaces) if name and not (INTERFACES / name).exists()]


def sweep_and_tell(run: str) -> None:
    """Print as JSON what ``sweep`` did (for the janitor, which reads it)."""
    try:
        swept = sweep(run)
    except MachineError as refused:
        swept = Swept((), (), refused.seen)
    except ENGINE_ERRORS as refused:
        swept = Swept((), (), why(refused))
    json.dump(asdict(swept), sys.stdout)


def _labelled(kind: str, name: str, one: dict[str, Any]) -> Labelled:
    labels, options, number = one.get("Labels") or {}, one.get("Options") or {}, str(one["Id"])
    # What we did not name, the engine did.
    interface = str(options.get(INTERFACE_OPTION) or f"br-{number[:12]}") if kind == "network" else ""
    return Labelled(
        kind, name, number, str(labels.get(RUN_LABEL, "")), str(labels.get(MACHINE_LABEL, "")), interface
    )  # fmt: skip


def _quiet(call: Callable[[str], object]) -> Callable[[str], None]:
    def quiet(one: str) -> None:
        # In use, or on its way out already: the caller looks again.
        with contextlib.suppress(docker.errors.APIError):
            call(one)

    return quiet
