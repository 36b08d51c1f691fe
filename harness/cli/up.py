"""``aftershock up``: a stack without a story, left standing to be tried by hand, and ended whole."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.words import Defects, LivekitServer, ProfileName, Runs, Sets, SystemName, rig_options
from harness.rig import Rig, RigOptions
from harness.rig.run_dir import check_writable
from harness.story import ScenarioInfo

AsJson = Annotated[bool, typer.Option("--json", help="One JSON line with every address once all is up.")]
ENDED_WHOLE, NOT_WHOLE = 0, 3


def up(
    system: SystemName = "reference",
    sets: Sets = None,
    defects: Defects = None,
    profile: ProfileName = "short",
    runs: Runs = Path("runs"),
    livekit_server: LivekitServer = None,
    as_json: AsJson = False,
) -> None:
    """Start a stack, print every address, and leave it standing until Ctrl-C or `aftershock clean`.

    To end it is its normal end: exit 0 after Ctrl-C once it stands; 3 when it cannot start or something is left of it.
    """
    options = rig_options(system, sets, defects, profile, runs, livekit_server, keep=True)
    check_writable(options.runs)
    try:
        code = asyncio.run(_up(options, as_json=as_json))
    except asyncio.CancelledError:  # SIGTERM while it started; for SIGINT asyncio raises KeyboardInterrupt itself
        code = 128 + signal.SIGTERM
    raise typer.Exit(code)


async def _up(options: RigOptions, *, as_json: bool) -> int:
    rig = Rig(options, ScenarioInfo("up", up))
    standing = await rig.stand()
    try:
        print(json.dumps(standing.facts()) if as_json else standing.text(), flush=True)
        await rig.hold(lambda line: print(line, file=sys.stderr, flush=True))
        print("ending it", file=sys.stderr, flush=True)
    finally:
        await rig.release()
    for line in rig.left:
        print(f"left: {line}", file=sys.stderr)
    return NOT_WHOLE if rig.left else ENDED_WHOLE
