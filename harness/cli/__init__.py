"""The command line, ``aftershock``; one file per command."""

from harness.cli.app import main

__all__ = ["main"]
