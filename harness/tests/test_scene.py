"""How the diagnosis finds log lines: words first, then the pattern; and never another line than the pattern alone."""

import re

import pytest

from harness import events as ev
from harness.checkers.scene import Scene, literals
from harness.history import History

TEXTS = (
    "Audio stream error: Unavailable",
    "audio STREAM ended",
    "nothing of note",
    "JoinRoom RPC failed: deadline",
    "JoinRoom RPC  failed",
    "Reconnection failed, Reconnection failed",
    "",
)


@pytest.mark.parametrize(
    "pattern",
    ["Audio stream error|Audio stream ended", "reconnection FAILED", "JoinRoom.*failed", "o+f n", "rpc ?failed",
     "(Audio|RPC) +(stream|failed)", "no such line", ".*"],
)  # fmt: skip
def test_the_same_lines_as_the_pattern_alone_finds(pattern: str) -> None:
    """Whatever is looked for first, exactly the lines are found that match."""
    lines = [ev.LogLine(component="cloud", line=n, text=text, t_ns=n + 1) for n, text in enumerate(TEXTS)]
    other = ev.LogLine(component="bridge", line=1, text=TEXTS[0], t_ns=3)
    scene = Scene(History.of([*lines, other, ev.Note(text="end", t_ns=100)]), {})
    alone = [line for line in lines if re.search(pattern, line.text, re.IGNORECASE)]
    assert scene.log("cloud", pattern) == alone
    assert scene.log("cloud", pattern, since_ns=4) == [line for line in alone if line.t_ns >= 4]


def test_words_are_only_taken_from_patterns_that_are_plain() -> None:
    """A group or a class may make a word optional; an empty branch matches everything."""
    assert literals("Audio stream error|panics?: .+ here") == ["audio stream error", "panic"]
    assert literals("(a)?b") is None
    assert literals("a|") is None
