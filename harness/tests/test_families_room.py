"""Who is in the room: each family names its incident from the wire or from a log, and not when something else fits."""

import pytest

from harness import events as ev
from harness.checkers import Evidence, Outcome, Verdict, judge
from harness.checkers.families_room import session_never_disposed
from harness.checkers.scene import Scene
from harness.tests.histories import at, green, log

REFUSED = '{"message":"Session already exists for user","error":"session already exists for this user"}'


def broken(hop):
    draft = green().never_recovers(hop)
    draft = draft.drop(ev.LogLine) if draft.history().all(ev.LogLine) else draft
    return draft.drop(ev.Gate).add(at(7, ev.Gate(user="alice@x", outcome="none", promised=False, detail="")))


def signal(t_s, name, link="bridge->livekit", **facts):
    said = ev.WireSaid(link=link, conn=1, way="to-dialer", what="message", name=name, facts=dict(facts))
    return at(t_s, said, "links")


def incidents(draft):
    return [d.incident for d in judge(draft.history()).diagnosis]


@pytest.mark.parametrize("reason", ["DUPLICATE_IDENTITY", "PARTICIPANT_REMOVED", "ROOM_DELETED"])
def test_an_agent_put_out_and_never_back_is_read_off_the_wire(reason):
    draft = broken("cloud-in").add(signal(8.7, "leave", reason=reason))
    assert incidents(draft)[0] == "kicked-agent-unnoticed"
    draft.add(signal(9, "join", identity="cloud-agent:alice@x"))
    assert "kicked-agent-unnoticed" not in incidents(draft)


@pytest.mark.parametrize(
    "event",
    [signal(8.7, "leave", reason="SERVER_SHUTDOWN"), signal(8.7, "leave", "phone->livekit", reason="ROOM_DELETED")],
    ids=["the server went", "the phone"],
)
def test_who_was_not_put_out_was_not_kicked(event):
    assert "kicked-agent-unnoticed" not in incidents(broken("cloud-in").add(event))


@pytest.mark.parametrize(("back_s", "named"), [(9.5, True), (8.5, False)])
def test_a_kick_while_the_phone_was_elsewhere_is_the_other_environments(back_s, named):
    draft = broken("cloud-in").drop(ev.PhoneSocketOpen).add(
        at(0.4, ev.PhoneSocketOpen(person="alice", attempt=1), "phone-1"),
        at(8, ev.PhoneSocketClosed(person="alice", code=1001, reason="away", by="phone"), "phone-1"),
        at(back_s, ev.PhoneSocketOpen(person="alice", attempt=2), "phone-1"),
        signal(9, "leave", reason="DUPLICATE_IDENTITY"),
    )  # fmt: skip
    found = incidents(draft)[0]
    assert found == ("agent-kicked-by-other-environment" if named else "kicked-agent-unnoticed")


@pytest.mark.parametrize(("kicked", "named"), [(True, True), (False, False)])
def test_a_refusal_behind_a_kick_is_the_session_that_stayed(kicked, named):
    draft = broken("cloud-in").add(log(9.2, "bridge", REFUSED, 9))
    if kicked:
        draft.add(signal(8.7, "leave", reason="DUPLICATE_IDENTITY"))
    assert (incidents(draft)[0] == "refusal-kicked-stream-open") is named


@pytest.mark.parametrize(
    ("reason", "named"),
    [
        ("signalling answered HTTP 401: invalid token: token is expired (exp)", True),
        ("signalling: ConnectionRefusedError", False),
    ],
)
def test_a_token_that_ran_out(reason, named):
    failed = at(9, ev.RoomDialFailed(person="alice", attempt=1, reason=reason), "phone-1")
    assert (incidents(broken("sfu").add(failed))[0] == "token-expired-after-sleep") is named


@pytest.mark.parametrize(
    ("text", "gone_s", "named"),
    [
        ("the bridge holds 2 sessions for 1 connected", 1, True),
        ("the bridge holds 2 sessions for 1 connected", 14, False),
        ("the bridge holds 0 sessions for 1 connected", 1, False),
    ],
    ids=["long gone", "just gone", "too few"],
)
def test_a_session_that_nobody_ended(text, gone_s, named):
    closed = at(gone_s, ev.PhoneSocketClosed(person="bob", code=1001, reason="done", by="phone"), "phone-2")
    clean = Verdict("clean", Outcome.BROKEN, text, (Evidence(14.0, "bridge", text),))
    found = session_never_disposed(Scene(green().add(closed).history(), {"clean": clean}))
    assert (found is not None) is named


@pytest.mark.parametrize(("user", "named"), [("alice@x", True), ("bob@x", False)])
def test_a_grace_that_ran_out_is_an_old_sockets_only_for_the_person_it_names(user, named):
    draft = broken("cloud-in").add(
        *(at(0.2, ev.PhoneDialing(person=who, attempt=1, user=f"{who}@x"), "phone-1") for who in ("alice", "bob")),
        at(8.7, ev.PhoneSocketOpen(person="alice", attempt=3), "phone-1"),
        log(13, "cloud", f"Cleanup grace period expired for user session: {user}"),
    )
    assert ("old-close-disposes-live-session" in incidents(draft)) is named


@pytest.mark.parametrize(("again", "named"), [(False, True), (True, False)])
def test_a_slow_join_that_was_given_up_and_not_tried_again(again, named):
    facts: dict[str, str | int | float | bool] = {"user": "alice@x", "code": "CANCELLED", "replies": 0, "took_ms": 5000}
    said = ev.WireSaid(link="cloud->bridge", conn=1, way="to-target", what="status", name="JoinRoom", facts=facts)
    draft = broken("cloud-in").add(at(9, said, "links"))
    if again:
        draft.add(log(9.5, "cloud", "Calling JoinRoom RPC"))
    assert ("sfu-down-at-join" in incidents(draft)) is named
