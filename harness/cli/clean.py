"""``aftershock clean``: ends stacks that were left standing, and removes what dead runs left on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
Images = Annotated[
    bool, typer.Option("--images", help="Also remove images of ours that this state of the files does not use.")
]
Forget = Annotated[
    str, typer.Option("--forget", metavar="RUN", help="Take RUN's commands that failed for done: you have seen to it.")
]
ALL_CLEAN, NOT_CLEAN = 0, 3


def clean(dry_run: DryRun = False, images: Images = False, forget: Forget = "") -> None:
    """End kept stacks, and remove whatever dead runs left: processes, containers, networks, directories.

    What belongs to a living run, to nobody's run, or to another user's kept stack is never touched. Images stay unless
    asked for: another checkout on the same engine may be about to use them. Exit 0 when all is clean, 3 when something
    could not be removed or cannot be known.
    """
    # Imported here: it takes Docker's libraries, which no other command has to wait for.
    from harness.cli.cleaning import cleaned  # noqa: PLC0415

    raise typer.Exit(NOT_CLEAN if cleaned(print, dry_run=dry_run, with_images=images, forget=forget) else ALL_CLEAN)
