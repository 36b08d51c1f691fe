"""What is wrong in a system's file: a :class:`Problem` knows its key path, and so its line; the nearest known word."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection

Keys = tuple[str, ...]
"""The path to a value in a TOML document."""

_KEY = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*(\.|=|\]|$)""")


class Problem(Exception):
    """Something at ``keys`` cannot be used. The reader turns it into the error the user sees."""

    def __init__(self, keys: Keys, expected: str, seen: str, mend: str, *, also: tuple[Keys, ...] = ()) -> None:
        """Keep the path and the three parts of the sentence; ``also``: other paths that make it wrong together."""
        super().__init__(keys, expected, seen, mend)
        self.keys, self.expected, self.seen, self.mend = keys, expected, seen, mend
        self.places = (keys, *also)


def suggestion(word: str, known: Collection[str]) -> str:
    """Name the nearest known word, or all of them."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    if near:
        return f'did you mean "{near[0]}"?'
    return "known: " + (", ".join(sorted(known)) or "none")


def title(keys: Keys) -> str:
    """Return how a file writes the table at ``keys``."""
    return f"[{'.'.join(keys)}]" if keys else "the top level"


def line_of(source: str, keys: Keys) -> tuple[int, int]:
    """Return the first line (from 1) that writes the longest part of ``keys``, and how many keys that part has.

    tomllib keeps no lines.
    """
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
        shared = min(len(path), len(keys))  # a header may go on below keys, as [components.bridge] below components
        length = shared if path[:shared] == keys[:shared] else 0
        if length > best_length:
            best_line, best_length = number, length
    return best_line, best_length


def _dotted(text: str) -> Keys:
    found: list[str] = []
    position = 0
    while match := _KEY.match(text, position):
        found.append(next(piece for piece in match.groups()[:3] if piece is not None))
        position = match.end()
        if match.group(4) != ".":
            break
    return tuple(found)
