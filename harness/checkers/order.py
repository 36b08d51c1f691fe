"""Ordered and Unique: the words of final captions at app-in, per speaker; and that no frame comes twice to the cloud.

What a fault sent twice or late on purpose may come twice, or out of its place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from harness import events as ev
from harness.checkers.accounting import accounts
from harness.checkers.injections import injections
from harness.checkers.timeline import at
from harness.checkers.verdict import Evidence, Outcome, Params, Verdict
from harness.history import History
from harness.speech import word_text

HEARD_ONCE: Final = ("cloud-in", "stt-in")


def check_ordered(history: History, _params: Params) -> Verdict:
    """Judge Ordered: no word is named for the first time after a later one was.

    A repetition is the affair of Unique.
    """
    wrong: list[Evidence] = []
    highest: dict[int, int] = {}
    seen: set[tuple[int, int]] = set()
    for caption, word in _words(history):
        key = (caption.speaker, word)
        if key in seen or word in injections(history, caption.speaker).late_words:
            continue
        seen.add(key)
        before = highest.get(caption.speaker, -1)
        if word < before:
            text = f"{word_text(*key)} came after {word_text(caption.speaker, before)}"
            wrong.append(at(history, caption.t_ns, "app-in", text))
        highest[caption.speaker] = max(word, before)
    return _verdict("ordered", wrong, len(seen), "out of order")


def check_unique(history: History, _params: Params) -> Verdict:
    """Judge Unique: no word is named twice, and no frame is heard twice by the cloud or by speech recognition.

    Frames count while the system was steady: a stream that is replaced may have a moment of both.
    """
    wrong: list[Evidence] = []
    first_ns: dict[tuple[int, int], int] = {}
    times: Counter[tuple[int, int]] = Counter()
    for caption, word in _words(history):
        key = (caption.speaker, word)
        times[key] += 1
        if times[key] > 1 + injections(history, caption.speaker).repeats(word):
            text = f"{word_text(*key)} came again; first at {history.seconds(first_ns[key]):.3f} s"
            wrong.append(at(history, caption.t_ns, "app-in", text))
        first_ns.setdefault(key, caption.t_ns)
    verdict = _verdict("unique", wrong, len(first_ns), "twice", stands=True)
    twice = [a for a in accounts(history) if a.duplicates_unexplained and a.hop in HEARD_ONCE]
    if verdict.outcome is Outcome.BROKEN or not twice:
        return verdict
    proof = tuple(
        at(history, history.spoken_ns(a.twice[0]), a.hop, f"{a.duplicates_unexplained} frames came again: {a.twice}")
        for a in twice
    )
    text = f"{twice[0].duplicates_unexplained} frames of {twice[0].person} came again to {twice[0].hop}"
    return Verdict("unique", Outcome.BROKEN, text, proof, stands=True)


def _words(history: History) -> Iterator[tuple[ev.Caption, int]]:
    for caption in history.captions("app-in", final=True):
        for word in caption.words:
            yield caption, word


def _verdict(name: str, wrong: list[Evidence], words: int, how: str, *, stands: bool = False) -> Verdict:
    if wrong:
        text = f"{len(wrong)} of {words} words came {how}: {wrong[0].text}"
        return Verdict(name, Outcome.BROKEN, text, tuple(wrong[:5]), stands=stands)
    if words == 0:
        return Verdict(name, Outcome.UNKNOWN, "no final caption reached the app, so there is nothing to judge")
    return Verdict(name, Outcome.HOLDS, f"{words} words, none {how}")
