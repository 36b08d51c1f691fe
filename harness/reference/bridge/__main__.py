"""`python -m harness.reference.bridge [--port N] [--defect NAME]...`."""

import asyncio
import sys

from harness.reference.bridge.listening import CannotListen, run
from harness.reference.bridge.options import EXIT_USAGE, BadOptions, read_options


def main() -> int:
    """Run the bridge; returns the exit code."""
    try:
        options = read_options(sys.argv[1:])
    except BadOptions as wrong:
        print(f"bridge: {wrong}", file=sys.stderr)
        return EXIT_USAGE
    try:
        asyncio.run(run(options))
    except CannotListen as refused:
        print(f"bridge: {refused}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
