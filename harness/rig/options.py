"""What the command line decides about a run, as one frozen value."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path

from harness.phone.configuration import Engine


@dataclass(frozen=True)
class RigOptions:
    """How to run scenarios: system, profile, changes to it, seed, where runs are kept."""

    system: str = "reference"
    """Name of a file in ``fixtures/systems`` or a path to a TOML file."""
    profile: str = "short"
    sets: tuple[str, ...] = ()
    """``component.key=value`` words."""
    defects: tuple[str, ...] = ()
    """``part:name`` words."""
    seed: int = 0
    runs: Path = field(default_factory=lambda: Path("runs"))
    engine: Engine = "aiortc"
    """The media engine of every phone that the story does not give another one."""
    livekit_server: str | None = None
    """Path of a LiveKit server given by the user."""
    known: str | None = None
    """Path of a list of known breakage (:mod:`harness.rig.known`)."""
    verdicts: Path | None = None
    """A file to which each run appends how far it is, one line each (:meth:`tell`)."""
    waited_s: float = 0.0
    """How long this run waited for its turn before it began."""
    no_logs: bool = False
    """Whether the logs of bridge and cloud are kept from the judge, as where nobody has access to them."""
    keep: bool = False
    """Whether the stack stays up after the verdict until a signal comes; a story that raised is not kept."""

    def tell(self, word: str, text: object) -> None:
        """Append a line to the file of verdicts, if there is one: start, end, standing or left, and what it tells."""
        if self.verdicts is not None:
            with self.verdicts.open("a") as file:
                file.write(f"{word} {text}".replace("\n", " ") + "\n")

    def rerun(self, scenario: str) -> str:
        """Return the command that runs ``scenario`` once more like this."""
        words = ["aftershock run", f"'{scenario}'"]
        if self.system != "reference":
            words.append(f"--system {self.system}")
        if self.profile != "short":
            words.append(f"--profile {self.profile}")
        words += ["--set " + (shlex.quote(word) if "'" in word else f"'{word}'") for word in self.sets]
        words += [f"--defect {word}" for word in self.defects]
        if self.engine != "aiortc":
            words.append(f"--engine {self.engine}")
        if self.no_logs:
            words.append("--no-logs")
        if self.livekit_server:
            words.append(f"--livekit-server {self.livekit_server}")
        if self.known:
            words.append(f"--known {shlex.quote(self.known)}")
        words.append(f"--seed {self.seed}")
        return " ".join(words)
