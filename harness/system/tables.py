"""Typed reading of TOML tables: what is wrong becomes a :class:`Problem` that knows its key path, and so its line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from typing import Any

Keys = tuple[str, ...]
"""The path to a value in a TOML document."""

_KEY = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*(\.|=|\]|$)""")


class Problem(Exception):
    """Something at ``keys`` cannot be used. The reader turns it into the error the user sees."""

    def __init__(self, keys: Keys, expected: str, seen: str, mend: str) -> None:
        """Keep the path and the three parts of the sentence."""
        super().__init__(keys, expected, seen, mend)
        self.keys, self.expected, self.seen, self.mend = keys, expected, seen, mend


def suggestion(word: str, known: Collection[str]) -> str:
    """Name the nearest known word, or all of them."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    if near:
        return f'did you mean "{near[0]}"?'
    return "known: " + (", ".join(sorted(known)) or "none")


class Table:
    """A TOML table at ``keys``; every method raises Problem for a value of the wrong type."""

    def __init__(self, raw: Mapping[str, Any], keys: Keys = ()) -> None:
        """Look at ``raw``, found at ``keys``."""
        self.raw, self.keys = raw, keys

    def __contains__(self, key: str) -> bool:
        return key in self.raw

    @property
    def title(self) -> str:
        """How the file writes this table."""
        return f"[{'.'.join(self.keys)}]" if self.keys else "the top level"

    def wrong(self, key: str, expected: str) -> Problem:
        """Make the problem of a value that is not ``expected``."""
        seen = repr(self.raw[key]) if key in self.raw else "nothing"
        return Problem((*self.keys, key), f"{key} in {self.title} to be {expected}", seen, "mend the value")

    def only(self, known: Collection[str]) -> None:
        """Refuse keys that are not in ``known``."""
        for key in self.raw:
            if key not in known:
                raise Problem((*self.keys, key), f"a known key in {self.title}", repr(key), suggestion(key, known))

    def text(self, key: str, default: str = "") -> str:
        """Return a string."""
        value = self.raw.get(key, default)
        if not isinstance(value, str):
            raise self.wrong(key, "a text in quotes")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """Return a boolean."""
        value = self.raw.get(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def number(self, key: str, default: float = 0.0) -> float:
        """Return a number that is not negative."""
        value = self.raw.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise self.wrong(key, "a number of 0 or more")
        return float(value)

    def port(self, key: str) -> int:
        """Return a port number."""
        value = self.raw.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65535:
            raise self.wrong(key, "a port from 1 to 65535")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of strings; empty when it is not there."""
        value = self.raw.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(key, 'a list of texts, like ["a", "b"]')
        return tuple(value)

    def regexes(self, key: str) -> tuple[str, ...]:
        """Return a list of regexes that compile."""
        found = self.texts(key)
        for pattern in found:
            if not compiles(pattern):
                raise self.wrong(key, f"a list of regexes ({pattern!r} is none)")
        return found

    def table(self, key: str) -> Table:
        """Return the table below ``key``; empty when it is not there."""
        value = self.raw.get(key, {})
        if not isinstance(value, dict):
            raise self.wrong(key, "a table")
        return Table(value, (*self.keys, key))

    def tables(self) -> dict[str, Table]:
        """Return every key's table."""
        return {key: self.table(key) for key in self.raw}

    def numbers(self) -> dict[str, float]:
        """Return the whole table as numbers."""
        return {key: self.number(key) for key in self.raw}

    def ports(self) -> dict[str, int]:
        """Return the whole table as port numbers."""
        return {key: self.port(key) for key in self.raw}

    def leaves(self) -> dict[str, str]:
        """Return the strings of the table and of those below it, by dotted name."""
        found: dict[str, str] = {}
        for key, value in self.raw.items():
            if isinstance(value, dict):
                found |= {f"{key}.{name}": text for name, text in self.table(key).leaves().items()}
            else:
                found[key] = self.text(key)
        return found


def compiles(pattern: str) -> bool:
    """Tell whether ``pattern`` is a regex."""
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def line_of(source: str, keys: Keys) -> int:
    """Return the line (from 1) that writes the longest part of ``keys``: tomllib keeps no lines."""
    best_line, best_length = 1, 0
    header: Keys = ()
    for number, line in enumerate(source.splitlines(), start=1):
        text = line.strip()
        if text.startswith("["):
            header = path = _dotted(text.lstrip("["))
        elif "=" in text and not text.startswith("#"):
            path = header + _dotted(text)
        else:
            continue
        length = len(path) if path == keys[: len(path)] else 0
        if length > best_length:
            best_line, best_length = number, length
    return best_line


def _dotted(text: str) -> Keys:
    found: list[str] = []
    position = 0
    while match := _KEY.match(text, position):
        found.append(next(piece for piece in match.groups()[:3] if piece is not None))
        position = match.end()
        if match.group(4) != ".":
            break
    return tuple(found)
