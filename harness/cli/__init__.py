"""The command line: ``aftershock run | list | check``; one file per command."""

from harness.cli.app import main

__all__ = ["main"]
