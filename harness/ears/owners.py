"""Who may be heard where: a room, an app's session and a recogniser's stream each belong to one user."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from harness.clock import SECOND_NS, now_ns
from harness.events import Misheard
from harness.frames import HOP_NAME, Hop
from harness.history import Recorder
from harness.speech import Heard, word_frames

TOLD_EVERY_NS = SECOND_NS
"""A stranger is told at once, then at most this often: a mixed stream is 50 frames a second."""


@dataclass
class _Stranger:
    first_index: int
    count: int = 0
    told_ns: int = -TOLD_EVERY_NS


class Owners:
    """Knows whose voice is whose, and writes down whom it hears where another one belongs.

    Only a voice that is known to be another user's is a stranger's: nothing is made of voices nobody told of.
    """

    def __init__(self, recorder: Recorder) -> None:
        """Know nobody yet."""
        self._recorder = recorder
        self._user_of: dict[int, str] = {}
        self._strangers: dict[tuple[str, str, int], _Stranger] = {}

    def tell(self, user: str, speaker: int) -> None:
        """Say that this voice is this user's; a user may have several (one for each phone)."""
        self._user_of[speaker] = user

    def stream(self, hop: Hop, user: str = "") -> Callable[[Heard], None]:
        """Return what listens along with one stream of ``user`` ("": of whoever is heard there first)."""
        owner = user

        def listen(heard: Heard) -> None:
            nonlocal owner
            sound = heard.damage == 0
            for speaker in np.unique(heard.speaker[sound]).tolist():
                owner = owner or self._user_of.get(speaker, "")
                if self._is_strange(owner, speaker):
                    own = heard.index[sound & (heard.speaker == speaker)]
                    self._note(HOP_NAME[hop], owner, speaker, int(own[0]), len(own))

        return listen

    def words(self, hop: str, user: str, speaker: int, words: Iterable[int]) -> None:
        """Take note of words named at a text hop of ``user``."""
        named = list(words)
        if named and self._is_strange(user, speaker):
            self._note(hop, user, speaker, word_frames(named[0])[0], len(named))

    def _is_strange(self, owner: str, speaker: int) -> bool:
        return bool(owner) and self._user_of.get(speaker, owner) != owner

    def _note(self, hop: str, owner: str, speaker: int, index: int, count: int) -> None:
        stranger = self._strangers.setdefault((hop, owner, speaker), _Stranger(index))
        if not stranger.count:
            stranger.first_index = index
        stranger.count += count
        if now_ns() - stranger.told_ns < TOLD_EVERY_NS:
            return
        self._recorder.emit(
            Misheard(hop=hop, owner=owner, speaker=speaker, first_index=stranger.first_index, count=stranger.count)
        )
        stranger.count, stranger.told_ns = 0, now_ns()
