"""Who is who: a person's phone says which user it is, and the wire and the logs speak of users."""

from __future__ import annotations

import re

from harness import events as ev
from harness.history import History

AGENT = "cloud-agent:"
"""How the identity of a bridge's agent begins; its user follows."""
_USER = re.compile(r"[\w.+-]+@\w+(?:[.-]\w+)*")


def is_user(history: History, person: str, user: str) -> bool:
    """Tell whether ``user`` may be this person: as the phone said, else by the part before the @.

    Where the wire did not say whose it was (``user`` is empty) it may be anybody's.
    """
    known = {e.user for e in history.all(ev.PhoneDialing) if e.person == person and e.user}
    return not user or user in known or (not known and user.partition("@")[0] == person)


def same_user(one: str, other: str) -> bool:
    """Tell whether two users may be one, the empty one being anybody."""
    return not one or not other or one == other


def user_in(text: str) -> str:
    """Return the user that a line names first, or nothing."""
    found = _USER.search(text)
    return found[0] if found else ""
