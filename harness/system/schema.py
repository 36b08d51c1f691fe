"""Checks a system's document by the published schema (``fixtures/systems/schema.json``): the one source of its form.

A schema's ``title`` says what a value must be, and becomes the "expected" of the sentence; the ``description`` of one
that asks for a key says how to mend it.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from harness.settings import PROJECT_ROOT
from harness.system.mistakes import Keys, Problem, suggestion, title

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

SCHEMA_FILE = PROJECT_ROOT / "fixtures" / "systems" / "schema.json"

_UNKNOWN, _VALUE, _SHAPE = range(3)
"""What is told first: a misspelt key also makes another one missing."""


def check(raw: Mapping[str, Any]) -> None:
    """Check a whole document, or the file of one that has a base.

    Raises:
        Problem: the first mistake: unknown keys before wrong values before what is missing.
    """
    _check_plain(raw, ())
    found = [ranked for error in _validator().iter_errors(raw) for ranked in _problems(error)]
    if found:
        raise min(found, key=lambda ranked: ranked[0])[1]


@cache
def _validator() -> Validator:
    # Imported here: it takes longer than all else a run has to do before it starts, and most commands read no system.
    from jsonschema import Draft202012Validator  # noqa: PLC0415

    return Draft202012Validator(json.loads(SCHEMA_FILE.read_text("utf-8")))


def _check_plain(value: object, keys: Keys) -> None:
    """Refuse what TOML has and JSON, and so its schema, has not (inf, nan), and what no program can be given (NUL)."""
    expected = ""
    if isinstance(value, float) and not math.isfinite(value):
        expected = "a finite number"
    elif isinstance(value, str) and "\0" in value:
        expected = "a text without NUL"
    if expected:
        raise Problem(keys, f"{keys[-1]} in {title(keys[:-1])} to be {expected}", repr(value), "mend the value")
    if isinstance(value, Mapping):
        for key, below in value.items():
            _check_plain(below, (*keys, key))
    elif isinstance(value, list):
        for item in value:
            _check_plain(item, keys)


def _problems(error: ValidationError) -> Iterator[tuple[int, Problem]]:
    # Below a list, the list itself is named: its items have its title.
    keys = tuple(str(key) for key in takewhile(lambda key: isinstance(key, str), error.absolute_path))
    schema: Any = error.schema
    seen: Any = error.instance
    asks: Any = error.validator_value
    if "propertyNames" in error.absolute_schema_path:
        yield _UNKNOWN, Problem((*keys, seen), f"{schema['title']} in {title(keys)}", repr(seen), schema["description"])
    elif error.validator == "additionalProperties":
        known = schema["properties"]
        for key in seen:
            if key not in known:
                expected = f"a known key in {title(keys)}"
                yield _UNKNOWN, Problem((*keys, key), expected, repr(key), suggestion(key, known))
    elif error.validator == "required":
        yield from ((_SHAPE, _missing(keys, key, seen, schema)) for key in asks if key not in seen)
    elif error.validator in {"oneOf", "anyOf"}:
        if not isinstance(seen, Mapping):
            return  # its type is wrong, which is told
        asked = [key for key in seen if f'"{key}"' in json.dumps(asks)]
        expected = f"{schema['title']} in {title(keys)}"
        yield _SHAPE, Problem(keys, expected, " and ".join(asked) or "none of them", schema["description"])
    elif keys:
        expected = f"{keys[-1]} in {title(keys[:-1])} to be {schema['title']}"
        yield _VALUE, Problem(keys, expected, _shown(seen, keys), "mend the value")


def _missing(keys: Keys, key: str, table: Mapping[str, Any], schema: Mapping[str, Any]) -> Problem:
    expected = f"{key} in {title(keys)}" if keys else f"[{key}]"
    mend = schema.get("description", "add it")
    near = difflib.get_close_matches(key, [word for word in table if word not in schema["required"]], n=1, cutoff=0.74)
    if near:
        return Problem((*keys, near[0]), expected, repr(near[0]), f'did you mean "{key}"?')
    return Problem(keys, expected, ", ".join(table) or "nothing", mend)


def _shown(value: object, keys: Keys) -> str:
    """Write a value as the file has it, more or less; never what may be a secret."""
    if keys[0] == "secrets":
        return "something else"
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
