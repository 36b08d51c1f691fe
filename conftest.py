"""Loads the fixtures that scenarios are given, and the command-line options."""

pytest_plugins = ["fixtures.keeping", "fixtures.known", "fixtures.side_by_side", "fixtures.rig", "fixtures.gobridge"]
