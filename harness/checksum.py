"""Tells which build a file is: its sha256, computed once for as long as the file stays the same."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path


def sha256_of(path: Path) -> str:
    """Return the sha256 of the file, in hex. Raises OSError."""
    seen = path.stat()
    return _sha256(path, seen.st_mtime_ns, seen.st_size, seen.st_ino)


@functools.lru_cache(maxsize=64)
def _sha256(path: Path, _mtime_ns: int, _size: int, _inode: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
