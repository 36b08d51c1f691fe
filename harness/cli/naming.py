"""From the words on the command line to scenarios: every name is checked before anything starts."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from harness.errors import MachineError, UsageError
from harness.story import ScenarioInfo, registry

NEAREST = 3
FAR = 0.2
"""What is so much less alike than the nearest is not meant."""


def known_scenarios() -> dict[str, ScenarioInfo]:
    """Return the scenarios by name.

    Raises:
        MachineError: a scenario file cannot be imported.
    """
    try:
        return registry()
    except Exception as wrong:  # a story may raise anything on import; the user sees which and why
        where = f"{type(wrong).__name__}: {wrong}"
        raise MachineError("scenario files that can be imported", where, "mend the file below scenarios/") from wrong


def chosen(words: Sequence[str], known: Mapping[str, ScenarioInfo]) -> list[tuple[str, ScenarioInfo]]:
    """Return (full id, scenario) for each word; a bare name means its first variant.

    Raises:
        UsageError: a word names no scenario, or no variant of it.
    """
    return [_one(word, known) for word in words]


def _one(word: str, known: Mapping[str, ScenarioInfo]) -> tuple[str, ScenarioInfo]:
    name, bracket, rest = word.partition("[")
    info = known.get(name)
    if info is None:
        raise UsageError("the name of a scenario", repr(word), _nearest(name, list(known), "aftershock list"))
    ids = info.ids()
    if not bracket:
        return ids[0], info
    if word in ids:
        return word, info
    if not info.variants:
        raise UsageError(f"{name} without a variant, since it has none", repr(word), f"write {name}")
    variant = rest.removesuffix("]")
    raise UsageError(f"a variant of {name}", repr(variant), _nearest(variant, list(info.variants), ""))


def _likeness(word: str, other: str) -> float:
    return difflib.SequenceMatcher(None, other, word).ratio()


def _nearest(word: str, known: Sequence[str], listed_by: str) -> str:
    near = difflib.get_close_matches(word, known, n=NEAREST, cutoff=0.4)
    if near:
        best = _likeness(word, near[0])
        near = [other for other in near if _likeness(word, other) > best - FAR]
        return f"did you mean {' or '.join(near)}?"
    return f"{listed_by} shows them" if listed_by and known else f"known: {', '.join(known) or 'none'}"
