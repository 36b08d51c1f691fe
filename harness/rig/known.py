"""The list of known breakage (``--known FILE``): incidents that a system is known to fail, and in which scenarios.

```toml
[[known]]
incident = "bridge-sigterm-hangs"              # as a diagnosis names it
scenarios = ["bridge-sigterm-with-stream-open"] # optional: ids, or globs; a bare name means all its variants
broken = ["Alive"]                             # optional: the guarantees that it may break, and no other
reason = "the graceful stop waits for streams"
```
"""

from __future__ import annotations

import fnmatch
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import events as ev
from harness.checkers import INCIDENTS, TITLES
from harness.errors import KnownFileError
from harness.system.mistakes import suggestion

KEYS = ("incident", "scenarios", "broken", "reason")
WITHOUT = {"scenarios": "every scenario", "broken": "any guarantee"}
"""What it means that a list is not there; an empty one could mean that, or the opposite."""
WILDCARDS = "*?"
TABLE = "known"


@dataclass(frozen=True)
class Known:
    """One incident that a system is known to fail."""

    incident: str
    reason: str
    scenarios: tuple[str, ...] = ()
    """Patterns of scenario ids; empty means every scenario."""
    broken: tuple[str, ...] = ()
    """The guarantees, by title, that it may break; empty means any."""

    def applies_to(self, scenario: str) -> bool:
        """Tell whether the incident is known of this scenario (full id)."""
        return not self.scenarios or any(_matches(scenario, pattern) for pattern in self.scenarios)

    def names(self, scenario: str) -> bool:
        """Tell whether it is listed for this scenario by name: a wildcard also fits what nobody said it of."""
        by_name = [pattern for pattern in self.scenarios if not set(WILDCARDS) & set(pattern)]
        return any(_matches(scenario, name) for name in by_name)


def read_known(path: Path) -> tuple[Known, ...]:
    """Return what the file lists.

    Raises:
        KnownFileError: it cannot be read, is no TOML, or an entry is not as described above.
    """
    try:
        source = path.read_text("utf-8")
        whole = tomllib.loads(source)
    except (OSError, UnicodeDecodeError) as wrong:
        raise KnownFileError("a list of known incidents", f"{path}: {wrong}", "check the file") from None
    except tomllib.TOMLDecodeError as wrong:
        raise KnownFileError("a TOML file", f"{path}: {wrong}", "mend that line") from None
    entries = whole.get(TABLE)
    if set(whole) != {TABLE} or not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        seen = ", ".join(sorted(whole)) or "an empty file"
        raise KnownFileError(f"[[{TABLE}]] tables and nothing else", f"{seen} ({path})", f"write [[{TABLE}]] over each")
    return tuple(_entry(path, source, number, entry) for number, entry in enumerate(entries))


def known_of(path: str | None, scenario: str) -> tuple[ev.KnownIncident, ...]:
    """Return what is known of one scenario, as its run's first event keeps it; nothing without a file.

    Raises:
        KnownFileError: see :func:`read_known`.
    """
    entries = [] if path is None else [known for known in read_known(Path(path)) if known.applies_to(scenario)]
    return tuple(ev.KnownIncident(k.incident, k.reason, k.broken, named=k.names(scenario)) for k in entries)


def _matches(scenario: str, pattern: str) -> bool:
    # fnmatch reads brackets as a set of letters, and variants are written in brackets.
    literal = pattern.replace("[", "[[]")
    return fnmatch.fnmatchcase(scenario, literal) or fnmatch.fnmatchcase(scenario.partition("[")[0], literal)


def _entry(path: Path, source: str, number: int, entry: Mapping[str, Any]) -> Known:
    def wrong(key: str, expected: str, seen: str, mend: str) -> KnownFileError:
        return KnownFileError(expected, f"{seen} ({path}, line {_line(source, number, key)})", mend)

    for key in entry:
        if key not in KEYS:
            raise wrong(key, f"{', '.join(KEYS)} in a [[{TABLE}]] table", key, suggestion(key, KEYS))
    for key in ("incident", "reason"):
        if not _is_text(entry.get(key)):
            raise wrong(key, f"{key} to be a text", repr(entry[key]) if key in entry else "nothing", "write it")
    if entry["incident"] not in INCIDENTS:
        seen = repr(entry["incident"])
        raise wrong("incident", "an incident that a diagnosis can name", seen, suggestion(entry["incident"], INCIDENTS))
    _check_lists(entry, wrong)
    return Known(entry["incident"], entry["reason"], tuple(entry.get("scenarios", ())), tuple(entry.get("broken", ())))


def _check_lists(entry: Mapping[str, Any], wrong: Callable[[str, str, str, str], KnownFileError]) -> None:
    for key in (key for key in WITHOUT if key in entry):
        if not _are_texts(entry[key]):
            raise wrong(key, f"{key} to be a list of texts", repr(entry[key]), "mend the value")
        if not entry[key]:
            raise wrong(key, f"{key} to name one", "[]", f"leave the key out: it means {WITHOUT[key]} then")
    strangers = [title for title in entry.get("broken", ()) if title not in TITLES.values()]
    if strangers:
        mend = suggestion(strangers[0], list(TITLES.values()))
        raise wrong("broken", "the title of a guarantee", repr(strangers[0]), mend)


def without_scenario(entries: Sequence[Known], scenarios: Collection[str]) -> list[str]:
    """Return the patterns that fit none of these scenario ids: they can never apply."""
    patterns = [pattern for known in entries for pattern in known.scenarios]
    return [pattern for pattern in patterns if not any(_matches(scenario, pattern) for scenario in scenarios)]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _line(source: str, number: int, key: str) -> int:
    """Return the line (from 1) of a key of the entry, or else of the entry's head; tomllib keeps no lines."""
    heads, head = -1, 1
    for line_number, line in enumerate(source.splitlines(), start=1):
        text = line.strip()
        if text.replace(" ", "").startswith(f"[[{TABLE}]]"):
            heads, head = heads + 1, line_number if heads + 1 <= number else head
        elif heads == number and text.split("=")[0].strip() == key:
            return line_number
    return head
