"""The base of all events, and the schema number that stands in each."""

from __future__ import annotations

import msgspec

SCHEMA = 1


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """Base of all events; the recorder fills in the four common fields."""

    v: int = SCHEMA
    t_ns: int = 0
    run: str = ""
    proc: str = ""
