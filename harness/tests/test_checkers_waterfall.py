"""The recovery waterfall, by hand-made histories."""

import json

import pytest

from harness import events as ev
from harness import report
from harness.checkers import judge
from harness.checkers.waterfall import DONE, KEPT, MISSED
from harness.tests.histories import at, green, log, neighbours, ns


def recovery(draft):
    """Return the recovery of a draft, and its steps by name."""
    found = judge(draft.history()).recovery
    return found, {s.name: s for s in found.steps}


def test_every_step_has_its_time_and_duration():
    found, steps = recovery(green().add(at(8.9, ev.RoomConnected(person="alice", room="alice@x", attempt=2))))
    order = ["landed", "noticed", "socket", "ack", "room", "sfu", "bridge-out", "cloud-in", "stt-in", "stt-out"]
    assert [s.name for s in found.steps] == [*order, "app-in"]
    assert {n: s.state for n, s in steps.items() if n != "bridge-out"} == dict.fromkeys(
        steps.keys() - {"bridge-out"}, DONE
    )
    assert steps["bridge-out"].state == "not observed"
    assert steps["socket"].took_s == pytest.approx(2.48)
    assert steps["ack"].took_s == pytest.approx(0.1)
    assert steps["room"].took_s == pytest.approx(0.2)
    assert found.longest == "socket"
    assert any(line.startswith("longest           2.480 s  socket") for line in found.lines)


def test_who_noticed_first_and_how():
    _, steps = recovery(green())
    assert steps["noticed"].t_s == pytest.approx(6.12)
    assert steps["noticed"].how == "alice's phone: socket closed 1006"


@pytest.mark.parametrize(
    ("event", "how"),
    [
        (log(6.3, "cloud", "ERROR Audio stream error {}", 7), "cloud logged “Audio stream error” (logs/cloud.log:7)"),
        (
            log(6.3, "bridge", "StreamAudio error for userId=a", 8),
            "bridge logged “StreamAudio error” (logs/bridge.log:8)",
        ),
        (
            at(6.3, ev.HealthRead(component="bridge", answered=False, says_fine=False, answer="")),
            "health of bridge: no answer",
        ),
        (at(6.3, ev.RoomLost(person="alice", reason="signal")), "alice's phone: room lost (signal)"),
        (
            at(6.3, ev.PhoneMessage(person="alice", type="audio_status", body='{"status":"unavailable"}')),
            "alice's phone was told: audio unavailable",
        ),
    ],
)
def test_many_may_notice(event, how):
    draft = green().drop(ev.PhoneSocketClosed).add(event)
    _, steps = recovery(draft)
    assert steps["noticed"].how == how
    assert steps["noticed"].t_s == pytest.approx(6.3)


def test_nobody_noticed():
    found, steps = recovery(green().drop(ev.PhoneSocketClosed))
    assert (steps["socket"].since, steps["ack"].since) == ("landed", "socket")
    assert steps["noticed"].state == MISSED
    assert "noticed                 by nobody" in found.lines


def test_the_phone_that_was_hit_notices_nothing_new():
    """Its own socket is the fault: that it is closed is no notice."""
    _, steps = recovery(neighbours())
    assert steps["noticed"].state == MISSED


def test_what_was_never_lost_is_kept():
    draft = green().drop(ev.PhoneSocketClosed)
    for kind in (ev.PhoneDialing, ev.PhoneSocketOpen, ev.PhoneMessage):
        draft.drop(kind, lambda e: e.t_ns > ns(6))
    found, steps = recovery(draft)
    assert [steps[n].state for n in ("socket", "ack", "room")] == [KEPT] * 3
    assert "socket                  kept" in found.lines
    assert steps["app-in"].source == "cloud restart to captions 5 to 10 s"


def test_a_socket_that_never_opens_again_is_missed():
    draft = green().never_recovers()
    draft.drop(ev.PhoneSocketOpen, lambda e: e.t_ns > ns(6)).drop(ev.PhoneMessage, lambda e: e.t_ns > ns(6))
    found, steps = recovery(draft)
    assert [steps[n].state for n in ("socket", "ack")] == [MISSED] * 2
    assert found.longest == "socket"
    assert "longest                 socket: it never came" in found.lines


def test_without_captions_the_first_silent_hop_is_the_longest():
    found, _ = recovery(green().never_recovers("stt-in"))
    assert found.longest == "stt-in"


def test_a_step_beyond_its_budget_says_so():
    draft = green().drop(ev.PhoneMessage, lambda e: e.t_ns > ns(6))
    body = json.dumps({"type": "connection_ack"})
    draft.add(at(10.9, ev.PhoneMessage(person="alice", type="connection_ack", body=body), "phone-alice-1"))
    draft.silent = {"cloud-in": [(6.0, 11.0)]}
    found, steps = recovery(draft)
    assert steps["ack"].over
    assert any("2.30 of 2 s since socket (p) OVER" in line for line in found.lines)


def test_a_first_connection_has_a_waterfall_too():
    found, steps = recovery(green().without_fault())
    assert (found.steps[0].name, found.steps[0].since) == ("socket", "dialed")
    assert steps["socket"].took_s == pytest.approx(0.05)
    assert steps["app-in"].measured_s == pytest.approx(1.98, abs=0.05)


def test_steps_stand_in_the_json():
    summary = json.loads(report.summary_json(judge(green().history())))["recovery"]
    assert summary["longest"] == "socket"
    assert summary["steps"][1]["name"] == "noticed"
    assert summary["steps"][2]["budget_s"] == 5


def test_of_two_separate_faults_the_later_one_is_told():
    """The first was recovered from: its landing, its heal and its outage are not those of the second."""
    earlier = (
        at(3.0, ev.Injecting(number=9, fault="Pause(bridge)", target="bridge", blast=("bridge",), held=True)),
        at(3.1, ev.Injected(number=9, fault="Pause(bridge)", proof="stopped")),
        at(3.4, ev.Healed(number=9, fault="Pause(bridge)", proof="goes on")),
        at(3.5, ev.Anchor(person="alice", name="heal", moment_ns=ns(3.4))),
        at(5.0, ev.SteadyAgain(person="alice", moment_ns=ns(4.9))),
    )
    alone, _ = recovery(green())
    found, steps = recovery(green().add(*earlier))
    assert (found.times, found.steps) == (alone.times, alone.steps)
    assert steps["landed"].how == "Vanish(cloud)"
    assert any("Pause(bridge)" in line for line in found.lines)


def test_a_fault_after_the_recovery_is_not_its_fault():
    """The slowest recovery is told, though somebody else was hit later."""
    alone, _ = recovery(green())
    later = (
        at(13.0, ev.Injecting(number=9, fault="Pause(bridge)", target="bridge", blast=("bridge",), held=True)),
        at(13.1, ev.Injected(number=9, fault="Pause(bridge)", proof="stopped")),
        at(13.4, ev.Healed(number=9, fault="Pause(bridge)", proof="goes on")),
    )
    assert recovery(green().add(*later))[0].times == alone.times


def test_captions_that_flowed_in_spite_of_a_held_fault_are_no_outage():
    draft = green().drop(ev.Injecting).drop(ev.Injected)
    found, _ = recovery(draft.add(
        at(3.0, ev.Injecting(number=1, fault="Cut(x)", target="x", blast=("cloud",), held=True)),
        at(3.1, ev.Injected(number=1, fault="Cut(x)", proof="cut")),
        at(5.0, ev.SteadyAgain(person="alice", moment_ns=ns(4.9))),
        at(6.05, ev.Healed(number=1, fault="Cut(x)", proof="whole")),
    ))  # fmt: skip
    assert found.times["injected_s"] == 3.1
    assert found.times["last_good_s"] > 5.0
