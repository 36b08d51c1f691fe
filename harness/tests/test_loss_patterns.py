"""The player of random patterns: the same seed means the same, and a window has the books of its own frames."""

from fixtures.loss_patterns import drawn, windows_of
from harness import events as ev
from harness.history import History
from harness.tests.histories import at
from harness.tests.test_checkers_accounting import built, hurt, lossy, without


def test_a_seed_means_one_fault_of_each_kind_and_always_the_same():
    assert drawn(1, 3) == drawn(1, 3)
    assert drawn(1, 3) != drawn(1, 4)
    assert drawn(2, 3) != drawn(1, 3)
    assert {type(fault).__name__ for fault in drawn(1, 3).faults} == {"Drop", "Duplicate", "Reorder", "Corrupt"}


def test_each_window_has_the_books_of_its_own_frames():
    second = at(9.0, ev.Injecting(number=2, fault="again", target="packets of alice", blast=("alice",), held=True))
    history = built(lossy(hurt("dropped", 300), hurt("dropped", 500, seconds=10.5), second), without(300, 301, 501))
    one, two = windows_of(history)
    assert (one.exact, two.exact) == (True, False)
    assert one.packets == two.packets == {"dropped": 1}
    assert two.facts()["hops"]["cloud-in"]["dropped"] == [2, 1]
    assert {book.spoken for book in one.books} == {book.spoken for book in one.books if book.hop == "cloud-in"}


def test_a_window_in_which_nothing_was_heard_is_not_exact():
    history = built(lossy(hurt("dropped", 300)))
    mute = History.of([e for e in history.events if not isinstance(e, ev.Talking)], history.frames)
    assert [window.exact for window in windows_of(mute)] == [False]
