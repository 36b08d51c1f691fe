"""Aftershock: proves that live captions come back. The names below are all that a scenario may import."""
