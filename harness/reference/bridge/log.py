"""What the bridge says: plain lines on stderr; on stdout, as JSON, what the real one sends only to its log sink."""

import asyncio
import json
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

_QUERY = re.compile(r"(\?|access_token=)[^\s\"'()<>]+")
_JWT = re.compile(r"eyJ[\w-]+\.[\w-]+(\.[\w-]*)?")


def line(text: str) -> None:
    """Write one plain line to stderr. Never give it a token."""
    sys.stderr.write(f"{text}\n")  # one write: the SDK's threads write here too
    sys.stderr.flush()


def panic(reason: str, where: str) -> None:
    """Write what a Go program writes before it ends by a panic; `where` is the function."""
    line(f"panic: {reason}\n\ngoroutine 87 [running]:\nmain.{where}(...)")


def without_secrets(text: str) -> str:
    """Give the SDK's words without queries of URLs and without tokens: it puts the URL it dialled into its errors."""
    return _JWT.sub("***", _QUERY.sub(r"\1***", text))


def failure(what: str) -> Callable[[asyncio.Future[Any]], None]:
    """Give a done-callback that writes one line when the work failed, also when nobody awaits it any more."""

    def tell(work: asyncio.Future[Any]) -> None:
        if not work.cancelled() and (error := work.exception()) is not None:
            text = " ".join(without_secrets(str(error)).split())
            line(f"{what} failed: {type(error).__name__}: {text}")

    return tell


def sink(
    message: str,
    level: Literal["info", "warn", "error"] = "info",
    *,
    error: str = "",
    **extra: str | int,
) -> None:
    """Write one structured entry to stdout as a JSON line; `extra` holds user_id, room_name and the like."""
    entry: dict[str, object] = {
        "message": message,
        "level": level,
        "dt": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "service": "livekit-bridge",
    }
    if error:
        entry["error"] = error
    entry["extra"] = extra
    sys.stdout.write(f"{json.dumps(entry)}\n")
    sys.stdout.flush()
