"""What passed the links is told in the contract's words, only for a part whose log does not speak."""

import pytest

from harness import events as ev
from harness.checkers.timeline import place_of
from harness.checkers.wire import testimony as told
from harness.checkers.wire import without_logs
from harness.clock import SECOND_NS
from harness.history import History

USER = "alice@example.com"


def said(at_s, what, name, *, way="to-target", conn=1, stream=1, link="cloud->bridge", **facts):
    return ev.WireSaid(
        t_ns=int(at_s * SECOND_NS), link=link, conn=conn, way=way, what=what, name=name, stream=stream, facts=facts
    )


def line(at_s, component, text):
    return ev.LogLine(t_ns=int(at_s * SECOND_NS), component=component, line=1, text=text)


def run_of(*events):
    begun = ev.RunStarted(
        t_ns=1, scenario="s", seed=0, profile="short", system="reference", epoch_ns=0, timers={"grace_s": 8.0}
    )
    return History.of([begun, *events])


def join(at_s, *, success=True, error="", conn=1, stream=1):
    return (
        said(at_s, "message", "JoinRoomRequest", user=USER, room_name=USER, conn=conn, stream=stream),
        said(at_s + 0.1, "message", "JoinRoomResponse", way="to-dialer", user=USER, success=success, error=error,
             conn=conn, stream=stream),
    )  # fmt: skip


def texts(history, component):
    return [line.text for line in told(history) if line.component == component]


def test_a_refusal_is_told_by_the_wire():
    history = run_of(*join(1), *join(3, success=False, error="session already exists for this user", stream=3))
    assert any("session already exists" in text for text in texts(history, "bridge"))
    assert any(text.startswith("JoinRoom returned failure") for text in texts(history, "cloud"))
    assert {place_of(one) for one in told(history)} == {"wire cloud->bridge #1"}


def test_a_join_beside_a_session_is_a_replacement_and_a_first_one_is_none():
    first, second = join(1), join(3, stream=3)
    assert not any("Replacing" in text for text in texts(run_of(*first), "bridge"))
    assert any("Replacing" in text for text in texts(run_of(*first, *second), "bridge"))


@pytest.mark.parametrize(
    "between",
    [
        said(2, "message", "LeaveRoomResponse", way="to-dialer", user=USER, success=True),
        ev.ComponentStarted(t_ns=2 * SECOND_NS, component="bridge", identity="2"),
        ev.Gate(t_ns=2 * SECOND_NS, user=USER, outcome="none", promised=False, detail=""),
    ],
    ids=["left", "bridge restarted", "gate saw none"],
)
def test_a_session_that_is_gone_is_not_replaced(between):
    assert not any("Replacing" in text for text in texts(run_of(*join(1), between, *join(3, stream=3)), "bridge"))


def test_a_zombie_that_the_gate_saw_is_replaced():
    gate = ev.Gate(t_ns=SECOND_NS // 2, user=USER, outcome="zombie", promised=True, detail="")
    assert any("Replacing" in text for text in texts(run_of(gate, *join(1)), "bridge"))


def test_streams_that_end_are_told_by_who_ended_them():
    opened = (*join(1), said(1.2, "request", "StreamAudio", stream=3))
    by_bridge = said(2, "status", "StreamAudio", way="to-dialer", stream=3, code="OK")
    broke = said(2, "status", "StreamAudio", way="to-dialer", stream=3, code="UNAVAILABLE", message="gone")
    by_cloud = said(2, "status", "StreamAudio", way="to-target", stream=3, code="CANCELLED")
    assert "Audio stream ended" in texts(run_of(*opened, by_bridge), "cloud")
    assert any(text.startswith("Audio stream error: UNAVAILABLE") for text in texts(run_of(*opened, broke), "cloud"))
    assert not any("Audio stream e" in text for text in texts(run_of(*opened, by_cloud), "cloud"))


def test_a_connection_that_ends_under_a_stream_is_an_error_of_it():
    opened = (*join(1), said(1.2, "request", "StreamAudio", stream=3))

    def closed(how, first):
        return ev.LinkClosed(
            t_ns=2 * SECOND_NS, link="cloud->bridge", conn=1, how=how, first=first, to_target_bytes=0, to_dialer_bytes=0
        )

    assert any("the connection ended" in text for text in texts(run_of(*opened, closed("reset", "target")), "cloud"))
    assert not any("connection ended" in text for text in texts(run_of(*opened, closed("reset", "dialer")), "cloud"))
    assert not any("connection ended" in text for text in texts(run_of(*opened, closed("vanished", "link")), "cloud"))


def test_an_agent_that_is_told_to_leave_is_out_of_its_room():
    link = {"link": "bridge->livekit", "stream": 0, "way": "to-dialer"}
    history = run_of(
        said(1, "message", "join", **link, identity=f"cloud-agent:{USER}"),
        said(2, "message", "leave", **link, reason="DUPLICATE_IDENTITY"),
    )
    assert texts(history, "bridge") == [f"Disconnected from LiveKit room: userId={USER} (DUPLICATE_IDENTITY)"]


def dials(at_s, conn, user=USER):
    return said(at_s, "request", "GET /glasses-ws", conn=conn, link="phone->cloud", upgrade="websocket", user=user)


def closed(at_s, conn, link="phone->cloud"):
    return ev.LinkClosed(
        t_ns=int(at_s * SECOND_NS),
        link=link,
        conn=conn,
        how="fin",
        first="dialer",
        to_target_bytes=0,
        to_dialer_bytes=0,
    )


def told_missing(*events):
    return sum("GetStatus threw" in text for text in texts(run_of(*events), "cloud"))


@pytest.mark.parametrize(("asked", "within_grace", "expected"), [(False, True, 1), (True, True, 0), (False, False, 0)])
def test_a_cloud_that_never_asks_for_the_status_of_a_phone_that_came_back(asked, within_grace, expected):
    back_s = 4 if within_grace else 12
    events = [
        dials(0.5, 1), *join(1), closed(2, 1), dials(back_s, 2), *join(back_s + 0.1, stream=5),
        ev.PhoneMessage(t_ns=int((back_s + 0.3) * SECOND_NS), person="alice", type="connection_ack", body="{}"),
    ]  # fmt: skip
    if asked:
        events.append(said(back_s + 0.05, "message", "BridgeStatusRequest", stream=7, user=USER))
    assert told_missing(*events) == expected


def test_the_grace_is_told_by_the_clouds_side_as_a_sleeping_phone_sees_its_socket_end_only_on_waking():
    given_up = said(2, "close", "1001", way="to-dialer", link="phone->cloud")
    woke = ev.PhoneSocketClosed(t_ns=12 * SECOND_NS, person="alice", code=1001, reason="", by="cloud")
    assert (
        told_missing(dials(0.5, 1), *join(1), given_up, woke, closed(12, 1), dials(13, 2), *join(13.1, stream=5)) == 0
    )


@pytest.mark.parametrize(("user", "expected"), [(USER, 1), ("bob@example.com", 0)])
def test_the_join_of_another_is_no_return(user, expected):
    joins = said(4.1, "message", "JoinRoomRequest", user=user, conn=9)
    assert told_missing(dials(0.5, 1), *join(1), closed(2, 1), dials(4, 2), joins) == expected


def test_the_status_of_another_is_not_ones_own():
    others = said(4.05, "message", "BridgeStatusRequest", stream=7, user="bob@example.com")
    events = dials(0.5, 1), *join(1), closed(2, 1), dials(4, 2), others, *join(4.1, stream=5)
    assert told_missing(*events) == 1


def test_a_cloud_that_broke_its_own_stream_leaves_no_session_to_replace():
    opened = (
        *join(1),
        said(1.2, "request", "StreamAudio", stream=3),
        said(1.3, "message", "AudioChunk", stream=3, user=USER),
    )
    given_up = said(2, "status", "StreamAudio", stream=3, code="CANCELLED", reset="CANCEL")
    told_by = texts(run_of(*opened, given_up, closed(2.1, 1, "cloud->bridge"), *join(3, conn=2)), "bridge")
    assert not any("Replacing" in text for text in told_by)


def test_a_session_is_replaced_when_it_was_there_as_the_join_came():
    opened = (*join(1), said(1.2, "request", "StreamAudio", stream=3, user=USER))
    asked, answered = join(3, conn=2)
    ended = said(3.05, "status", "StreamAudio", way="to-dialer", stream=3, code="OK")
    assert any("Replacing" in text for text in texts(run_of(*opened, asked, ended, answered), "bridge"))


def test_the_end_of_an_old_stream_ends_no_newer_session():
    opened = (*join(1), said(1.2, "request", "StreamAudio", stream=3, user=USER))
    ended = said(4, "status", "StreamAudio", way="to-dialer", stream=3, code="OK")
    told_by = texts(run_of(*opened, *join(3, conn=2), ended, *join(5, conn=3)), "bridge")
    assert sum("Replacing" in text for text in told_by) == 2


def test_a_log_that_speaks_is_believed_alone_and_a_mute_one_is_filled_up():
    speaks = line(1, "cloud", "DEBUG Calling JoinRoom RPC")
    foreign = line(1, "bridge", "joining alice")
    history = run_of(*join(1), speaks, foreign)
    assert texts(history, "cloud") == [speaks.text]
    assert foreign.text in texts(history, "bridge")
    assert any("Successfully joined room" in text for text in texts(history, "bridge"))


def test_without_logs_nothing_is_left_of_what_bridge_and_cloud_wrote():
    history = run_of(line(1, "cloud", "x"), line(1, "bridge", "y"), line(1, "livekit", "panic: z"))
    assert [e.component for e in without_logs(history).all(ev.LogLine)] == ["livekit"]
