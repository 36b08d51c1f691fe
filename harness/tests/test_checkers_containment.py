"""Contained, and what becomes of somebody outside the blast radius in the other guarantees; by hand-made histories."""

import msgspec
import pytest

from harness import events as ev
from harness.checkers import Outcome, judge
from harness.checkers.containment import check_contained
from harness.checkers.loss import check_bounded_loss
from harness.checkers.reach import outsiders
from harness.checkers.specs import contained
from harness.history import History
from harness.tests.histories import ALICE, BOB, DROPPED, at, green, neighbours, ns

LOSS = {"steady_ms": 0.0, "impact_ms": 6000.0}


def outcome(draft):
    return check_contained(draft.history(), {}).outcome


def test_contained_holds_when_bob_feels_nothing():
    verdict = check_contained(neighbours().history(), {})
    assert verdict.outcome is Outcome.HOLDS, verdict.because
    assert "bob, outside the blast radius, felt nothing" in verdict.because


def test_contained_holds_when_the_fault_hits_what_all_share():
    assert outcome(green()) is Outcome.HOLDS


def test_contained_holds_without_a_fault():
    assert outcome(green().without_fault()) is Outcome.HOLDS


@pytest.mark.parametrize("hop", ["sfu", "cloud-in"])
def test_a_neighbour_who_loses_a_word_is_harm(hop):
    draft = neighbours()
    draft.silent[f"{hop} of {BOB}"] = [(7.0, 7.2)]
    verdict = check_contained(draft.history(), {})
    assert verdict.outcome is Outcome.BROKEN
    assert "bob, outside the blast radius, lost 300 ms" in verdict.because
    assert not verdict.stands


def test_what_the_neighbour_lost_before_the_fault_is_not_the_faults():
    draft = neighbours()
    draft.silent[f"sfu of {BOB}"] = [(4.0, 4.2)]
    assert outcome(draft) is Outcome.HOLDS


def test_a_neighbour_whose_captions_come_late_is_harmed():
    history = neighbours().history()
    late = [
        msgspec.structs.replace(e, t_ns=e.t_ns + int(5.2e9))
        if isinstance(e, ev.Caption) and e.hop == "app-in" and e.speaker == BOB and ns(6.5) < e.t_ns < ns(9) else e
        for e in history.events
    ]  # fmt: skip
    verdict = check_contained(History.of(late, history.frames), {})
    assert verdict.outcome is Outcome.BROKEN
    assert "s late" in verdict.because


@pytest.mark.parametrize(
    "event",
    [
        ev.PhoneSocketClosed(person="bob", code=1006, reason="", by="network"),
        ev.RoomLost(person="bob", reason="signal lost"),
    ],
)
def test_a_neighbour_who_is_thrown_out_is_harmed(event):
    assert outcome(neighbours().add(at(7.0, event))) is Outcome.BROKEN
    assert outcome(neighbours().add(at(18.3, event))) is Outcome.HOLDS


def test_a_neighbour_who_never_talks_is_unknown():
    draft = neighbours()
    del draft.talks[BOB]
    draft.drop(ev.Talking, lambda e: e.person == "bob")
    assert outcome(draft) is Outcome.UNKNOWN


def test_a_neighbour_who_was_never_steady_is_unknown():
    assert outcome(neighbours().drop(ev.SteadyReached)) is Outcome.UNKNOWN


def test_without_a_component_that_was_ready_nothing_is_known():
    assert outcome(green().drop(ev.ComponentReady)) is Outcome.UNKNOWN


def test_the_same_user_on_a_second_phone_is_inside():
    draft = neighbours().drop(ev.RoomConnected, lambda e: e.person == "bob")
    draft.add(at(1.3, ev.RoomConnected(person="bob", room="alice@x", attempt=1), "phone-bob-1"))
    draft.silent[f"sfu of {BOB}"] = [(7.0, 7.2)]
    assert outsiders(draft.history()) == set()
    assert outcome(draft) is Outcome.HOLDS


def test_a_component_that_ends_outside_the_blast_stands_though_we_lagged():
    draft = neighbours().declare(contained)
    draft.add(at(7.0, ev.ComponentExited(component="bridge", identity="pid 10", exit_text="exited 2", by_us=False)))
    draft.add(at(7.1, ev.Lag(lag_ms=900)))
    verdict = check_contained(draft.history(), {})
    assert verdict.stands
    assert "bridge, outside the blast radius, exited 2" in verdict.because
    assert judge(draft.history()).outcome is Outcome.BROKEN


def test_a_component_inside_the_blast_may_end():
    draft = green().add(
        at(9.0, ev.ComponentExited(component="cloud", identity="pid 12", exit_text="exited 1", by_us=False))
    )
    assert outcome(draft) is Outcome.HOLDS


def test_a_component_that_came_anew_outside_the_blast_is_harm():
    assert outcome(green().add(at(9.0, ev.ComponentStarted(component="bridge", identity="pid 77")))) is Outcome.BROKEN


def test_a_component_that_came_anew_before_any_fault_touched_it_is_harm():
    assert outcome(green().add(at(5.0, ev.ComponentStarted(component="cloud", identity="pid 77")))) is Outcome.BROKEN


def test_a_stranger_heard_anywhere_is_broken_even_without_a_fault():
    draft = green().without_fault().declare(contained)
    draft.add(at(5.0, ev.Misheard(hop="sfu", owner="alice@x", speaker=BOB, first_index=225, count=2), "ears"))
    draft.add(at(7.1, ev.Lag(lag_ms=900)))
    verdict = check_contained(draft.history(), {})
    assert verdict.outcome is Outcome.BROKEN
    assert "heard at sfu of alice@x from frame 225 on" in verdict.because
    assert judge(draft.history()).outcome is Outcome.BROKEN


def shown(proc, seconds=5.0, person=""):
    caption = ev.Caption(hop="phone-display", speaker=ALICE, words=(11,), final=False, text="s7w11", person=person)
    return at(seconds, caption, proc)


def test_somebody_elses_words_on_the_phone_are_broken():
    """Which phone it is, its process tells: one person alone dialed from it (phones are numbered as they open)."""
    draft = neighbours().drop(ev.PhoneDialing)
    for proc, person in (("phone-1", "alice"), ("phone-2", "bob"), ("phone-3", "alice")):
        draft.add(at(1.0, ev.PhoneDialing(person=person, attempt=1), proc))
    assert outcome(draft.add(shown("phone-1"), shown("phone-3", 9.0), shown("phone-4"))) is Outcome.HOLDS
    verdict = check_contained(draft.add(shown("phone-2")).history(), {})
    assert verdict.outcome is Outcome.BROKEN
    assert "alice's words were shown on the phone of bob" in verdict.because


def test_where_many_phones_share_a_process_the_caption_names_its_phone():
    draft = neighbours().drop(ev.PhoneDialing)
    for person in ("alice", "bob"):
        draft.add(at(1.0, ev.PhoneDialing(person=person, attempt=1), "phone-1"))
    assert outcome(draft.add(shown("phone-1"), shown("phone-1", 5.1, "alice"))) is Outcome.HOLDS
    assert outcome(draft.add(shown("phone-1", 5.2, "bob"))) is Outcome.BROKEN


def test_a_fault_that_names_a_component_spares_nobody():
    draft = neighbours().drop(ev.Injecting)
    draft.add(at(6.05, ev.Injecting(number=1, fault=DROPPED, target="x", blast=("bridge", "alice"), held=True)))
    assert outsiders(draft.history()) == set()


def test_the_neighbour_is_judged_by_the_steady_budget_throughout():
    """Bob has no impact: what he loses meanwhile is lost while the system was steady for him."""
    draft = neighbours()
    assert check_bounded_loss(draft.history(), LOSS).outcome is Outcome.HOLDS
    draft.silent[f"sfu of {BOB}"] = [(7.0, 7.2)]
    verdict = check_bounded_loss(draft.history(), LOSS)
    assert verdict.outcome is Outcome.BROKEN
    assert "bob lost 300 ms" in verdict.because
    assert "while steady" in verdict.because


def test_the_neighbours_story_holds_as_a_whole():
    judgement = judge(neighbours().history())
    assert judgement.outcome is Outcome.HOLDS, [v for v in judgement.verdicts if v.outcome is not Outcome.HOLDS]


def test_a_second_phone_of_a_user_that_never_came_into_a_room_is_no_stranger():
    draft = neighbours().drop(ev.PhoneDialing).drop(ev.RoomConnected, lambda e: e.person == "bob")
    for proc, person in (("phone-1", "alice"), ("phone-2", "bob")):
        draft.add(at(1.0, ev.PhoneDialing(person=person, attempt=1, user="alice@x"), proc))
    assert outsiders(draft.history()) == set()
    assert outcome(draft.add(shown("phone-2"))) is Outcome.HOLDS


def test_somebody_in_the_wrong_room_is_still_a_stranger():
    draft = neighbours().drop(ev.PhoneDialing)
    for proc, person in (("phone-1", "alice"), ("phone-2", "bob")):
        draft.add(at(1.0, ev.PhoneDialing(person=person, attempt=1, user=f"{person}@x"), proc))
    draft.add(at(4.0, ev.RoomConnected(person="bob", room="alice@x", attempt=2), "phone-2"))
    assert outsiders(draft.history()) == {"bob"}
