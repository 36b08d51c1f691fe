"""Ordered and Unique: the words of final captions at app-in, per speaker."""

from __future__ import annotations

from collections.abc import Iterator

from harness import events as ev
from harness.checkers.timeline import at
from harness.checkers.verdict import Evidence, Outcome, Params, Verdict
from harness.history import History
from harness.speech import word_text


def check_ordered(history: History, _params: Params) -> Verdict:
    """Judge Ordered: no word is named for the first time after a later one was.

    A repetition is the affair of Unique.
    """
    wrong: list[Evidence] = []
    highest: dict[int, int] = {}
    seen: set[tuple[int, int]] = set()
    for caption, word in _words(history):
        key = (caption.speaker, word)
        if key in seen:
            continue
        seen.add(key)
        before = highest.get(caption.speaker, -1)
        if word < before:
            text = f"{word_text(*key)} came after {word_text(caption.speaker, before)}"
            wrong.append(at(history, caption.t_ns, "app-in", text))
        highest[caption.speaker] = max(word, before)
    return _verdict("ordered", wrong, len(seen), "out of order")


def check_unique(history: History, _params: Params) -> Verdict:
    """Judge Unique: no word is named twice."""
    wrong: list[Evidence] = []
    first_ns: dict[tuple[int, int], int] = {}
    for caption, word in _words(history):
        key = (caption.speaker, word)
        if key in first_ns:
            text = f"{word_text(*key)} came again; first at {history.seconds(first_ns[key]):.3f} s"
            wrong.append(at(history, caption.t_ns, "app-in", text))
        first_ns.setdefault(key, caption.t_ns)
    return _verdict("unique", wrong, len(first_ns), "twice", stands=True)


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
