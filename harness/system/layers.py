"""A system's file and the files below it: ``base = "reference"`` lays a file over a shipped one.

Also the rule for another runtime, which a file above and ``--set`` share: the one below is dropped with what it ran.
"""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import SystemFileError
from harness.settings import PROJECT_ROOT
from harness.system.mistakes import Keys, line_of, suggestion

SYSTEMS_DIR = PROJECT_ROOT / "fixtures" / "systems"
RUNTIME_KEYS = ("process", "image", "commands", "external")
READY_KINDS = ("http", "tcp", "grpc_health", "log")
BASE = "base"


@dataclass(frozen=True)
class Layer:
    """One TOML file, read."""

    path: Path
    source: str
    raw: Mapping[str, Any]


def known_systems() -> list[str]:
    """Return the names that stand for a shipped system."""
    return sorted(path.stem for path in SYSTEMS_DIR.glob("*.toml"))


def read_layers(path: Path) -> tuple[Layer, ...]:
    """Return the file at ``path`` and its bases, the file itself first.

    Raises:
        SystemFileError: a file that cannot be read, is no TOML, or names a base that is not there.
    """
    layers: list[Layer] = []
    below: Path | None = path
    while below is not None:
        layers.append(_read(below))
        if any(layer.path == layers[-1].path for layer in layers[:-1]):
            chain = " -> ".join(layer.path.name for layer in layers)
            raise _wrong_base(layers[-2], "base without a circle", chain, "remove one of them")
        below = _base_of(layers[-1])
    return tuple(layers)


def merged(layers: Sequence[Layer]) -> dict[str, Any]:
    """Return one whole document: each layer laid over those after it."""
    document = copy.deepcopy(dict(layers[-1].raw))
    for layer in reversed(layers[:-1]):
        document = _over(document, layer.raw)
    document.pop(BASE, None)
    return document


def where(layers: Sequence[Layer], *places: Keys) -> str:
    """Return the file and line that write one of ``places``: the topmost that writes most of it."""
    found = [(*line_of(layer.source, keys), layer.path) for layer in layers for keys in places]
    line, _, path = max(found, key=lambda place: place[1])
    return f"{path}, line {line}"


def change_runtime(component: dict[str, Any], told: Collection[str]) -> None:
    """Drop the runtimes of ``component`` that give way to those of ``told``, and limits that nothing would keep then.

    It is no longer a part of ours after that.
    """
    named = {key for key in told if key in RUNTIME_KEYS}
    if not named:
        return
    stay = named | {"commands", "external"} if named <= {"commands", "external"} else named
    for key in RUNTIME_KEYS:
        if key not in stay:
            component.pop(key, None)
    if "image" not in stay:
        component.pop("limits", None)
    component["ours"] = False


def _read(path: Path) -> Layer:
    try:
        source = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as wrong:
        raise SystemFileError("a TOML file in UTF-8", f"{path}: {wrong}", "check the file") from None
    try:
        return Layer(path, source, tomllib.loads(source))
    except tomllib.TOMLDecodeError as wrong:
        raise SystemFileError("a TOML file", f"{path}: {wrong}", "mend that line") from None
    except RecursionError:
        raise SystemFileError("a TOML file", f"{path}: brackets in brackets without end", "mend it") from None


def _base_of(layer: Layer) -> Path | None:
    base = layer.raw.get(BASE)
    if base is None:
        return None
    if not isinstance(base, str) or not base:
        expected = "base in the top level to be the name of a shipped system or the path of a TOML file"
        raise _wrong_base(layer, expected, repr(base), "mend the value")
    if base in known_systems():
        return SYSTEMS_DIR / f"{base}.toml"
    if "\0" not in base and (layer.path.parent / base).is_file():
        return (layer.path.parent / base).resolve()
    raise _wrong_base(layer, "base to name a system or a TOML file", repr(base), suggestion(base, known_systems()))


def _wrong_base(layer: Layer, expected: str, seen: str, mend: str) -> SystemFileError:
    return SystemFileError(expected, f"{seen} ({where([layer], (BASE,))})", mend)


def _over(below: Mapping[str, Any], above: Mapping[str, Any], keys: Keys = ()) -> dict[str, Any]:
    result = dict(below)
    if len(keys) == 2 and keys[0] == "components":
        change_runtime(result, above)
    if len(keys) == 3 and keys[0] == "components" and keys[2] == "ready" and any(kind in above for kind in READY_KINDS):
        result = {key: value for key, value in result.items() if key == "within_s"}
    for key, value in above.items():
        under = result.get(key)
        both = isinstance(value, Mapping) and isinstance(under, Mapping)
        result[key] = _over(under or {}, value, (*keys, key)) if both else copy.deepcopy(value)
    return result
