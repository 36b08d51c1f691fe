"""The list of known breakage: what it says, what it excuses, and what a mistake in it is told as."""

import json
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from fixtures import known as plugin
from fixtures import rig as rig_plugin
from harness import events as ev
from harness import report
from harness.checkers import INCIDENTS, judge
from harness.cli.known import checked_known
from harness.cli.naming import known_scenarios
from harness.cli.outcome import Finished, summary, summary_text
from harness.errors import GuaranteeBroken, KnownFileError
from harness.rig.known import Known, known_of, read_known
from harness.rig.options import RigOptions
from harness.settings import PROJECT_ROOT
from harness.tests.histories import green

EXAMPLE = PROJECT_ROOT / "fixtures" / "known" / "real-main-dec-2025.toml"
ENTRY = '[[known]]\nincident = "silent-audio-gap"\nreason = "later"\n'


def write(tmp_path, text):
    path = tmp_path / "known.toml"
    path.write_text(text)
    return path


def judged(draft, *known):
    first = draft.events.pop(0)
    draft.events.insert(0, msgspec.structs.replace(first, known=known))
    return judge(draft.history())


def zombie(**more):
    return ev.KnownIncident("zombie-first-connect", "waits for its mend", **more)


def broken():
    return green().never_recovers().drop(ev.LogLine)


# --- the file ---


def test_the_example_names_scenarios_and_incidents_that_there_are():
    assert checked_known(EXAMPLE, known_scenarios()) == str(EXAMPLE)
    assert {known.incident for known in read_known(EXAMPLE)} <= INCIDENTS


def test_no_list_is_no_list():
    assert checked_known(None, {}) is None
    assert known_of(None, "baseline") == ()


def test_patterns_name_scenarios_and_their_variants(tmp_path):
    path = write(tmp_path, ENTRY + 'scenarios = ["kill-cloud", "pause-*", "kill-bridge[4s]"]\nbroken = ["Honest"]\n')
    assert read_known(path) == (
        Known("silent-audio-gap", "later", ("kill-cloud", "pause-*", "kill-bridge[4s]"), ("Honest",)),
    )
    found = {name: known_of(str(path), name) for name in ("kill-cloud[vanish]", "pause-cloud", "kill-bridge[4s]")}
    assert {name: known[0].named for name, known in found.items()} == {
        "kill-cloud[vanish]": True, "pause-cloud": False, "kill-bridge[4s]": True,
    }, "a pattern says of none of its scenarios that it fails there"  # fmt: skip
    assert {known[0].broken for known in found.values()} == {("Honest",)}
    assert known_of(str(path), "kill-bridge[1s]") == known_of(str(path), "baseline") == ()
    assert known_of(str(write(tmp_path, ENTRY)), "baseline")[0].named is False


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[[known]]\nincident = "silent-audio-gap"', "reason to be a text; saw nothing (FILE, line 1); write it"),
        (ENTRY + ENTRY.replace("silent-audio", "silent-audo"),
         "saw 'silent-audo-gap' (FILE, line 5); did you mean \"silent-audio-gap\"?"),
        (ENTRY + "scenario = []", 'saw scenario (FILE, line 4); did you mean "scenarios"?'),
        (ENTRY + 'scenarios = "x"', "expected scenarios to be a list of texts; saw 'x' (FILE, line 4)"),
        (ENTRY + "scenarios = []", "expected scenarios to name one; saw [] (FILE, line 4); leave the key out: it"),
        (ENTRY + "broken = []", "expected broken to name one; saw [] (FILE, line 4); leave the key out: it means any"),
        (ENTRY + 'broken = ["resumes"]', "expected the title of a guarantee; saw 'resumes' (FILE, line 4)"),
        ("known = 1", "expected [[known]] tables and nothing else; saw known (FILE)"),
        ("", "saw an empty file (FILE)"),
        ("[[known", "expected a TOML file; saw FILE: "),
        (ENTRY + 'scenarios = ["baselin"]', "expected a pattern that fits a scenario; saw 'baselin' (FILE)"),
    ],
)  # fmt: skip
def test_a_mistake_gets_a_sentence(tmp_path, text, sentence):
    path = write(tmp_path, text)
    with pytest.raises(KnownFileError) as caught:
        checked_known(path, known_scenarios())
    assert sentence.replace("FILE", str(path)) in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(KnownFileError, match=r"expected a list of known incidents; saw .*no\.toml: .*No such file"):
        checked_known(tmp_path / "no.toml", {})


# --- one run ---


def test_known_breakage_keeps_its_outcome_and_does_not_fail_the_run():
    judgement = judged(broken(), zombie())
    assert judgement.outcome == "BROKEN"
    assert report.exit_code(judgement) == 0
    assert "  known        zombie-first-connect fails as known: waits for its mend" in report.text(judgement)
    assert "- known: zombie-first-connect fails as known" in report.markdown(judgement)
    verdict = json.loads(report.verdict_json(judgement))
    assert (verdict["outcome"], verdict["exit_code"]) == ("BROKEN", 0)
    assert verdict["known"] == [
        {"incident": "zombie-first-connect", "says": "fails as known", "reason": "waits for its mend"}
    ]


@pytest.mark.parametrize(
    "known",
    [
        [],
        [ev.KnownIncident("sfu-down-at-join", "another")],
        [zombie(broken=("Honest",))],  # it breaks Resumes too
    ],
    ids=["none", "another", "more broken"],
)
def test_what_is_not_listed_fails_the_run(known):
    judgement = judged(broken(), *known)
    assert report.exit_code(judgement) == 1
    assert report.known_seen(judgement) == ()


def test_unknown_stays_unknown():
    judgement = judged(broken().drop(ev.Injected), zombie())
    assert judgement.outcome == "UNKNOWN"
    assert report.exit_code(judgement) == 2


def test_a_listed_incident_that_no_longer_fails_is_said_where_the_list_names_the_scenario():
    assert "known        zombie-first-connect no longer fails" in report.text(judged(green(), zombie(named=True)))
    assert report.known_seen(judged(green(), zombie())) == ()
    assert "known" not in json.loads(report.summary_json(judged(green())))


# --- several runs ---


def finished(code, *known):
    return Finished("a", code, "", {"known": [{"incident": name, "says": says, "reason": ""} for name, says in known]})


def test_the_summary_counts_known_breakage_apart():
    runs = [finished(0, ("x", "fails as known")), finished(0, ("x", "no longer fails"), ("y", "no longer fails"))]
    facts = summary(runs, 0)
    assert (facts["outcome"], facts["exit"], facts["holds"], facts["known"]) == ("BROKEN", 0, 1, 1)
    assert facts["no_longer_failing"] == ["y"], "x failed in one of the runs"
    assert summary_text(runs, 0).splitlines() == [
        "BROKEN  2 runs: 1 holds, 0 broken, 0 unknown, 0 skipped, 0 machine, 1 known",
        "known: y no longer fails; strike it off the list",
    ]
    assert "known" not in summary([finished(0)], 0)


def test_the_rerun_line_names_the_list():
    assert "--known /a/known.toml" in RigOptions(known="/a/known.toml").rerun("baseline")


# --- pytest ---


class Item:
    def __init__(self):
        self.user_properties = []


def call(item, raised):
    running = plugin.pytest_runtest_call(item)
    next(running)
    running.throw(raised)


def test_known_breakage_is_an_expected_failure_and_kept_for_junit():
    item: Any = Item()
    with pytest.raises(pytest.xfail.Exception, match="known: silent-audio-gap fails as known: later"):
        call(item, GuaranteeBroken("BROKEN", "silent-audio-gap fails as known: later"))
    assert item.user_properties == [("known", "silent-audio-gap fails as known: later")]


def test_what_is_not_known_fails_the_test():
    item: Any = Item()
    with pytest.raises(GuaranteeBroken, match="BROKEN"):
        call(item, GuaranteeBroken("BROKEN"))
    assert item.user_properties == []


def test_a_story_that_holds_though_listed_is_noted(tmp_path):
    (tmp_path / "verdict.json").write_text(report.verdict_json(judged(green(), zombie(named=True))))
    item: Any = Item()
    rigs: Any = [SimpleNamespace(checked=True, options=RigOptions(known="x"), run_dir=tmp_path)]
    plugin.note_what_holds(rigs, item)
    assert item.user_properties == [("known", "zombie-first-connect no longer fails: strike it off the list")]


def test_the_end_of_a_session_says_what_is_known():
    lines: list[str] = []
    one = SimpleNamespace(nodeid="a.py::test_a", user_properties=[("known", "x fails as known: later")])
    reporter: Any = SimpleNamespace(stats={"xfailed": [one], "": [one]}, write_line=lines.append)
    plugin.pytest_terminal_summary(reporter)
    assert lines == ["known: test_a: x fails as known: later"]


def test_a_list_that_cannot_be_used_ends_pytest_with_a_sentence(tmp_path):
    path = write(tmp_path, "known = 1")
    session: Any = SimpleNamespace(config=SimpleNamespace(getoption=lambda _: str(path)))
    with pytest.raises(pytest.exit.Exception, match="tables and nothing else") as caught:
        plugin.pytest_sessionstart(session)
    assert caught.value.returncode == 3


@pytest.fixture
def made_with():
    """Give what rigs are made with."""
    return []


@pytest.fixture
def rig(tmp_path, made_with):
    """Stand for the factory of rigs: note what each is made with, and give one that was judged already."""

    def make(info, variant, **changes):
        made_with.append(changes)
        (tmp_path / "verdict.json").write_text("{}")
        (tmp_path / "report.md").write_text("")
        return SimpleNamespace(run_dir=tmp_path)

    return make


async def test_a_scenario_that_is_played_with_a_defect_is_excused_by_no_list(play, made_with, monkeypatch):
    async def story(factory):
        factory()

    info: Any = SimpleNamespace(function=story, variants={})
    monkeypatch.setattr(rig_plugin, "registry", lambda: {"baseline": info})
    await play("baseline", defects=["bridge:mute"])
    await play("baseline", known="list.toml")
    assert made_with == [{"defects": ["bridge:mute"], "known": None}, {"known": "list.toml"}]
