"""What a deadline leaves out, and what is known of how long tests take."""

import argparse

import pytest

from fixtures.side_by_side import GUESS_S, keep_durations, positive, read_durations

pytest_plugins = ["pytester"]


def test_the_last_duration_of_a_test_counts(tmp_path):
    """What was not run keeps the one it had; a damaged file knows of none."""
    path = tmp_path / "durations.json"
    keep_durations(path, {"a": 12.3, "b": 3.0})
    keep_durations(path, {"a": 10.0})
    assert read_durations(path) == {"a": 10.0, "b": 3.0}
    path.write_text('{"a": ')
    assert read_durations(path) == {}


def test_without_a_directory_nothing_is_kept(tmp_path):
    """A session that made no run makes no directory of runs either."""
    keep_durations(tmp_path / "runs" / "durations.json", {"a": 1.0})
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("text", ["nan", "inf", "-3", "0", "soon"])
def test_a_deadline_is_a_number_of_seconds(text):
    """Anything else is a sentence."""
    with pytest.raises(argparse.ArgumentTypeError, match="expected seconds above 0"):
        positive(text)


@pytest.fixture
def suite(pytester, monkeypatch):
    """Give a directory with two tests, one of them known to be short."""
    monkeypatch.delenv("CI", raising=False)
    pytester.makeconftest(
        'pytest_plugins = ["fixtures.side_by_side"]\n'
        'def pytest_addoption(parser):\n    parser.addoption("--runs", default="runs")\n'
    )
    pytester.makepyfile(
        test_it="import pytest\n@pytest.fixture\ndef rig(): pass\ndef test_short(rig): pass\ndef test_unknown(): pass\n"
    )
    pytester.mkdir("runs")
    keep_durations(pytester.path / "runs" / "durations.json", {"test_it.py::test_short": 0.1})
    return pytester


@pytest.mark.parametrize(("deadline", "outcomes"), [(GUESS_S + 60, {"passed": 2}), (10, {"passed": 1, "skipped": 1})])
def test_a_deadline_leaves_out_what_would_end_after_it(suite, deadline, outcomes):
    """A test known to be short is run, one of which nothing is known counts as long; the summary names it."""
    result = suite.runpytest_subprocess("-p", "no:cacheprovider", f"--deadline={deadline}")
    result.assert_outcomes(**outcomes)
    assert ("left out by the deadline" in result.stdout.str()) == ("skipped" in outcomes)
    assert result.ret == 0
    assert list(read_durations(suite.path / "runs" / "durations.json")) == ["test_it.py::test_short"]


def test_what_is_left_out_is_not_passed(suite, monkeypatch):
    """Not in CI, and nowhere when nothing was proven."""
    assert suite.runpytest_subprocess("-p", "no:cacheprovider", "--deadline=0.01").ret == 1
    monkeypatch.setenv("CI", "true")
    assert suite.runpytest_subprocess("-p", "no:cacheprovider", "--deadline=10").ret == 1
