"""Checks what a file or ``--set`` adds to what is below: a name that nothing uses is a misspelt one.

Also the length of LiveKit's secret, which depends on all that was said.
"""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

from harness.system.mistakes import Keys, Problem, suggestion
from harness.system.templates import uses
from harness.system.values import System

USED_BY_THE_RIG = ("livekit.key", "livekit.secret", "cloud.jwt_secret", "app.key", "stt.key")
"""Secrets that are used without a template."""
LIVEKIT_SECRET = "livekit.secret"  # noqa: S105  its name
SECRET_CHARACTERS = 32
"""A shorter secret is refused by the LiveKit server."""


def check_parts(system: System, below: Collection[str]) -> None:
    """Refuse a part that ``below`` has not, that nothing needs and no link names: it would run in nobody's way.

    Raises:
        Problem: there is one.
    """
    taking_part = {need for part in system.components.values() for need in part.needs}
    taking_part |= {end for link in system.links.values() for end in (link.dialer, link.target)}
    for name in system.components:
        if name not in below and name not in taking_part:
            mend = _nearest(name, below) or "name it in needs or [links], or remove it"
            expected = "a part of the base, or one that another needs or a link names"
            raise Problem(("components", name), expected, repr(name), mend)


def check_secrets(system: System, below: Collection[str]) -> None:
    """Refuse a secret that ``below`` has not and nothing uses.

    Raises:
        Problem: there is one.
    """
    for name in system.secrets:
        if name in below or name in USED_BY_THE_RIG:
            continue
        if not any(uses(part, name) for part in system.components.values()):
            known = [*below, *USED_BY_THE_RIG]
            keys: Keys = ("secrets", *name.split("."))
            raise Problem(keys, "a secret that something uses in [secrets]", repr(name), suggestion(name, known))


def check_livekit_secret(system: System) -> None:
    """Refuse a secret that a LiveKit server of ours would not start with.

    Raises:
        Problem: it is too short.
    """
    secret = system.secrets.get(LIVEKIT_SECRET, "")
    configured = any(uses(part, "livekit.config") and part.external is None for part in system.components.values())
    if secret and configured and len(secret) < SECRET_CHARACTERS:
        expected = f"{LIVEKIT_SECRET} in [secrets] to have at least {SECRET_CHARACTERS} characters, as LiveKit wants it"
        mend = 'leave it "" (made anew for each run), or give a longer one'
        raise Problem(("secrets", *LIVEKIT_SECRET.split(".")), expected, f"{len(secret)}", mend)


def _nearest(word: str, known: Collection[str]) -> str:
    near = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f'did you mean "{near[0]}"?' if near else ""
