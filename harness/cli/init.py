"""``aftershock init``: writes a commented system TOML for a part of one's own, to be edited."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Annotated

import typer

from harness.errors import MachineError, UsageError
from harness.system import known_kinds, starter

KindArgument = Annotated[str | None, typer.Argument(help="How your part is run; without it the kinds are listed.")]
FileOption = Annotated[Path, typer.Option("--file", help="Where to write.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite what is there.")]
DEFAULT = Path("aftershock.toml")


def init(kind: KindArgument = None, file: FileOption = DEFAULT, force: ForceOption = False) -> None:
    """Write a commented TOML for a part of your own: binary, image, compose, pm2, commands."""
    if kind is None:
        for name, line in known_kinds().items():
            print(f"{name:<10}{line}")
        print("Write one with: aftershock init KIND")
        return
    # The command that the file names is the one that reads this file, wherever it is written.
    text = re.sub(r"--system \S+", lambda _: f"--system {shlex.quote(str(file))}", starter(kind))
    try:
        with file.open("w" if force else "x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        raise UsageError("a file that is not there yet", str(file), "give another --file, or --force") from None
    except OSError as wrong:
        raise MachineError(f"to write {file}", f"{wrong.strerror}", "give another --file") from None
    print(f"Wrote {file}. Its first lines say what to edit, and what to run then.")
