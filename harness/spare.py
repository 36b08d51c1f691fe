"""Space that a run keeps back on its disk, so that a full one ends it in order: everything recorded, a verdict written.

Whoever first finds the disk full, in whatever process of the run, gives the spare space up and writes on; that it is
gone tells the rig, which then ends the story as the machine's fault.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

SPARE = ".spare"
SPARE_BYTES = 2**20
"""A run with one phone records about 20 KB/s (measured), and is torn down within 20 s."""
FULL = {errno.ENOSPC, errno.EDQUOT}


def keep_spare(run_dir: Path) -> None:
    """Set the space aside. Raises OSError when there is not so much."""
    file = os.open(run_dir / SPARE, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(file, 0, SPARE_BYTES)
    finally:
        os.close(file)


def give_up_spare(run_dir: Path) -> None:
    """Free the space; doing so twice is fine."""
    (run_dir / SPARE).unlink(missing_ok=True)


def spare_is_gone(run_dir: Path) -> bool:
    """Tell whether somebody had to give it up; a directory that was removed whole says nothing of its disk."""
    return run_dir.exists() and not (run_dir / SPARE).exists()


def append(file: int, data: bytes, run_dir: Path) -> bool:
    """Append to a file that only we write, all of ``data`` or nothing; return whether it is there.

    Never raises for a full disk: what is under way must be ended in order, and what is lost is the very last of it.
    """
    written = 0
    try:
        written = _write(file, data)
        if written < len(data):
            give_up_spare(run_dir)
            written += _write(file, data[written:])
    finally:
        if 0 < written < len(data):  # the next record must not begin in the middle of this one
            os.ftruncate(file, os.fstat(file).st_size - written)
    return written == len(data)


def _write(file: int, data: bytes) -> int:
    """Write as much as there is space for; return how much."""
    view, written = memoryview(data), 0
    while written < len(data):
        try:
            written += os.write(file, view[written:])
        except OSError as error:
            if error.errno not in FULL:
                raise
            break
    return written
