"""The options that several commands share: which system, changed how, and where runs are kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from harness.phone.configuration import Engine as EngineName
from harness.rig.options import RigOptions
from harness.system import load_system

SystemName = Annotated[str, typer.Option("--system", metavar="NAME|FILE.toml", help="The system under test.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="COMPONENT.KEY=VALUE", help="Change the system; repeatable.")
]
Defects = Annotated[
    list[str] | None, typer.Option("--defect", metavar="PART:NAME", help="Make a reference part wrong; repeatable.")
]
ProfileName = Annotated[str, typer.Option("--profile", metavar="short|real-timers", help="The system's timers.")]
Engine = Annotated[
    EngineName, typer.Option("--engine", help="The media engine of the phones: packets all ours, or LiveKit's own SDK.")
]
Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Where run directories are kept.")]
LivekitServer = Annotated[
    str | None, typer.Option("--livekit-server", metavar="PATH", help="A LiveKit server to use instead of our own.")
]

NoLogs = Annotated[
    bool, typer.Option("--no-logs", help="Judge without the logs of bridge and cloud: by the wire and by content only.")
]


def rig_options(
    system: str, sets: Sequence[str] | None, defects: Sequence[str] | None, profile: str, runs: Path,
    livekit_server: str | None, *, seed: int = 0, keep: bool = False, engine: EngineName = "aiortc",
    no_logs: bool = False,
) -> RigOptions:  # fmt: skip
    """Return these words as options, once every one of them has been seen to be usable.

    Raises:
        SettingsError: the system, a ``--set``, a defect or the profile is wrong.
    """
    options = RigOptions(
        system=system, profile=profile, sets=tuple(sets or ()), defects=tuple(defects or ()), seed=seed,
        runs=runs.resolve(), livekit_server=str(Path(livekit_server).resolve()) if livekit_server else None, keep=keep,
        engine=engine, no_logs=no_logs,
    )  # fmt: skip
    load_system(options.system, profile=options.profile, sets=options.sets, defects=options.defects)
    return options
