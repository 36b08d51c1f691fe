"""Reads a system's TOML file, with the command line's words over it; every mistake is a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.errors import SystemFileError, UsageError
from harness.system.building import build
from harness.system.layers import SYSTEMS_DIR, known_systems, merged, read_layers, where
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
        plain = build(path, raw, profile)
    except Problem as wrong:
        raise SystemFileError(wrong.expected, f"{wrong.seen} ({where(layers, wrong.keys)})", wrong.mend) from None
    if not sets and not defects:
        return plain
    try:
        raw = apply_sets(raw, sets)
        check(raw)
        return build(path, raw, profile, tuple(sets), tuple(defects))
    except Problem as wrong:
        raise UsageError(wrong.expected, f"{wrong.seen} (by --set)", wrong.mend) from None


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
