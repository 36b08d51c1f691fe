"""What the bridge says: plain lines on stderr; on stdout, as JSON, what the real one sends only to its log sink."""

import json
import sys
from datetime import UTC, datetime
from typing import Literal


def line(text: str) -> None:
    """Write one plain line to stderr. Never give it a token."""
    sys.stderr.write(f"{text}\n")  # one write: the SDK's threads write here too
    sys.stderr.flush()


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
