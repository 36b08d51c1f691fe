"""How a run that repeats itself is told: its cycles in a line, and the last one in full; by hand-made histories."""

import pytest

from harness import events as ev
from harness import report
from harness.checkers import judge
from harness.tests.histories import at, green, ns

LEFT = "SessionEnded(alice)"


def hit(number, seconds, fault):
    """A fault that is healed 0.2 s later, and captions that are owed 0.1 s after that."""
    return (
        at(seconds, ev.Injecting(number=number, fault=fault, target="x", blast=("alice",), held=True)),
        at(seconds + 0.1, ev.Injected(number=number, fault=fault, proof=f"proof {number}")),
        at(seconds + 0.2, ev.Healed(number=number, fault=fault, proof=f"healed {number}")),
        at(seconds + 0.3, ev.Anchor(person="alice", name="socket open", moment_ns=ns(seconds + 0.3))),
    )


def cycled(*, of=3, heard=True):
    """The green run, whose fault is its first cycle, and two cycles more."""
    draft = green().drop(ev.SteadyAgain).drop(ev.StoppedTalking).drop(ev.Drained)
    draft.talks = {speaker: [(1.9, 18.0)] for speaker in draft.talks}
    for number, t_s, fault in ((1, 10.9, "Vanish(cloud)"), (2, 12.2, LEFT), (3, 14.5, LEFT)):
        told = heard or number < 3
        draft.add(at(t_s, ev.CycleDone(number=number, of=of, fault=fault, heard=told, took_s=1.0)))
    return draft.add(*hit(2, 11.0, LEFT), *hit(3, 12.3, LEFT))


def test_only_the_last_cycles_fault_and_heal_are_shown():
    lines = judge(cycled().history()).recovery.lines
    assert [line.split()[-1] for line in lines if line.startswith(("injected", "healed"))] == ["3", "3"]
    assert not [line for line in lines if line.startswith("gate")]


@pytest.mark.parametrize(
    ("of", "heard", "count", "slowest"),
    [(3, True, "3 cycles, 3", "1.63 s (cycle 3"), (9, False, "3 of 9 cycles, 2", "1.53 s (cycle 2")],
)
def test_cycles_stand_in_one_line(of, heard, count, slowest):
    judgement = judge(cycled(of=of, heard=heard).history())
    (line,) = [line for line in judgement.recovery.lines if line.startswith("cycles")]
    assert f"{count} with captions; slowest recovery {slowest}, {LEFT})" in line
    assert line in report.markdown(judgement)


def test_the_waterfall_and_the_outage_are_of_the_last_cycle():
    recovery = judge(cycled().history()).recovery
    assert recovery.times["injected_s"] == 12.4
    assert (recovery.times["outage_s"] or 99) < 3
    assert recovery.steps[0].how == LEFT


def test_the_story_tells_the_last_cycle_and_that_there_were_others():
    texts = [step.text for step in judge(cycled().history()).story.steps]
    assert [t for t in texts if t.startswith("injected")] == [f"injected {LEFT}: proof 3"]
    assert texts.count("… cycles 1 to 2: captions of each flowed again") == 1


def test_without_cycles_all_is_told():
    judgement = judge(green().add(*hit(2, 11.0, LEFT)).history())
    assert sum(line.startswith("injected") for line in judgement.recovery.lines) == 2
    assert sum(step.text.startswith("injected") for step in judgement.story.steps) == 2
    assert not [line for line in judgement.recovery.lines if line.startswith("cycles")]
