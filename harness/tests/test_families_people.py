"""Whose doing it was: families tell people apart, and evidence from what only looks like it."""

import msgspec
import numpy as np
import pytest

from harness import events as ev
from harness.checkers import Evidence, Outcome, Verdict, judge
from harness.checkers.families_room import session_never_disposed
from harness.checkers.people import is_user, same_user, user_in
from harness.checkers.scene import Scene
from harness.frames import Hop
from harness.history import History
from harness.tests.histories import ack, at, green, log
from harness.tests.test_families_room import broken, incidents, signal
from harness.tests.test_half_open import shut

OTHERS = ack(8.8, "bob")


def bridge(t_s, what, name, way="to-target", **facts):
    said = ev.WireSaid(link="cloud->bridge", conn=1, way=way, what=what, name=name, stream=1, facts=facts)
    return at(t_s, said, "links")


def test_a_person_is_who_the_phone_says_and_else_who_the_user_is_called_after():
    assert is_user(green().history(), "alice", "alice@x")
    assert not is_user(green().history(), "alice", "bob@x")
    dialing = at(1, ev.PhoneDialing(person="tablet", attempt=1, user="alice@x"))
    assert is_user(green().add(dialing).history(), "tablet", "alice@x")
    assert not is_user(green().add(dialing).history(), "tablet", "tablet@x")
    assert same_user("", "bob@x")
    assert user_in("Successfully joined room: userId=alice@x, room=r") == "alice@x"


@pytest.mark.parametrize("joined_before", [False, True])
def test_a_kick_is_made_good_only_by_a_join_of_the_same_user(joined_before):
    draft = broken("cloud-in").add(signal(8.7, "leave", reason="PARTICIPANT_REMOVED"))
    if joined_before:
        draft.add(signal(8.6, "join", identity="cloud-agent:alice@x"))
    draft.add(signal(9, "join", identity="cloud-agent:bob@x"))
    assert incidents(draft)[0] == "kicked-agent-unnoticed"
    draft.add(signal(9.1, "join", identity="cloud-agent:alice@x"))
    assert "kicked-agent-unnoticed" not in incidents(draft)


def test_a_join_that_hangs_is_not_hidden_by_the_ack_of_another():
    draft = green().never_recovers("sfu").drop(ev.Gate)
    draft.drop(ev.PhoneMessage, lambda e: e.t_ns > at(6, ev.Note(text="")).t_ns)
    asked = bridge(8.7, "message", "JoinRoomRequest", user="alice@x")
    assert "join-hang-no-ack" in incidents(draft.add(asked, OTHERS))
    others = msgspec.structs.replace(asked, facts={"user": "bob@x"})
    draft.drop(ev.WireSaid).add(others)
    assert "join-hang-no-ack" not in incidents(draft)


@pytest.mark.parametrize(
    ("reason", "ran_out", "named"),
    [
        ("signalling answered HTTP 401: invalid API key", False, False),
        ("signalling answered HTTP 401", True, True),
        ("signalling answered HTTP 503", True, False),
    ],
)
def test_a_dial_that_was_turned_away_tells_of_age_only_in_words_or_when_the_token_is_known_to_be_over(
    reason, ran_out, named
):
    draft = broken("sfu").add(at(9, ev.RoomDialFailed(person="alice", attempt=1, reason=reason), "phone-1"))
    if ran_out:
        fault = "TokenRunsOut(person='alice', ttl_s=2)"
        draft.add(
            at(6.5, ev.Injecting(number=7, fault=fault, target="alice", blast=("alice",), held=False)),
            at(6.6, ev.Injected(number=7, fault=fault, proof="given")),
        )
    assert ("token-expired-after-sleep" in incidents(draft)) is named
    draft.add(at(9.5, ev.RoomConnected(person="bob", room="bob", attempt=1), "phone-2"))
    assert ("token-expired-after-sleep" in incidents(draft)) is named


@pytest.mark.parametrize(("grace_s", "named"), [(8.0, True), (60.0, False)])
def test_somebody_is_gone_for_good_when_the_grace_of_this_run_is_over(grace_s, named):
    text = "the bridge holds 2 sessions for 1 connected"
    draft = green().add(at(1, ev.PhoneSocketClosed(person="bob", code=1001, reason="done", by="phone"), "phone-2"))
    begun = draft.events.pop(0)
    assert isinstance(begun, ev.RunStarted)
    draft.events.insert(0, msgspec.structs.replace(begun, timers={"grace_s": grace_s}))
    clean = Verdict("clean", Outcome.BROKEN, text, (Evidence(14.0, "bridge", text),))
    assert (session_never_disposed(Scene(draft.history(), {"clean": clean})) is not None) is named


@pytest.mark.parametrize(
    ("events", "named"),
    [
        ([at(15.5, ev.WireSaid(link="phone->cloud", conn=1, way="to-target", what="close", name="1000"))], True),
        ([at(8, ev.PhoneDialing(person="bob", attempt=1)), at(8.1, ev.PhoneSocketOpen(person="bob", attempt=1))], True),
        ([at(8, ev.PhoneDialing(person="alice", attempt=2))], False),
    ],
    ids=["the rig, at the end", "somebody else", "this phone"],
)
def test_only_an_end_of_this_phones_socket_within_the_story_is_one(events, named):
    assert ("phone-half-open" in incidents(shut().add(*events))) is named


@pytest.mark.parametrize(
    ("before", "said", "named"),
    [
        ([], "", False),
        ([bridge(5, "message", "JoinRoomResponse", "to-dialer", user="bob@x", success=True)], "", False),
        ([bridge(5, "message", "JoinRoomResponse", "to-dialer", user="alice@x", success=True)], "", True),
        (
            [bridge(5, "message", "JoinRoomResponse", "to-dialer", user="alice@x", success=True)],
            "panic: runtime error: invalid memory address or nil pointer dereference", False,
        ),
    ],
    ids=["nobody's", "another's", "its own", "another panic"],
)  # fmt: skip
def test_a_panic_at_a_join_is_one_of_a_session_that_was_there(before, said, named):
    gone = at(10, ev.ComponentExited(component="bridge", identity="7", exit_text="exited 2", by_us=False))
    draft = broken("cloud-in").add(*before, bridge(9.8, "message", "JoinRoomRequest", user="alice@x"), gone)
    if said:
        draft.add(log(10, "bridge", said))
    assert ("bridge-panic-closed-channel" in incidents(draft)) is named


@pytest.mark.parametrize(
    ("user", "chunks", "t_s", "named"),
    [("alice@x", 200, 10, True), ("zoe@x", 200, 10, False), ("alice@x", 1, 10, False), ("alice@x", 200, 6.0, False)],
    ids=["hers", "another's", "too little", "before the loss"],
)
def test_a_second_stream_took_what_was_lost_of_its_user_while_it_was_open(user, chunks, t_s, named):
    stream = ev.ForeignStream(user=user, outcome="accepted", chunks=chunks, detail="broken off")
    assert ("two-streams-split-audio" in incidents(broken("cloud-in").add(at(t_s, stream)))) is named


def test_a_silence_behind_a_bridge_that_was_heard_is_not_the_bridges():
    draft = broken("cloud-in").add(
        log(8.66, "cloud", "Audio stream started"), log(8.9, "cloud", "Audio stream ended"),
        log(8.66, "bridge", "Disconnected from LiveKit room: alice"),
    )  # fmt: skip
    assert {"stream-end-not-retried", "kicked-agent-unnoticed"} <= set(incidents(draft))
    history = draft.history()
    heard = history.at_hop(Hop.SFU).copy()
    heard["hop"] = int(Hop.BRIDGE_OUT)
    more = History.of(history.events, np.concatenate((history.frames, heard)))
    named = {d.incident for d in judge(more).diagnosis}
    assert not {"stream-end-not-retried", "kicked-agent-unnoticed", "zombie-first-connect"} & named
