"""What the bridge is told at its start: the real bridge's environment, and a few words of ours."""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import NoReturn

from harness.reference.defects import Defects, UnknownDefect, parse

EXIT_USAGE = 64
"""EX_USAGE of sysexits.h: asked for something that does not exist."""


class BadOptions(ValueError):
    """An option cannot be used; the text says what was expected, what was seen, and how to mend it."""


@dataclass(frozen=True)
class Timers:
    """Spans that decide when the bridge gives up. The defaults are the real bridge's."""

    send_timeout_s: float = 2.0
    """A chunk that the cloud does not take within this span breaks the stream."""
    redial_limit_s: float = 61.0
    """From losing the room to giving it up. LiveKit's Go SDK: ten attempts, i*i*0.3 s apart."""
    redial_base_s: float = 0.3
    """The pause before redial i is i*i times this, and, unlike the SDK's, at most `REDIAL_PAUSE_CAP_S`."""


@dataclass(frozen=True)
class Options:
    """Where to listen and how to behave."""

    port: int = 9090
    bind_address: str = "127.0.0.1"
    socket_path: str = ""
    """A unix socket; when set it wins over the port."""
    timers: Timers = field(default_factory=Timers)
    defects: Defects = field(default_factory=lambda: Defects("bridge"))


def read_options(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> Options:
    """Read the command line and the environment. Raises `BadOptions` with one sentence."""
    parser = _Parser(prog="python -m harness.reference.bridge", description="The reference LiveKit gRPC bridge.")
    parser.add_argument("--port", default=environ.get("PORT", "9090"), help="TCP port (default: PORT, or 9090)")
    parser.add_argument("--defect", action="append", default=[], metavar="NAME", help="misbehave; may be repeated")
    args = parser.parse_args(argv)
    try:
        active = parse("bridge", [environ.get("REFERENCE_DEFECTS", ""), *args.defect])
    except UnknownDefect as unknown:
        raise BadOptions(str(unknown)) from unknown
    return Options(
        port=_port(args.port),
        bind_address=environ.get("BIND_ADDRESS") or "127.0.0.1",
        socket_path=environ.get("LIVEKIT_GRPC_SOCKET", ""),
        timers=_timers(environ.get("REFERENCE_TIMERS", "")),
        defects=Defects("bridge", active),
    )


class _Parser(argparse.ArgumentParser):
    """A parser whose mistakes are sentences and end with the same exit code as ours."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}; see --help", file=sys.stderr)
        raise SystemExit(EXIT_USAGE)


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) <= 65535:
        return int(text)
    raise BadOptions(f"expected a port from 0 to 65535, saw {text!r}; set PORT or --port")


def _timers(text: str) -> Timers:
    """Take the bridge's keys from a JSON object that may hold the cloud's too."""
    if not text:
        return Timers()
    try:
        given = json.loads(text)
    except json.JSONDecodeError as wrong:
        raise BadOptions(f"expected REFERENCE_TIMERS to be a JSON object, saw {text!r} ({wrong})") from wrong
    if not isinstance(given, dict):
        raise BadOptions(f"expected REFERENCE_TIMERS to be a JSON object, saw {text!r}")
    ours: dict[str, float] = {}
    for name in (f.name for f in fields(Timers)):
        if name not in given:
            continue
        value = given[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise BadOptions(f"expected REFERENCE_TIMERS.{name} to be seconds above 0, saw {value!r}")
        ours[name] = float(value)
    return Timers(**ours)
