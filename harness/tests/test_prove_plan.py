"""The plan of what is to be proven: its rows, what they stand for, and what is as expected."""

import pytest

from harness.errors import MachineError
from harness.prove.__main__ import wanted
from harness.prove.plan import Case, every_caught, every_scenario, read_plan
from harness.tests.prove_world import DEFECT, FIXED


def test_the_plan_of_the_project_wants_every_scenario_on_every_system_that_can_play_it():
    by_slug = {case.slug: case for case in read_plan()}
    fixed = {(case.scenario, case.on) for case in by_slug.values() if not case.defects and not case.under_load}
    systems = {"reference", "containers", "reference with bridge.process={gobridge}"}
    systems.add("reference with the livekit engine")
    short = [one for one in every_scenario() if one != "zombies-over-time[100]"]  # which takes minutes: once is enough
    assert {(one, "containers") for one in short} | {("zombies-over-time[100]", "reference")} <= fixed
    assert {(one, on) for one in short if not one.startswith("bridge-network") for on in systems} <= fixed
    assert by_slug["force-quit-restart-cloud-vanish"].times == 20
    defect = by_slug["force-quit-restart-cloud-vanish--refuse-existing-session"]
    assert (defect.outcome, defect.diagnosis, defect.times) == ("BROKEN", "zombie-first-connect", 20)
    assert by_slug["force-quit-restart-cloud-vanish--under-load"].under_load
    assert by_slug["baseline--livekit-engine"].on == "reference with the livekit engine"
    assert by_slug["baseline--mute--containers"].broken == ("Resumes",)
    assert {(s, tuple(d)) for s, d, *_ in every_caught()} <= {
        (case.scenario, case.defects) for case in by_slug.values() if case.on == "reference" and case.times >= 3
    }
    assert {case.scenario for case in by_slug.values()} <= set(every_scenario())  # in full: a bare name is one variant
    # About 20 s each: a ceiling, so that nobody's row makes the proof longer than a night without being asked.
    assert sum(case.times for case in by_slug.values()) <= 2000


def plan(tmp_path, text):
    (tmp_path / "plan.toml").write_text(text)
    caught = [("a", ["cloud:x"], {"Resumes", "Honest"}, "sfu-down-at-join"), ("b[x]", ["cloud:x"], set(), "seen")]
    return read_plan(tmp_path / "plan.toml", every=lambda: ("a", "b[x]"), caught=lambda: caught)


ROW = '[[case]]\nscenario = "*"\nsystem = ["reference", "containers"]\noutcome = "HOLDS"\ntimes = 2\n'


def test_a_row_stands_for_each_scenario_on_each_system(tmp_path):
    assert [case.slug for case in plan(tmp_path, ROW)] == ["a", "b-x", "a--containers", "b-x--containers"]
    assert [case.slug for case in plan(tmp_path, ROW + 'without = ["b"]\n')] == ["a", "a--containers"]
    sets = ROW + 'sets = ["bridge.process={gobridge}"]\n'
    assert plan(tmp_path, sets)[-1].slug == "b-x--containers--bridge-process-gobridge"


def test_a_row_stands_for_the_whole_table_of_the_self_test(tmp_path):
    caught, holds = plan(tmp_path, '[[case]]\ncaught = "*"\ntimes = 3\n')
    assert (caught.slug, caught.outcome, caught.times) == ("a--x", "BROKEN", 3)
    assert (caught.broken, caught.diagnosis) == (("Honest", "Resumes"), "sfu-down-at-join")
    assert (holds.slug, holds.outcome, holds.broken, holds.diagnosis) == ("b-x--x", "HOLDS", (), "")
    with pytest.raises(MachineError, match="what is caught says"):
        plan(tmp_path, '[[case]]\ncaught = "*"\ntimes = 3\noutcome = "HOLDS"\n')


def test_a_row_stands_for_each_engine(tmp_path):
    cases = plan(tmp_path, ROW + 'engine = ["aiortc", "livekit"]\n')
    assert [case.slug for case in cases[:4]] == ["a", "b-x", "a--livekit-engine", "b-x--livekit-engine"]
    assert cases[-1].on == "containers with the livekit engine"
    assert plan(tmp_path, ROW + 'without = ["b[x]"]\n')[-1].slug == "a--containers"


def test_of_two_rows_with_the_same_case_the_higher_number_counts(tmp_path):
    more = '[[case]]\nscenario = "a"\noutcome = "HOLDS"\ntimes = 20\n'
    for text in (ROW + more, more + ROW):
        assert {case.slug: case.times for case in plan(tmp_path, text)} == {
            "a": 20, "b-x": 2, "a--containers": 2, "b-x--containers": 2,
        }  # fmt: skip
    with pytest.raises(MachineError, match="two rows expect something else of a"):
        plan(tmp_path, ROW + more.replace('"HOLDS"', '"BROKEN"\nbroken = ["Resumes"]'))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[[case]]\nscenario = "x"\noutcome = "HOLDS"\ntimes = 1\nload = 1', "not load"),
        ('[[case]]\nscenario = "x"\noutcome = "BROKEN"\ntimes = 1', "BROKEN with the guarantees"),
        ('[[case]]\nscenario = "x"\noutcome = "FINE"\ntimes = 1', "outcome is HOLDS"),
        ('[[case]]\nscenario = "x"\noutcome = "HOLDS"', "times"),
        ("[[case]", "TOMLDecodeError"),
    ],
)
def test_a_plan_that_cannot_be_used_says_why(tmp_path, text, why):
    (tmp_path / "plan.toml").write_text(text)
    with pytest.raises(MachineError) as caught:
        read_plan(tmp_path / "plan.toml")
    assert why in str(caught.value)


def test_only_the_exact_set_and_the_first_incident_are_as_expected():
    assert DEFECT.as_expected("BROKEN", ("Resumes", "Honest"), "zombie-first-connect")
    assert not DEFECT.as_expected("BROKEN", ("Resumes",), "zombie-first-connect")
    assert not DEFECT.as_expected("BROKEN", ("Resumes", "Honest", "Clean"), "zombie-first-connect")
    assert not DEFECT.as_expected("BROKEN", ("Resumes", "Honest"), "sfu-down-at-join")
    assert not FIXED.as_expected("UNKNOWN", (), "")
    assert not FIXED.as_expected("HOLDS", (), "getstatus-missing")


def test_only_and_under_load_choose():
    loaded = Case("kill-cloud[vanish]", "HOLDS", 1, under_load=True)
    every = [FIXED, DEFECT, loaded]
    assert wanted(every, "*", under_load=False) == every
    assert wanted(every, "refuse", under_load=False) == [DEFECT]
    assert wanted(every, "kill-cloud-vanish", under_load=True) == [loaded]
    assert wanted(every, "*--refuse*", under_load=False) == [DEFECT]
