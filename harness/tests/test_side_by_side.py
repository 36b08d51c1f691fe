"""What a deadline leaves out, and what is known of how long tests take."""

import pytest

from fixtures.side_by_side import GUESS_S, keep_duration, read_durations

pytest_plugins = ["pytester"]


def test_the_last_duration_of_a_test_counts(tmp_path):
    """A torn or foreign line is no duration."""
    path = tmp_path / "durations.jsonl"
    keep_duration(path, "a", 12.34)
    keep_duration(path, "b", 3.0)
    keep_duration(path, "a", 9.99)
    with path.open("a") as file:
        file.write('{"test": "b", "sec')
    assert read_durations(path) == {"a": 10.0, "b": 3.0}


def test_without_a_directory_nothing_is_kept(tmp_path):
    """A test that made no run makes no directory of runs either."""
    keep_duration(tmp_path / "runs" / "durations.jsonl", "a", 1.0)
    assert not (tmp_path / "runs").exists()
    assert read_durations(tmp_path / "runs" / "durations.jsonl") == {}


@pytest.mark.parametrize(("deadline", "outcomes"), [(GUESS_S + 60, {"passed": 2}), (10, {"passed": 1, "skipped": 1})])
def test_a_deadline_leaves_out_what_would_end_after_it(pytester, deadline, outcomes):
    """A test known to be short is run, one of which nothing is known counts as long; the summary names it."""
    pytester.makeconftest(
        'pytest_plugins = ["fixtures.side_by_side"]\n'
        'def pytest_addoption(parser):\n    parser.addoption("--runs", default="runs")\n'
    )
    pytester.makepyfile(test_it="def test_short(): pass\ndef test_unknown(): pass\n")
    pytester.mkdir("runs")
    keep_duration(pytester.path / "runs" / "durations.jsonl", "test_it.py::test_short", 0.1)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", f"--deadline={deadline}")
    result.assert_outcomes(**outcomes)
    assert ("left out by the deadline" in result.stdout.str()) == ("skipped" in outcomes)
