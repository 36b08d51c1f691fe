"""Reads a system's TOML file, with the command line's words over it; every mistake is a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import SystemFileError, UsageError
from harness.system.additions import LIVEKIT_SECRET, check_livekit_secret, check_parts, check_secrets
from harness.system.building import build, leaves
from harness.system.layers import SYSTEMS_DIR, Layer, known_systems, merged, read_layers, where
from harness.system.mistakes import Problem, suggestion
from harness.system.overrides import apply_sets
from harness.system.schema import check
from harness.system.values import System


def load_system(
    name_or_file: str, *, profile: str = "short", sets: Sequence[str] = (), defects: Sequence[str] = ()
) -> System:
    """Read a system by its name or its file's path.

    Raises:
        SystemFileError: the file cannot be used; names the line.
        UsageError: an unknown system, profile or defect, or a ``--set`` that cannot be used.
    """
    layers = read_layers(_find(name_or_file))
    path, raw = layers[0].path, merged(layers)
    try:
        check(raw)
        system = build(path, raw, profile)
        if len(layers) > 1:
            check_parts(system, _table(layers[-1], "components"))
            check_secrets(system, leaves(_table(layers[-1], "secrets")))
    except Problem as wrong:
        raise _in_file(layers, wrong) from None
    if sets or defects:
        try:
            raw = apply_sets(raw, sets)
            check(raw)
            below, system = system, build(path, raw, profile, tuple(sets), tuple(defects))
            check_secrets(system, below.secrets)
        except Problem as wrong:
            raise _by_set(wrong) from None
    # Only now: a LiveKit that runs already, said by --set, takes any secret.
    try:
        check_livekit_secret(system)
    except Problem as wrong:
        said = any(word.partition("=")[0].strip() == f"secrets.{LIVEKIT_SECRET}" for word in sets)
        raise (_by_set(wrong) if said else _in_file(layers, wrong)) from None
    return system


def _table(layer: Layer, key: str) -> Mapping[str, Any]:
    found = layer.raw.get(key)  # a base alone need not be a system
    return found if isinstance(found, Mapping) else {}


def _in_file(layers: Sequence[Layer], wrong: Problem) -> SystemFileError:
    return SystemFileError(wrong.expected, f"{wrong.seen} ({where(layers, *wrong.places)})", wrong.mend)


def _by_set(wrong: Problem) -> UsageError:
    return UsageError(wrong.expected, f"{wrong.seen} (by --set)", wrong.mend)


def _find(name_or_file: str) -> Path:
    if name_or_file in known_systems():
        return SYSTEMS_DIR / f"{name_or_file}.toml"
    path = Path(name_or_file)
    if path.is_file():
        return path.resolve()
    if path.suffix == ".toml" or "/" in name_or_file:
        seen = f"a directory at {name_or_file}" if path.is_dir() else f"no file {name_or_file}"
        raise UsageError("a system's TOML file", seen, "check the path")
    raise UsageError(
        "the name of a system or a TOML file", repr(name_or_file), suggestion(name_or_file, known_systems())
    )
