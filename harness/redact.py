"""Masks secrets before anything is written down: tokens, keys, Authorization, and the secrets of this run."""

from __future__ import annotations

import re

MASK = "***"
_JWT = re.compile(r"eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?")
_QUERY = re.compile(r"(?i)((?:access_token|api_key|apikey|token)=)[^&\s\"'\\]+")
_BEARER = re.compile(r"(?i)(authorization[\"']?\s*[:=]\s*[\"']?(?:bearer\s+)?|bearer\s+)[^\s\"',}\\]+")
_FIELD = re.compile(
    r"(?i)(\\*\"(?:token|coreToken|api_?key|api_?secret|secret|password|authorization)\\*\"\s*:\s*\\*\")[^\"\\]+"
)  # also inside JSON that stands, escaped, inside JSON
_SIGNS = ("eyj", "token", "api", "secret", "password", "authorization", "bearer")
"""Every pattern above needs one of these: most texts have none, and looking for words is much faster."""

_secrets: set[str] = set()


def know_secret(*values: str) -> None:
    """Register literal secrets of this process; each later ``mask`` hides them (shorter than 6 characters: ignored)."""
    _secrets.update(v for v in values if len(v) >= 6)


def known_secrets() -> list[str]:
    """Return those literal secrets, for another process of ours that must mask them too."""
    return sorted(_secrets)


def mask(text: str) -> str:
    """Return ``text`` with every secret replaced by ``***``."""
    folded = text.casefold()  # as the patterns ignore case
    if any(sign in folded for sign in _SIGNS):
        text = _JWT.sub(MASK, text)
        text = _QUERY.sub(rf"\g<1>{MASK}", text)
        text = _FIELD.sub(rf"\g<1>{MASK}", text)
        text = _BEARER.sub(rf"\g<1>{MASK}", text)
    for secret in _secrets:
        text = text.replace(secret, MASK)
    return text
