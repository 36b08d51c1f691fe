"""Joins that meet trouble: each family names its incident from the wire alone, and not when the wire says otherwise."""

import pytest

from harness import events as ev
from harness.checkers import judge
from harness.tests.histories import at, green, log

REFUSED = '{"message":"Session already exists for user","error":"session already exists for this user"}'
BRIDGE, LIVEKIT = "cloud->bridge", "bridge->livekit"


def broken(hop="cloud-in"):
    draft = green().never_recovers(hop)
    draft = draft.drop(ev.LogLine) if draft.history().all(ev.LogLine) else draft
    return draft.drop(ev.Gate).add(at(7, ev.Gate(user="alice@x", outcome="none", promised=False, detail="")))


def said(t_s, what, name, link=BRIDGE, conn=1, way="to-target", stream=1, **facts):
    return at(
        t_s, ev.WireSaid(link=link, conn=conn, way=way, what=what, name=name, stream=stream, facts=dict(facts)), "links"
    )


def join(t_s, conn=1, user="alice@x"):
    return said(t_s, "message", "JoinRoomRequest", conn=conn, user=user)


def streams(t_s, conn=1):
    return said(t_s, "request", "StreamAudio", conn=conn, stream=3)


def leaves(t_s, conn=1):
    return said(t_s, "message", "LeaveRoomRequest", conn=conn, stream=5)


def agent(t_s, conn, identity="cloud-agent:alice@x"):
    return said(t_s, "request", "GET /rtc", LIVEKIT, conn, identity=identity)


def put_out(t_s, conn, reason="DUPLICATE_IDENTITY"):
    return said(t_s, "message", "leave", LIVEKIT, conn, "to-dialer", reason=reason)


def first(draft):
    found = judge(draft.history()).diagnosis
    return found[0].incident if found else None


@pytest.mark.parametrize(
    ("wire", "named"),
    [
        ([join(8.7, 1), join(9.5, 2), streams(9.7, 2), streams(10, 1)], True),
        ([join(8.7, 1), join(9.5, 1), streams(10, 1)], False),  # one client
        ([join(8.7, 1), streams(8.8, 1), join(9.5, 2), streams(10, 2)], False),  # one after the other
        ([join(8.7, 1), leaves(9, 1), join(9.5, 2), streams(10, 1)], False),
        ([join(8.7, 1), join(9.5, 2, "bob@x"), streams(10, 1)], False),
    ],
)
def test_two_paths_that_join_at_once(wire, named):
    assert (first(broken().add(*wire)) == "concurrent-join-self-kick") is named


@pytest.mark.parametrize(
    ("wire", "named"),
    [
        ([said(9, "message", "connection_init", "phone->cloud"), join(9.2, 2)], True),
        ([join(8.7, 2), said(9, "message", "connection_init", "phone->cloud"), join(9.2, 2)], False),
        ([said(9, "message", "connection_init", "phone->cloud")], False),
        ([said(9, "message", "connection_init", "phone->cloud"), join(12.5, 2)], False),
        ([said(9, "message", "connection_init", "app->cloud"), join(9.2, 2)], False),
    ],
)
def test_a_connection_init_that_made_a_client_join(wire, named):
    assert (first(broken().add(*wire)) == "duplicate-connection-init") is named


@pytest.mark.parametrize(("asked_s", "named"), [(8.7, True), (13, False)])
def test_an_ack_that_waits_for_a_join(asked_s, named):
    draft = broken()
    draft.events = [
        e for e in draft.events if not (isinstance(e, ev.PhoneMessage) and e.t_ns > at(8, ev.Step(text="")).t_ns)
    ]
    found = [d.incident for d in judge(draft.add(join(asked_s)).history()).diagnosis]
    assert ("join-hang-no-ack" in found) is named


@pytest.mark.parametrize(("asked_s", "named"), [(8.55, True), (8.45, False)], ids=["since its dial", "before"])
def test_a_join_that_began_before_the_phone_knew_its_socket_open(asked_s, named):
    draft = broken()
    draft.events = [
        e for e in draft.events if not (isinstance(e, ev.PhoneMessage) and e.t_ns > at(8, ev.Step(text="")).t_ns)
    ]
    found = [d.incident for d in judge(draft.add(join(asked_s)).history()).diagnosis]
    assert ("join-hang-no-ack" in found) is named


def test_an_ack_in_time_waits_for_nothing():
    found = [d.incident for d in judge(broken().add(join(8.61)).history()).diagnosis]
    assert "join-hang-no-ack" not in found


@pytest.mark.parametrize(
    ("wire", "named"),
    [
        ([agent(8.7, 1), agent(8.9, 2), put_out(9, 1)], True),
        ([agent(8.7, 1), put_out(8.8, 1, "CLIENT_INITIATED"), agent(8.9, 2)], False),  # replaced in good order
        ([agent(8.7, 1), agent(8.9, 2), put_out(9, 1), agent(10, 3)], False),  # somebody came back
        ([agent(8.7, 1), agent(8.9, 2, "cloud-agent:bob@x"), put_out(9, 1)], False),
        ([agent(8.7, 1), put_out(9, 1)], False),
    ],
)
def test_two_agents_of_one_user_at_once(wire, named):
    assert (first(broken().add(*wire)) == "join-not-atomic") is named


@pytest.mark.parametrize(
    ("wire", "named"),
    [
        ([leaves(8.7)], True),
        ([leaves(8.7), said(8.8, "reply", "LeaveRoom", stream=5, way="to-dialer")], False),
        ([leaves(9.4)], False),
    ],
)
def test_a_refusal_behind_a_leave_without_an_answer(wire, named):
    draft = broken().add(*wire, log(9.2, "bridge", REFUSED, 9))
    assert (first(draft) == "refusal-new-client-beside-session") is named
