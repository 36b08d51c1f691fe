"""The command line's words over the file: ``--set component.key=value``, merged into the raw TOML tables."""

from __future__ import annotations

import copy
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import UsageError
from harness.system.layers import READY_KINDS, change_runtime
from harness.system.mistakes import Keys, suggestion

SECRETS = "secrets"


def apply_sets(raw: Mapping[str, Any], sets: Sequence[str]) -> dict[str, Any]:
    """Return ``raw`` with each ``component.key=value`` merged in.

    Raises:
        UsageError: a word that is no such assignment, or names a component that is not there.
    """
    merged = copy.deepcopy(dict(raw))
    said_ours: dict[str, Any] = {}
    said_limits: dict[str, Any] = {}
    for word in sets:
        path, value = _split(word, merged["components"])
        if path[0] == SECRETS:
            _put_secret(merged, path, value, word)
            continue
        component = merged["components"][path[0]]
        key = path[1]
        change_runtime(component, [key])
        ready = component.get("ready")
        if key == "ready" and len(path) > 2 and path[2] in READY_KINDS and isinstance(ready, dict):
            for kind in READY_KINDS:
                ready.pop(kind, None)
        _put(component, path[1:], _value(path, value, word), word)
        if key == "ours":
            said_ours[path[0]] = component["ours"]
        if path[0] in said_ours:
            component["ours"] = said_ours[path[0]]
        if key == "limits":
            said_limits[path[0]] = component["limits"]
        if path[0] in said_limits:  # whichever runtime was said before or after: they are not to be lost in silence
            component["limits"] = said_limits[path[0]]
    return merged


def _split(word: str, components: Mapping[str, Any]) -> tuple[Keys, str]:
    left, equals, value = word.partition("=")
    path = tuple(left.strip().split("."))
    if not equals or len(path) < 2 or not all(path):
        raise UsageError(
            "--set component.key=value", f"--set {word!r}", "write for example --set bridge.image=bridge:mine"
        )
    if path[0] != SECRETS and path[0] not in components:
        raise UsageError("--set to name a component", f"{path[0]!r}", suggestion(path[0], components))
    return path, value


def _put_secret(merged: dict[str, Any], path: Keys, value: str, word: str) -> None:
    there: Any = merged
    for key in path:
        there = there.get(key) if isinstance(there, Mapping) else None
    if isinstance(there, Mapping):
        name = ".".join(path)
        one = " or ".join(f"{name}.{key}" for key in there)
        raise UsageError("--set to name one secret", f"{name}, which is a table", f"write {one}")
    _put(merged, path, _variable(value, word), word)


def _variable(value: str, word: str) -> str:
    """Let a secret only come from the environment: words of the command line are written down."""
    if not value.startswith("$") or value.startswith("$$"):
        name = word.partition("=")[0].strip()
        raise UsageError("--set to name the environment variable of a secret", name, f"write --set '{name}=$NAME'")
    return value


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
    except (tomllib.TOMLDecodeError, RecursionError):
        return value.split(",") if key in {"needs", "udp"} else value


def _put(table: dict[str, Any], path: Keys, value: Any, word: str) -> None:
    for key in path[:-1]:
        below = table.setdefault(key, {})
        if not isinstance(below, dict):
            raise UsageError(f"{key} to be a table", f"--set {word!r}", f"{key} takes a value itself")
        table = below
    table[path[-1]] = value
