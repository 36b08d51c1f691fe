"""The error tree: facts are attributes, the sentence is made in ``__str__``.

HarnessError
  SettingsError            wrong words on the command line or in a file the user wrote
    UsageError             the command line (exit 64)
    SystemFileError        a system TOML file (exit 3)
    KnownFileError         a list of known breakage (exit 3)
  ComponentError
    StartFailed            a component did not get ready (exit 3)
    DiedUnexpectedly       a component ended outside any fault
  MachineError             the machine lacks something: a port, a binary (exit 3)
  FaultError
    FaultNotSupported      becomes a skip
    FaultDidNotLand        becomes UNKNOWN
  NotReached               a wait came to its limit
  CorruptRun               a run directory that cannot be read (exit 2)
GuaranteeBroken            an AssertionError: the system under test is wrong
Inconclusive               an AssertionError: we cannot tell
"""

from __future__ import annotations


class HarnessError(Exception):
    """Base of every error the harness raises on purpose; ``exit_code`` is what the command line returns for it."""

    exit_code = 3


class SettingsError(HarnessError):
    """Something the user wrote is wrong: what was expected, what was seen, how to mend it."""

    def __init__(self, expected: str, seen: str, mend: str) -> None:
        """Keep the three parts of the sentence."""
        super().__init__(expected, seen, mend)
        self.expected, self.seen, self.mend = expected, seen, mend

    def __str__(self) -> str:
        return f"expected {self.expected}; saw {self.seen}; {self.mend}"


class UsageError(SettingsError):
    """The command line asks for something that does not exist."""

    exit_code = 64


class SystemFileError(SettingsError):
    """A system TOML file cannot be used."""


class KnownFileError(SettingsError):
    """A list of known breakage cannot be used."""


class MachineError(SettingsError):
    """The machine or set-up lacks something."""


class ComponentError(HarnessError):
    """A component misbehaved: which, how it ended, the last reason, its last lines, where its log is."""

    verb = "failed"

    def __init__(
        self,
        component: str,
        reason: str,
        *,
        exit_text: str = "",
        mend: str = "",
        last_lines: tuple[str, ...] = (),
        log: str = "",
    ) -> None:
        """Keep the facts; ``exit_text`` is e.g. "exited 1"; ``last_lines`` the end of its log; ``log`` a path."""
        super().__init__(component, reason)
        self.component, self.reason, self.exit_text, self.mend = component, reason, exit_text, mend
        self.last_lines, self.log = last_lines, log

    def __str__(self) -> str:
        text = f"{self.component} {self.verb}: {self.reason}"
        if self.exit_text:
            text += f"; it {self.exit_text}"
        if self.mend:
            text += f"; {self.mend}"
        if self.last_lines:
            text += "\n  its last lines:\n" + "\n".join(f"    {line}" for line in self.last_lines)
        if self.log:
            text += f"\n  whole log: {self.log}"
        return text


class StartFailed(ComponentError):
    """A component could not be started or never got ready."""

    verb = "did not start"


class DiedUnexpectedly(ComponentError):
    """A component ended though no fault of ours touched it."""

    verb = "died outside any fault"


class FaultError(HarnessError):
    """A fault could not do its work."""


class FaultNotSupported(FaultError):
    """This fault cannot be used on this rig; the text says why."""


class FaultDidNotLand(FaultError):
    """A fault was injected or healed but cannot prove it."""


class NotReached(HarnessError):
    """A wait came to its limit without its condition."""

    def __init__(self, what: str, waited_s: float, last_reason: str) -> None:
        """Keep what was awaited, for how long, and the last reason it was not there."""
        super().__init__(what, waited_s, last_reason)
        self.what, self.waited_s, self.last_reason = what, waited_s, last_reason

    def __str__(self) -> str:
        return f"waited {self.waited_s:.1f} s for {self.what}; last seen: {self.last_reason}"


class CorruptRun(HarnessError):
    """A run directory whose records are damaged in the middle."""

    exit_code = 2


class GuaranteeBroken(AssertionError):
    """A published guarantee does not hold: the system under test is wrong."""

    def __init__(self, text: str, known: str = "") -> None:
        """Keep the verdict, and what of it the system is known for (empty: nothing)."""
        super().__init__(text)
        self.known = known


class Inconclusive(AssertionError):
    """The harness cannot tell: a precondition of judging failed."""
