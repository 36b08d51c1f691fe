"""Command line of the reference cloud: `python -m harness.reference.cloud [--port N] [--defect NAME]...`."""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib
import os
import signal
import socket
import sys

from harness.reference.cloud.errors import BadSetting, PortTaken
from harness.reference.cloud.listening import bind, serving
from harness.reference.cloud.log import Log
from harness.reference.cloud.settings import Settings, read_settings
from harness.reference.defects import UnknownDefect, parse

EXIT_SETUP = 3
EXIT_USAGE = 64


class Parser(argparse.ArgumentParser):
    """Exits with the exit code of wrong use."""

    def error(self, message: str) -> None:  # type: ignore[override]
        """Say what is wrong and exit 64."""
        raise SystemExit(_complain(message, EXIT_USAGE))


def main() -> int:
    """Run the cloud until it is told to end; gives the exit code."""
    parser = Parser(prog="python -m harness.reference.cloud", description=__doc__)
    parser.add_argument("--port", type=int, help="port to listen on (default: PORT, else 80)")
    parser.add_argument("--defect", action="append", default=[], metavar="NAME", help="be wrong in this way")
    options = parser.parse_args()
    try:
        settings = read_settings(os.environ, options.port, tuple(options.defect))
        parse("cloud", settings.defect_names)
        listener = bind(settings.bind_address, settings.port)
    except PortTaken as problem:
        return _complain(str(problem), EXIT_SETUP)
    except (BadSetting, UnknownDefect) as problem:
        return _complain(str(problem), EXIT_USAGE)
    asyncio.run(_serve(settings, listener))
    return 0


async def _serve(settings: Settings, listener: socket.socket) -> None:
    log = Log()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _vanish)
    async with serving(settings, listener, log):
        host, port = listener.getsockname()[:2]
        log.info("Cloud listening", address=host, port=port, defects=sorted(settings.defect_names))
        # The first phone shall not wait for these imports, and the health check need not.
        await asyncio.to_thread(_import_grpc)
        gc.freeze()
        await loop.create_future()


def _import_grpc() -> None:
    for name in ("grpc.aio", "harness.reference.proto.bridge_pb2"):
        importlib.import_module(name)


def _vanish() -> None:
    """End at once: no LeaveRoom and no half-close, either of which would change what the bridge is left with."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _complain(sentence: str, code: int) -> int:
    sys.stderr.write(f"{sentence}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
