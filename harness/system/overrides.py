"""The command line's words over the file: ``--set component.key=value``, merged into the raw TOML tables."""

from __future__ import annotations

import copy
import shlex
import tomllib
from collections.abc import Sequence
from typing import Any

from harness.errors import UsageError
from harness.system.tables import Keys, suggestion

RUNTIME_KEYS = ("process", "image", "commands", "external")
READY_KINDS = ("http", "tcp", "grpc_health", "log")


def apply_sets(raw: dict[str, Any], sets: Sequence[str]) -> dict[str, Any]:
    """Return ``raw`` with each ``component.key=value`` merged in.

    Raises:
        UsageError: a word that is no such assignment, or names a component that is not there.
    """
    merged = copy.deepcopy(raw)
    said_ours: set[str] = set()
    for word in sets:
        path, value = _split(word, merged.get("components", {}))
        component = merged["components"][path[0]]
        key = path[1]
        if key in RUNTIME_KEYS:
            for other in RUNTIME_KEYS:
                if {other, key} != {"commands", "external"} and other != key:  # these two may stand together
                    component.pop(other, None)
            if path[0] not in said_ours:
                component["ours"] = False
        if key == "ours":
            said_ours.add(path[0])
        if key == "ready" and len(path) > 2 and path[2] in READY_KINDS:
            for kind in READY_KINDS:
                component.get("ready", {}).pop(kind, None)
        _put(component, path[1:], _value(path, value, word), word)
    return merged


def _split(word: str, components: dict[str, Any]) -> tuple[Keys, str]:
    left, equals, value = word.partition("=")
    path = tuple(left.strip().split("."))
    if not equals or len(path) < 2 or not all(path):
        raise UsageError(
            "--set component.key=value", f"--set {word!r}", "write for example --set bridge.image=bridge:mine"
        )
    if path[0] not in components:
        raise UsageError("--set to name a component", f"{path[0]!r}", suggestion(path[0], components))
    return path, value


def _value(path: Keys, value: str, word: str) -> Any:
    """Read the value as its key wants it: commands by the shell's word rules, numbers and booleans as TOML."""
    key = path[1]
    if key in {"image", "env", "mounts", "external"} or (
        key == "ready" and path[-1] in (*READY_KINDS, "path", "service")
    ):
        return value
    if key in {"process", "args", "commands"}:
        try:
            words = shlex.split(value)
        except ValueError as wrong:
            raise UsageError("a command line", f"--set {word!r} ({wrong})", "close the quotes") from None
        if not words:
            raise UsageError("a command line", f"--set {word!r}, with nothing after '='", "write the program") from None
        return words
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value.split(",") if key in {"needs", "udp"} else value


def _put(component: dict[str, Any], path: Keys, value: Any, word: str) -> None:
    table = component
    for key in path[:-1]:
        below = table.setdefault(key, {})
        if not isinstance(below, dict):
            raise UsageError(f"{key} to be a table", f"--set {word!r}", f"{key} takes a value itself")
        table = below
    table[path[-1]] = value
