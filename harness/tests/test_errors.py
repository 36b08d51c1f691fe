"""Errors are sentences with facts."""

from harness.errors import MachineError, NotReached, StartFailed, UsageError


def test_a_settings_error_says_expected_seen_and_mend():
    error = UsageError("a scenario", "'bazeline'", "did you mean 'baseline'?")
    assert str(error) == "expected a scenario; saw 'bazeline'; did you mean 'baseline'?"
    assert error.exit_code == 64
    assert MachineError("a", "b", "c").exit_code == 3


def test_a_component_error_ends_with_its_log():
    error = StartFailed("bridge", "no answer", exit_text="exited 1", last_lines=("one", "two"), log="logs/bridge.log")
    assert str(error) == (
        "bridge did not start: no answer; it exited 1\n"
        "  its last lines:\n    one\n    two\n  whole log: logs/bridge.log"
    )


def test_a_wait_says_for_how_long_and_why():
    assert str(NotReached("steady captions", 23.04, "none")) == "waited 23.0 s for steady captions; last seen: none"
