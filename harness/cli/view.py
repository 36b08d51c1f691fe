"""Shows a run as it happens: plain lines for files and pipes, a live table on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from harness import events as ev
from harness.cli.following import Following, hop_rows, stopwatch
from harness.cli.news import sentence
from harness.clock import now_ns

REDRAWN_PER_S = 4
FAULTS_SHOWN = 4


class View(Protocol):
    """What follows a run for a reader; entered before the run and left after it."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def line(self, text: str) -> None:
        """Say a line that belongs to no run yet."""

    def update(self, seen: Following, new: Sequence[ev.AnyEvent]) -> None:
        """Show what is new."""


class PlainView:
    """One line per thing that happened, with its second."""

    def __init__(self, out: TextIO) -> None:
        """Write to ``out``, flushed line by line."""
        self.out = out

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is held."""

    def line(self, text: str) -> None:
        """Write a line as it is."""
        self.out.write(text + "\n")
        self.out.flush()

    def update(self, seen: Following, new: Sequence[ev.AnyEvent]) -> None:
        """Write a line for each piece of news."""
        for event in new:
            said = sentence(event)
            if said is not None:
                self.line(f"[{seen.seconds(event.t_ns):5.1f} s] {said}")


class LiveView:
    """The hops with their frames per second, the step, the faults and the stopwatch, redrawn in place."""

    def __init__(self, console: Console, scenario: str) -> None:
        """Draw on ``console``."""
        self.scenario = scenario
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def line(self, text: str) -> None:
        """Print a line above the table."""
        self._live.console.print(escape(text))

    def update(self, seen: Following, new: Sequence[ev.AnyEvent]) -> None:  # noqa: ARG002  the table shows the state
        """Redraw."""
        self._live.update(picture(self.scenario, seen, now_ns()), refresh=True)


def picture(scenario: str, seen: Following, at_ns: int) -> Group:
    """Return what the live view shows at a moment."""
    hops = Table(box=None, pad_edge=False, show_header=False)
    for hop, rate, total in hop_rows(seen, at_ns):
        hops.add_row(hop, Text(rate, justify="right"), Text(total, style="dim"))
    head = f"{scenario}   {seen.seconds(at_ns):6.1f} s   {seen.step}"
    parts: list[Text | Table] = [Text(head, style="bold"), hops]
    parts += [Text(f"fault  {fault}", style="yellow") for fault in seen.faults[-FAULTS_SHOWN:]]
    if seen.last_caption:
        parts.append(Text(f"last caption  {seen.last_caption}", style="dim", no_wrap=True, overflow="ellipsis"))
    watch = stopwatch(seen, at_ns)
    if watch:
        parts.append(Text(watch, style="green" if seen.back_ns else "red"))
    return Group(*parts)


def view_for(scenario: str, *, as_json: bool) -> View:
    """Return the view that suits the terminal; with ``as_json`` it goes to stderr, since stdout is for the JSON."""
    out = sys.stderr if as_json else sys.stdout
    if out.isatty():
        return LiveView(Console(file=out), scenario)
    return PlainView(out)
