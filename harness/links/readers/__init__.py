"""The readers, by what a dialer of their protocol says first."""

from __future__ import annotations

from harness.links.reading import ReaderOf

READERS: tuple[tuple[tuple[bytes, ...], ReaderOf], ...] = ()
"""First bytes -> reader; the first that fits is taken."""
