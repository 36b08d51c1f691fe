"""What can go wrong in the reference cloud, each with a sentence of its own."""

from __future__ import annotations


class CloudError(Exception):
    """Base of the reference cloud's errors."""


class BadSetting(CloudError):
    """A setting cannot be used; the sentence says what was expected and seen."""


class PortTaken(CloudError):
    """The port to listen on belongs to somebody else."""


class Unauthorized(CloudError):
    """A token is missing or bad; the sentence goes to the caller."""


class JoinFailed(CloudError):
    """The bridge did not join the room."""


class AppRefused(CloudError):
    """An app may not connect; `code` goes to the app."""

    def __init__(self, code: str, message: str) -> None:
        """Keep the wire code beside the sentence."""
        super().__init__(message)
        self.code = code
