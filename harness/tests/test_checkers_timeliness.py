"""Timely, by hand-made histories."""

import msgspec
import pytest

from harness import events as ev
from harness.checkers import Outcome, judge
from harness.checkers.specs import timely
from harness.checkers.timeliness import LaggedFinal, check_timely, growth
from harness.tests.histories import ALICE, EPOCH_S, at, green, ns

FIVE = {"lag_s": 5.0}


def delayed(draft, by_s):
    """Return the draft's history with each final at app-in later by ``by_s(when it came, in s)``."""
    history = draft.history()
    moved = []
    for e in history.events:
        if isinstance(e, ev.Caption) and e.hop == "app-in":
            moved.append(msgspec.structs.replace(e, t_ns=e.t_ns + int(by_s((e.t_ns - ns(0)) / 1e9) * 1e9)))
        else:
            moved.append(e)
    return type(history).of(moved, history.frames)


def long_talk():
    """Give a run without a fault in which alice talks for 40 s."""
    draft = green().without_fault()
    draft.talks = {ALICE: [(1.9, 41.9)]}
    for kind in (ev.StoppedTalking, ev.Drained):
        draft.drop(kind)
    return draft.add(at(42.0, ev.StoppedTalking()), at(43.9, ev.Drained(quiet=True, took_s=1.9)))


def talks_on():
    """Give the vanish story with talk until 20 s."""
    draft = green()
    draft.talks = {ALICE: [(1.9, 20.0)]}
    draft.drop(ev.StoppedTalking).drop(ev.Drained)
    return draft.add(at(20.0, ev.StoppedTalking()), at(21.9, ev.Drained(quiet=True, took_s=1.9)))


def test_timely_holds_with_what_it_measured():
    verdict = check_timely(talks_on().history(), FIVE)
    assert verdict.outcome is Outcome.HOLDS, verdict.because
    assert "0.13 s in the middle" in verdict.because


def test_timely_holds_without_a_fault():
    assert check_timely(long_talk().history(), FIVE).outcome is Outcome.HOLDS


def test_the_first_captions_of_all_need_none_after_them():
    """Without a fault nothing was to come back: that captions are seen to flow only at the end says nothing."""
    draft = long_talk().add(at(42.5, ev.SteadyAgain(person="alice", moment_ns=ns(2))))
    assert check_timely(draft.history(), FIVE).outcome is Outcome.HOLDS


def test_late_while_steady_before_the_fault_is_broken():
    verdict = check_timely(delayed(talks_on(), lambda t: 0.5 if t < 5 else 0), {"lag_s": 0.5})
    assert verdict.outcome is Outcome.BROKEN
    assert "s late" in verdict.evidence[0].text


def test_lag_during_the_impact_is_the_affair_of_resumes():
    """What was spoken before the fault and comes while captions are away is no breach."""
    history = delayed(talks_on(), lambda t: 2.5 if 5.5 < t < 7 else 0)
    assert check_timely(history, {"lag_s": 2.0}).outcome is Outcome.HOLDS


def test_lag_that_stays_after_the_fault_is_broken():
    """Captions are back, and every one of them is as late as the outage was long."""
    history = delayed(talks_on(), lambda t: 1.5 if t > 8 else 0)
    verdict = check_timely(history, {"lag_s": 1.0})
    assert verdict.outcome is Outcome.BROKEN
    assert verdict.evidence[0].t_s > 12


def test_a_backlog_delivered_after_captions_flow_again_is_late():
    draft = talks_on()
    draft.finals = [(13.4, [20, 21, 22, 23])]  # spoken at about 6.5 s, while the cloud was away
    verdict = check_timely(draft.history(), FIVE)
    assert verdict.outcome is Outcome.BROKEN


def test_a_backlog_delivered_before_the_first_fresh_caption_is_the_outages():
    draft = talks_on()
    draft.finals = [(9.2, [20, 21, 22, 23])]
    assert check_timely(draft.history(), FIVE).outcome is Outcome.HOLDS


def test_too_few_finals_are_unknown():
    draft = green().drop(ev.SteadyReached).drop(ev.SteadyAgain)
    draft.talks = {ALICE: [(1.9, 3.3), (9.0, 10.9)]}
    verdict = check_timely(draft.history(), FIVE)
    assert verdict.outcome is Outcome.UNKNOWN
    assert "2 are needed" in verdict.because


def test_nothing_after_the_first_fresh_caption_is_unknown():
    verdict = check_timely(green().history(), FIVE)
    assert verdict.outcome is Outcome.UNKNOWN
    assert "once captions flowed again" in verdict.because


def test_nobody_talked_is_unknown():
    assert check_timely(talks_on().drop(ev.Talking).history(), FIVE).outcome is Outcome.UNKNOWN


def test_growth_is_broken_long_before_the_budget():
    """A recogniser that hears 1 s of speech in 1.05 s will be 5 s late after 100 s."""
    history = delayed(long_talk(), lambda t: max(0.0, t - 2) * 0.05)
    verdict = check_timely(history, FIVE)
    assert verdict.outcome is Outcome.BROKEN
    assert "later and later" in verdict.because


def test_growth_is_judged_by_the_whole_run_too():
    draft = long_talk().declare(timely(5), steady=True)
    assert judge(delayed(draft, lambda t: t * 0.05)).verdicts[0].outcome is Outcome.BROKEN


def finals(*lags_s):
    """Make finals 1.4 s apart with these lags."""
    return [LaggedFinal(ns(EPOCH_S + 1.4 * n), lag_s, "") for n, lag_s in enumerate(lags_s)]


@pytest.mark.parametrize(
    "lags_s",
    [
        (0.1, 0.1, 0.9, 0.8),  # a loaded machine towards the end
        (0.1, 0.1, 1.6, 0.1, 0.1),  # one late final
        (0.1, 0.1, 0.1, 1.4, 1.4, 1.4, 1.4),  # one step, and it stays
        (0.1, 1.0, 2.0),  # too few to tell
        (2.0, 1.5, 1.0, 0.5),  # it catches up
    ],
)
def test_what_is_no_growth(lags_s):
    assert growth(finals(*lags_s), 5.0) is None


@pytest.mark.parametrize("lags_s", [(0.1, 0.5, 0.9, 1.3), (0.1, 0.3, 0.7, 0.8, 1.2, 1.3, 1.5, 1.9)])
def test_what_is_growth(lags_s):
    assert growth(finals(*lags_s), 5.0) is not None
