"""Removes the containers and networks of a run whose rig is dead: ``python -m harness.runtimes.container RUN``."""

import sys

from harness.runtimes.container.sweeping import sweep_and_tell

if __name__ == "__main__":
    sweep_and_tell(sys.argv[1])
