"""The guarantees a story can declare, with their budgets, and the sentence published for each."""

from __future__ import annotations

from typing import Final

from harness.events import CheckSpec

SENTENCES: Final[dict[str, str]] = {
    "resumes": "captions flow again within the budget after the fault ends, with no action by the wearer beyond what "
    "the story says",
    "honest": "whenever spoken audio does not become captions for longer than the budget, somebody who can act was "
    "told (phone message or health endpoint)",
    "bounded_loss": "at most the budgeted milliseconds of speech are lost while the system was steady",
    "ordered": "words come in the order spoken",
    "unique": "no word comes twice",
    "intact": "every PCM frame is bit-exact wherever it is seen",
    "timely": "caption lag stays within its budget once steady, and does not grow",
    "contained": "people and components outside the blast radius feel nothing; nobody hears anybody else",
    "alive": "nothing exits, panics or logs an alarm line outside the fault",
    "clean": "bridge sessions, room participants, streams, sockets, file descriptors return to the baseline: no "
    "zombies pile up",
}
"""Guarantee -> its published sentence."""

TITLES: Final[dict[str, str]] = {name: name.replace("_", " ").capitalize() for name in SENTENCES}
"""Guarantee -> its name in reports, e.g. ``Bounded loss``."""


def resumes(within_s: float) -> CheckSpec:
    """Declare that captions flow again within ``within_s`` after the story's anchor."""
    return CheckSpec("resumes", {"within_s": float(within_s)})


def honest(within_s: float | None = None) -> CheckSpec:
    """Declare that nobody is left untold for longer than ``within_s`` (default: the budget of ``resumes``)."""
    return CheckSpec("honest", {} if within_s is None else {"within_s": float(within_s)})


def bounded_loss(steady_ms: float, impact_ms: float) -> CheckSpec:
    """Declare how much speech may be lost, in ms: while steady, and between the fault and steady again."""
    return CheckSpec("bounded_loss", {"steady_ms": float(steady_ms), "impact_ms": float(impact_ms)})


def timely(lag_s: float) -> CheckSpec:
    """Declare within what a final caption follows its utterance once steady; and that this does not grow."""
    return CheckSpec("timely", {"lag_s": float(lag_s)})


ordered: Final = CheckSpec("ordered")
unique: Final = CheckSpec("unique")
intact: Final = CheckSpec("intact")
contained: Final = CheckSpec("contained")
alive: Final = CheckSpec("alive")
clean: Final = CheckSpec("clean")
always: Final = (ordered, unique, intact, contained, alive, clean)
"""What every story declares beside its budgets."""
