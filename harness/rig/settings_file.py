"""What a run was asked to do, with which system, timers and versions: its first event, and ``settings.json``."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path

from harness import events as ev
from harness.redact import mask
from harness.rig.known import known_of
from harness.rig.options import RigOptions
from harness.rig.tested import CONTRACT, own_commit
from harness.story import ScenarioInfo
from harness.system import System

PACKAGES = ("aiortc", "grpcio", "livekit", "livekit-protocol", "testcontainers", "websockets")
"""Libraries whose version can change what a run sees."""


def write_settings(run_dir: Path, options: RigOptions, system: System) -> None:
    """Write the file; nothing reads it but people."""
    told = {
        "schema": 1,
        "options": {name: value for name, value in asdict(options).items() if name not in {"runs", "verdicts"}},
        "system": {
            "name": system.name,
            "room_template": system.room_template,
            "defects": system.defects,
            "runtimes": {name: part.runtime for name, part in system.components.items()},
            "images": {name: part.image for name, part in system.components.items() if part.image},
        },
        "profile": asdict(system.profile),
        "versions": {"harness": own_commit(), "contract": CONTRACT, "python": platform.python_version()}
        | {package: metadata.version(package) for package in PACKAGES},
        "machine": {"cores": os.cpu_count(), "kernel": platform.release(), "load": round(os.getloadavg()[0], 2)},
    }
    (run_dir / "settings.json").write_text(mask(json.dumps(told, indent=2)) + "\n")


def without_logs(system: System) -> System:
    """Return the system with the logs of its bridges and clouds kept from the judge."""
    hidden = {
        name: replace(part, events=False, hidden_log=True) if name.startswith(("bridge", "cloud")) else part
        for name, part in system.components.items()
    }
    return replace(system, components=hidden)


def run_started(options: RigOptions, info: ScenarioInfo, scenario: str, system: System, epoch_ns: int) -> ev.RunStarted:
    """Return a run's first event: what checkers and reports must know of how it was asked for."""
    return ev.RunStarted(
        scenario=scenario, seed=options.seed, profile=system.profile.name, system=system.name, epoch_ns=epoch_ns,
        timers=system.profile.timers, told=system.told, alarm=system.alarm, expected=system.expected,
        rerun=options.rerun(scenario), baseline=info.baseline, known=known_of(options.known, scenario),
        waited_s=options.waited_s,
    )  # fmt: skip
