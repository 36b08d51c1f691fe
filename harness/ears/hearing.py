"""Whether an ear of ours can hear at its hops, written down at each change."""

from __future__ import annotations

from harness.events import EarDeaf, EarHearing
from harness.history import Recorder


class Hearing:
    """Whether an ear of many parts (rooms, sessions) can hear at its hops; writes down each change.

    It hears when at least one part is up and none is being missed. It is neither deaf nor hearing before the first.
    """

    def __init__(self, recorder: Recorder, *hops: str) -> None:
        """Name the hops that fall silent when this ear is deaf."""
        self._recorder, self._hops = recorder, hops
        self._up: set[str] = set()
        self._missed: set[str] = set()
        self._hears = False

    @property
    def up(self) -> tuple[str, ...]:
        """The parts that hear."""
        return tuple(sorted(self._up))

    @property
    def missed(self) -> tuple[str, ...]:
        """The parts that ought to hear and do not."""
        return tuple(sorted(self._missed))

    def gained(self, part: str) -> None:
        """Say that a part hears (again)."""
        self._missed.discard(part)
        self._up.add(part)
        self._settle("")

    def lost(self, part: str, reason: str) -> None:
        """Say that a part that ought to hear does not."""
        self._up.discard(part)
        self._missed.add(part)
        self._settle(f"{part}: {reason}")

    def ended(self, part: str, reason: str) -> None:
        """Say that a part is over on purpose and not missed."""
        self._up.discard(part)
        self._missed.discard(part)
        self._settle(f"{part}: {reason}")

    def _settle(self, reason: str) -> None:
        hears = bool(self._up) and not self._missed
        if hears == self._hears:
            return
        self._hears = hears
        for hop in self._hops:
            self._recorder.emit(EarHearing(hop=hop) if hears else EarDeaf(hop=hop, reason=reason))
