"""Ordered, Unique, Intact, Alive and Clean, by hand-made histories."""

import pytest

from harness import events as ev
from harness.checkers import Outcome
from harness.checkers.cleanliness import check_clean
from harness.checkers.integrity import check_intact
from harness.checkers.liveness import check_alive
from harness.checkers.order import check_ordered, check_unique
from harness.frames import Flag, Hop
from harness.history import History
from harness.tests.histories import ALICE, at, green, log

ALL = (check_ordered, check_unique, check_intact, check_alive, check_clean)


@pytest.mark.parametrize("check", ALL)
def test_holds_on_the_green_run(check):
    assert check(green().history(), {}).outcome is Outcome.HOLDS


@pytest.mark.parametrize("check", ALL)
def test_unknown_on_an_empty_run(check):
    history = History.of(green().events[:1])
    assert check(history, {}).outcome is Outcome.UNKNOWN


def test_earlier_word_later_breaks_ordered_only():
    draft = green()
    draft.silent["app-in"] = [(4.0, 5.0)]
    draft.finals = [(5.9, [14]), (5.95, [13])]
    assert check_ordered(draft.history(), {}).outcome is Outcome.BROKEN
    assert check_unique(draft.history(), {}).outcome is Outcome.HOLDS


def test_repeated_word_breaks_unique_only():
    draft = green()
    draft.finals = [(5.9, [10])]
    verdict = check_unique(draft.history(), {})
    assert verdict.outcome is Outcome.BROKEN
    assert verdict.stands
    assert "s7w10" in verdict.because
    assert check_ordered(draft.history(), {}).outcome is Outcome.HOLDS


def test_intact_names_the_first_hop_of_the_path():
    draft = green()
    draft.flags = [(Hop.STT_IN, 3.0, 4.0, Flag.SWAPPED), (Hop.CLOUD_IN, 3.0, 4.0, Flag.SWAPPED)]
    verdict = check_intact(draft.history(), {})
    assert verdict.outcome is Outcome.BROKEN
    assert "from cloud-in on: 50 of" in verdict.because
    assert verdict.evidence[0].where == "cloud-in"


@pytest.mark.parametrize(
    ("what", "outcome"), [("corrupt", Outcome.BROKEN), ("stray", Outcome.BROKEN), ("cut", Outcome.HOLDS)]
)
def test_intact_by_events(what, outcome):
    draft = green().add(at(4, ev.Damaged(hop="sfu", what=what, count=3), "ears"))
    assert check_intact(draft.history(), {}).outcome is outcome


def test_cut_frame_is_no_damage():
    draft = green()
    draft.flags = [(Hop.CLOUD_IN, 3.0, 4.0, Flag.CUT)]
    assert check_intact(draft.history(), {}).outcome is Outcome.HOLDS


def _exit(seconds, **fields):
    return at(seconds, ev.ComponentExited(component="bridge", identity="pid 10", exit_text="exited 2", **fields))


def test_exit_by_itself_breaks_alive():
    verdict = check_alive(green().add(_exit(5, by_us=False)).history(), {})
    assert verdict.outcome is Outcome.BROKEN
    assert verdict.stands
    assert verdict.because == "bridge exited 2, and nothing of ours ended it"


@pytest.mark.parametrize("exited", [_exit(5, by_us=True), _exit(5, by_us=False, machine=True), _exit(0.3, by_us=False)])
def test_exit_that_is_not_the_systems(exited):
    """By a fault, by the machine, or before it was ever ready."""
    assert check_alive(green().add(exited).history(), {}).outcome is Outcome.HOLDS


def test_a_part_that_stays_when_it_is_asked_to_end_breaks_alive():
    ignored = at(5, ev.ComponentIgnoredTerm(component="bridge", identity="pid 10", within_s=10))
    verdict = check_alive(green().add(ignored, _exit(15, by_us=True)).history(), {})
    assert (verdict.outcome, verdict.stands) == (Outcome.BROKEN, True)
    assert verdict.because == "bridge was asked to end (SIGTERM) and was still there 10 s later"


def test_part_that_never_got_ready_is_not_said_to_be_alive():
    draft = green().drop(ev.ComponentReady, lambda e: e.component == "bridge").add(_exit(0.4, by_us=False))
    verdict = check_alive(draft.history(), {})
    assert verdict.outcome is Outcome.UNKNOWN
    assert verdict.because == "cloud: no exit and no alarm line; bridge exited 2 before it was ready"


def test_alarm_line_breaks_alive_unless_expected():
    verdict = check_alive(green().add(log(5, "bridge", "panic: send on closed channel", 31)).history(), {})
    assert verdict.outcome is Outcome.BROKEN
    assert verdict.evidence[0].where == "logs/bridge.log:31"
    assert check_alive(green().add(log(5, "bridge", "panic: rehearsed")).history(), {}).outcome is Outcome.HOLDS
    assert check_alive(green().add(log(5, "phone-alice-1", "panic: x")).history(), {}).outcome is Outcome.HOLDS


def _bridge(**fields):
    read = {"why": "end", "answered": True, "active_sessions": 1, "connected": {"alice@x": True}, **fields}
    return green().drop(ev.BridgeRead).add(at(14.7, ev.BridgeRead(**read)))


def _room(*participants):
    return green().drop(ev.RoomRead).add(at(14.7, ev.RoomRead(why="end", room="alice@x", participants=participants)))


def _left(part):
    return green().add(at(15.4, ev.Leftover(what=f"process 9 of {part}: x")))


def _two_connected(*rooms):
    draft = _bridge(active_sessions=2, connected={"alice@x": True, "bob@y": True}).drop(ev.RoomRead).drop(ev.Connected)
    draft.add(at(14.7, ev.Connected(users=("alice@x", "bob@y"))))
    return draft.add(*(at(14.7, ev.RoomRead(why="end", room=r, participants=p)) for r, p in rooms))


@pytest.mark.parametrize(
    ("draft", "word"),
    [
        (_bridge(active_sessions=2), "holds 2 sessions for 1"),
        (_bridge(connected={"alice@x": False}), "not connected"),
        (_room("alice@x"), "0 agents of alice@x"),
        (_room("alice@x", "cloud-agent:alice@x", "cloud-agent:bob@x"), "cloud-agent:bob@x is still in a room"),
        (green().add(at(15.4, ev.Leftover(what="process 99"))), "left over: process 99"),
        (_left("bridge"), "left over: process 9 of bridge: x"),
        (_left("livekit"), "left over: process 9 of livekit: x"),
    ],
)
def test_clean_broken(draft, word):
    verdict = check_clean(draft.history(), {})
    assert verdict.outcome is Outcome.BROKEN
    assert word in verdict.because


@pytest.mark.parametrize(
    "draft",
    [
        green().drop(ev.BridgeRead), green().drop(ev.RoomRead), green().drop(ev.Connected), _bridge(answered=False),
        _bridge(active_sessions=-1), _bridge(connected={}),
    ],
)  # fmt: skip
def test_clean_unknown_when_not_read(draft):
    assert check_clean(draft.history(), {}).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("part", ["links", "ears", "phone-2", "janitor", "unknown"])
def test_what_is_left_of_ours_is_not_the_systems(part):
    verdict = check_clean(_left(part).history(), {})
    assert verdict.outcome is Outcome.UNKNOWN
    assert f"of its own: process 9 of {part}" in verdict.because
    assert check_clean(_left(part).drop(ev.BridgeRead).add(_bridge_read(2)).history(), {}).outcome is Outcome.BROKEN


def _bridge_read(sessions):
    return at(14.7, ev.BridgeRead(why="end", answered=True, active_sessions=sessions, connected={"alice@x": True}))


ALICES = ("alice@x", ("alice@x", "cloud-agent:alice@x"))


def test_room_that_was_not_read_is_unknown():
    verdict = check_clean(_two_connected(ALICES).history(), {})
    assert verdict.outcome is Outcome.UNKNOWN
    assert verdict.because == "the room of bob@y was not read at the end"


@pytest.mark.parametrize("room", ["bob@y", "some other name"])
def test_room_that_was_read_without_an_agent_is_broken(room):
    verdict = check_clean(_two_connected(ALICES, (room, ())).history(), {})
    assert verdict.because == "0 agents of bob@y in the rooms, expected 1"


def test_words_of_other_people_do_not_mix():
    draft = green()
    draft.talks[9] = [(1.9, 14.0)]
    assert ALICE != 9
    assert check_ordered(draft.history(), {}).outcome is Outcome.HOLDS
    assert check_unique(draft.history(), {}).outcome is Outcome.HOLDS
