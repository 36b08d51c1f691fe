"""The links process on asyncio's own loop, to be compared with uvloop."""

from __future__ import annotations

from harness.control import run_child
from harness.links.__main__ import main

if __name__ == "__main__":
    run_child(main)
