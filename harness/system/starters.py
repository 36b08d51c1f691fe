"""Files to begin with, one for each way to run a part of one's own (``fixtures/systems/starters``)."""

from __future__ import annotations

from harness.errors import UsageError
from harness.system.layers import SYSTEMS_DIR
from harness.system.mistakes import suggestion
from harness.system.schema import SCHEMA_FILE

_DIR = SYSTEMS_DIR / "starters"
_KINDS = ("binary", "image", "compose", "pm2", "commands")
_DIRECTIVE = "#:schema "
"""Editors with Taplo or Even Better TOML find the schema by this line at the head: a path beside the file, or a URL."""

_BESIDE = (
    "# (Above: where this machine has the schema. For editors alone; elsewhere write that place, or remove the line.)"
)


def known_kinds() -> dict[str, str]:
    """Return the kinds and what each is for: the second line of its file."""
    return {kind: _text(kind).splitlines()[1].removeprefix(f"# {kind}: ") for kind in _KINDS}


def starter(kind: str) -> str:
    """Return the text of a system file, whose schema editors find wherever it is written.

    Raises:
        UsageError: an unknown kind.
    """
    if kind not in _KINDS:
        raise UsageError("the kind of a system file", repr(kind), suggestion(kind, _KINDS))
    _, _, rest = _text(kind).partition("\n")
    return f"{_DIRECTIVE}{SCHEMA_FILE.as_uri()}\n{_BESIDE}\n{rest}"


def _text(kind: str) -> str:
    return (_DIR / f"{kind}.toml").read_text("utf-8")
