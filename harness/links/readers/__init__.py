"""The readers, by what a dialer of their protocol says first."""

from __future__ import annotations

from harness.links.readers.grpc import Grpc
from harness.links.readers.http import METHODS, HttpReader
from harness.links.readers.http2 import PREFACE
from harness.links.reading import ReaderOf

READERS: tuple[tuple[tuple[bytes, ...], ReaderOf], ...] = (
    ((PREFACE,), Grpc),
    (METHODS, HttpReader),
)
"""First bytes -> reader; the first that fits is taken."""
