"""``--known FILE``: the list is read and held against the scenarios there are, before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.errors import KnownFileError
from harness.rig.known import read_known, without_scenario
from harness.story import ScenarioInfo
from harness.system.mistakes import suggestion


def checked_known(path: Path | None, scenarios: Mapping[str, ScenarioInfo]) -> str | None:
    """Return the list's absolute path once every entry of it is seen to be usable; None without a list.

    Raises:
        KnownFileError: it cannot be read, an entry is wrong, or one names a scenario that there is not.
    """
    if path is None:
        return None
    ids = [full_id for info in scenarios.values() for full_id in info.ids()]
    strangers = without_scenario(read_known(path), ids)
    if strangers:
        seen = f"{strangers[0]!r} ({path})"
        raise KnownFileError("a pattern that fits a scenario", seen, suggestion(strangers[0], list(scenarios)))
    return str(path.resolve())
