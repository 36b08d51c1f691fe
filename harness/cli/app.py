"""Puts the commands together and turns every mistake into one sentence and an exit code.

Exit codes: 0 holds, 1 broken, 2 unknown, 3 machine or set-up, 64 wrong use; 130 and 143 after Ctrl-C and SIGTERM.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from harness.cli.check import check
from harness.cli.clean import clean
from harness.cli.doctor import doctor
from harness.cli.init import init
from harness.cli.listing import list_scenarios
from harness.cli.phone import phone
from harness.cli.run import run
from harness.cli.up import up
from harness.errors import HarnessError

EX_USAGE = 64
"""The exit code for wrong use, as sysexits.h has it."""

app = typer.Typer(
    name="aftershock",
    help="Proves that live captions come back after anything in the audio path is killed, restarted or made to lie.",
    epilog="Exit codes: 0 HOLDS, 1 BROKEN, 2 UNKNOWN, 3 the machine or set-up is at fault, 64 wrong use.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("run")(run)
app.command("list")(list_scenarios)
app.command("check")(check)
app.command("init")(init)
app.command("up")(up)
app.command("phone")(phone)
app.command("clean")(clean)
app.command("doctor")(doctor)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line (default: ``sys.argv``) and return its exit code."""
    command = typer.main.get_command(app)
    try:
        code = command.main(list(argv) if argv is not None else None, prog_name="aftershock", standalone_mode=False)
    except typer.TyperException as wrong:
        said = wrong.format_message()  # empty when no command was given: then the help was shown
        sys.stderr.write(f"{said}\nSee: aftershock --help\n" if said else "")
        return EX_USAGE
    except HarnessError as wrong:
        sys.stderr.write(f"{wrong}\n")
        return wrong.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return 130
    return code if isinstance(code, int) else 0
