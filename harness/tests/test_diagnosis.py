"""Each family names its incident from the evidence it needs, and nothing is named in a green run."""

import json
import re

import msgspec
import pytest

from harness import events as ev
from harness.checkers import INCIDENTS, Evidence, Outcome, Verdict, judge, resumes
from harness.checkers.families_bridge import bridge_session_leak
from harness.checkers.hearing import Hearing, first_silent_hop, hop_states
from harness.checkers.scene import Scene
from harness.frames import Flag, Hop
from harness.reference.defects import DEFECTS
from harness.settings import PROJECT_ROOT
from harness.tests.histories import ALICE, Draft, at, audio_status, green, log, ns

REFUSED = '{"message":"Session already exists for user","error":"session already exists for this user"}'


def broken(hop: str = "cloud-in") -> Draft:
    draft = green().never_recovers(hop)
    return draft.drop(ev.LogLine) if draft.history().all(ev.LogLine) else draft


def incidents(draft: Draft) -> list[str]:
    return [d.incident for d in judge(draft.history()).diagnosis]


def without_zombie(draft: Draft) -> Draft:
    return draft.drop(ev.Gate).add(at(7, ev.Gate(user="alice@x", outcome="none", promised=False, detail="")))


def test_green_run_has_no_diagnosis_and_no_finding():
    judgement = judge(green().history())
    assert judgement.diagnosis == ()
    assert judgement.findings == ()


def test_zombie_first_connect_by_refusal():
    found = judge(broken().add(log(8.66, "bridge", REFUSED, 9)).history()).diagnosis
    assert found[0].incident == "zombie-first-connect"
    assert "fresh cloud's first JoinRoom was refused" in found[0].because
    assert "logs/bridge.log:9" in {e.where for e in found[0].evidence}


def test_zombie_first_connect_by_gate_alone():
    assert incidents(broken())[0] == "zombie-first-connect"


def test_refusal_on_a_reconnection_is_another_incident():
    draft = broken().add(log(8.62, "cloud", "Reconnect: bridge status"), log(8.66, "bridge", REFUSED, 9))
    assert incidents(draft)[0] == "join-refused-existing-session"


def test_cloud_that_had_joined_before_is_not_fresh():
    draft = broken().add(log(8.62, "cloud", "Joined LiveKit room"), log(8.66, "bridge", REFUSED, 9))
    assert incidents(draft)[0] == "join-refused-existing-session"


def test_ack_hides_audio_failure_comes_second():
    draft = broken().add(log(8.66, "bridge", REFUSED), log(8.67, "cloud", "JoinRoom returned failure"))
    assert incidents(draft)[:2] == ["zombie-first-connect", "ack-hides-audio-failure"]
    assert "ack-hides-audio-failure" not in incidents(draft.add(audio_status(8.9, "unavailable")))


def test_getstatus_missing_is_secondary_when_broken_and_a_finding_when_green():
    line = log(8.62, "cloud", 'GetStatus threw {"error":"this.client.getStatus is not a function"}', 7)
    assert incidents(broken().add(line))[-1] == "getstatus-missing"
    judgement = judge(green().add(line).history())
    assert judgement.diagnosis == ()
    assert [d.incident for d in judgement.findings] == ["getstatus-missing"]


CASES = [
    ("sfu-down-at-join", "cloud-in", [log(8.66, "cloud", "JoinRoom returned failure failed to connect to room")]),
    ("bridge-restart-slower-than-retry", "cloud-in", [log(8.66, "cloud", "Reconnection failed")]),
    ("kicked-agent-unnoticed", "cloud-in", [log(8.66, "bridge", "Disconnected from LiveKit room: alice")]),
    (
        "agent-kicked-by-other-environment", "cloud-in",
        [
            log(8.66, "bridge", "Disconnected from LiveKit room: alice"),
            at(0.2, ev.ComponentStarted(component="bridge-staging", identity="pid 20")),
        ],
    ),
    ("silent-audio-gap", "cloud-in", []),
    ("stt-close-not-recreated", "stt-in", [at(8.5, ev.SttClosed(conn=1, code=1006, by="stt", reason=""), "ears")]),
    ("app-runs-but-deaf", "app-in", []),
    ("phone-fails-room-rejoin", "sfu", []),
    ("unnamed", "stt-out", []),
    ("bridge-panic-closed-channel", "cloud-in", [log(8.66, "bridge", "panic: send on closed channel")]),
]  # fmt: skip


CASES += [
    (
        "stream-end-not-retried", "cloud-in",
        [log(8.66, "cloud", "Audio stream started"), log(8.9, "cloud", "Audio stream ended")],
    ),
    (
        "orphan-client-ping-pong", "cloud-in",
        [
            *(log(8.6 + n / 10, "cloud", "gRPC client initialized") for n in range(2)),
            *(log(9 + n, "bridge", "JoinRoom request: userId=alice@x, room=alice@x") for n in range(5)),
            *(log(9.5 + n, "cloud", "Audio stream ended") for n in range(4)),
            *(log(9.6 + n, "cloud", "Attempting to reconnect after stream error") for n in range(4)),
        ],
    ),
    (
        "old-close-disposes-live-session", "cloud-in",
        [
            at(8.7, ev.PhoneSocketOpen(person="alice", attempt=3), "phone-1"),
            log(13, "cloud", "Cleanup grace period expired for user session: alice@x"),
        ],
    ),
    ("stt-down-at-subscribe", "stt-in", [at(8.5, ev.LinkRefused(link="cloud->stt", reason="refused"), "links")]),
]  # fmt: skip


@pytest.mark.parametrize(("incident", "hop", "events"), CASES, ids=[c[0] for c in CASES])
def test_family(incident, hop, events):
    draft = without_zombie(broken(hop)).add(*events)
    if incident == "stt-down-at-subscribe":
        draft.drop(ev.SttOpened)
    assert incidents(draft)[0] == incident


def test_phone_without_a_room():
    draft = without_zombie(broken("sfu"))
    draft.flags = [(Hop.PHONE_OUT, 6.2, 99.0, Flag.NO_ROOM)]
    found = judge(draft.history()).diagnosis[0]
    assert found.incident == "phone-fails-room-rejoin"
    assert "phone-out silent (no room)" in found.evidence[-1].text


def test_microphone_that_stayed_off():
    draft = without_zombie(broken("sfu"))
    draft.flags = [(Hop.PHONE_OUT, 6.2, 99.0, Flag.MIC_OFF)]
    assert incidents(draft)[0] == "mic-state-lost-while-away"


def test_app_that_was_not_called_again():
    draft = without_zombie(broken("stt-in")).drop(ev.AppWebhook).drop(ev.EarHearing).drop(ev.ComponentStarted)
    draft.silent["cloud-in"] = [(6.0, 99.0)]
    assert incidents(draft)[0] == "apps-not-restarted-on-reconnect"


def test_swapped_bytes():
    draft = green()
    draft.flags = [(Hop.CLOUD_IN, 3.0, 4.0, Flag.SWAPPED)]
    assert incidents(draft)[0] == "pcm-byte-order"


def test_keepalives_as_health():
    draft = without_zombie(broken())
    draft.add(at(10, ev.SttKeepalive(conn=1), "ears"))
    assert "stt-keepalive-false-health" not in incidents(draft)
    draft.add(at(10, ev.HealthRead(component="cloud", answered=True, says_fine=True, answer=json.dumps({"ok": 1}))))
    assert "stt-keepalive-false-health" in incidents(draft)


def test_first_silent_hop():
    history = green().never_recovers("stt-in").history()
    silent = first_silent_hop(history, ns(8.6))
    assert silent is not None
    assert silent.hop == "stt-in"
    assert first_silent_hop(history, ns(2), speaker=ALICE, until_ns=ns(5)) is None
    assert {s.hop: s.state for s in hop_states(history, ns(8.6))}["bridge-out"] is Hearing.UNOBSERVED


def test_deaf_ear_is_never_blamed():
    draft = green().never_recovers("sfu").add(at(6.2, ev.EarDeaf(hop="sfu", reason="listener reconnects"), "ears"))
    assert {s.hop: s.state for s in hop_states(draft.history(), ns(8.6))}["sfu"] is Hearing.DEAF
    silent = first_silent_hop(draft.history(), ns(8.6))
    assert silent is not None
    assert silent.hop == "cloud-in"


def test_refusal_that_captions_survived_is_a_finding():
    draft = green().add(log(8.66, "bridge", REFUSED))
    assert [d.incident for d in judge(draft.history()).findings] == ["join-refused-existing-session"]


# --- what must not be named ---

NOT_NAMED = [
    ("stream-end-not-retried", [log(8.9, "cloud", "Audio stream ended"), log(9.9, "cloud", "Calling JoinRoom RPC")]),
    ("stream-end-not-retried", [log(8.8, "cloud", "Audio stream ended"), log(8.9, "cloud", "Audio stream error")]),
    ("stream-end-not-retried", [log(14.95, "cloud", "Audio stream ended")]),  # the teardown's doing
    (
        "bridge-restart-slower-than-retry",
        [log(9, "cloud", "Reconnection failed"), log(10, "cloud", "Joined LiveKit room")],
    ),
    ("bridge-restart-slower-than-retry", [log(9, "cloud", "Reconnection failed"), log(9, "bridge", REFUSED)]),
    (
        "bridge-restart-slower-than-retry",
        [
            log(9, "cloud", "Reconnection failed"),
            at(9, ev.ComponentExited(component="bridge", identity="pid 10", exit_text="exited 2", by_us=False)),
        ],
    ),
    (
        "sfu-down-at-join",
        [
            log(8.66, "cloud", "JoinRoom returned failure failed to connect to room"),
            log(9.9, "cloud", "Joined LiveKit room"),
        ],
    ),
    (
        "kicked-agent-unnoticed",
        [
            log(9, "bridge", "Disconnected from LiveKit room: alice"),
            log(9.5, "bridge", "Successfully joined room: userId=alice@x"),
        ],
    ),
    (  # a phone that comes back often has its joins
        "orphan-client-ping-pong",
        [
            *(log(8.6 + n / 10, "cloud", "gRPC client initialized") for n in range(2)),
            *(log(9 + n, "bridge", "JoinRoom request: userId=alice@x, room=alice@x") for n in range(5)),
            *(log(9.5 + n, "cloud", "Audio stream ended") for n in range(4)),
            *(at(8.9 + n, ev.PhoneSocketOpen(person="alice", attempt=3 + n), "phone-1") for n in range(6)),
        ],
    ),
    (  # the phone was away for the whole grace: that is what the grace is for
        "old-close-disposes-live-session",
        [log(8.2, "cloud", "Cleanup grace period expired for user session: alice@x")],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("incident", "events"), NOT_NAMED, ids=[f"{i}-{n}" for n, (i, _) in enumerate(NOT_NAMED)])
def test_an_incident_is_not_named_when_the_evidence_says_otherwise(incident, events):
    assert incident not in incidents(without_zombie(broken()).add(*events))


def test_an_app_that_went_down_is_told_apart_by_whether_its_phone_came_back():
    down = at(10, ev.AppSocketClosed(session="s", code=1006, reason=""), "ears")
    deaf = at(10, ev.EarDeaf(hop="app-in", reason="app socket down"), "ears")
    draft = without_zombie(broken("app-in")).drop(ev.ComponentStarted).add(down, deaf)
    assert incidents(draft)[0] == "app-runs-but-deaf"
    draft.add(at(11, ev.PhoneSocketOpen(person="alice", attempt=3), "phone-1"))
    assert incidents(draft)[0] == "apps-not-restarted-on-reconnect"
    assert "app-runs-but-deaf" not in incidents(draft)
    draft.add(at(11.5, ev.AppWebhook(type="session_request", session="s"), "ears"))
    assert "apps-not-restarted-on-reconnect" not in incidents(draft)


@pytest.mark.parametrize(
    "ended",
    [
        log(9.9, "cloud", "Cleanup grace period expired for user session: alice@x"),
        at(9.9, ev.ComponentStarted(component="cloud", identity="pid 30")),
    ],
    ids=["the grace ran out", "the cloud was started anew"],
)
def test_an_app_that_a_fresh_session_forgot_is_told_apart_by_what_ended_the_one_before(ended):
    draft = without_zombie(broken("app-in")).drop(ev.ComponentStarted).add(
        at(10, ev.AppSocketClosed(session="s", code=1006, reason=""), "ears"),
        at(10, ev.EarDeaf(hop="app-in", reason="app socket down"), "ears"),
        at(9.5, ev.PhoneSocketClosed(person="alice", code=1006, reason="", by="phone"), "phone-1"),
        at(11, ev.PhoneSocketOpen(person="alice", attempt=3), "phone-1"),
    )  # fmt: skip
    assert incidents(draft)[0] == "apps-not-restarted-on-reconnect"
    draft.add(ended)
    assert incidents(draft)[0] == "away-beyond-grace"
    refused = ev.AppSocketClosed(session="s", code=1008, reason="App not started for this session")
    draft.add(at(11.2, refused, "ears"))
    assert incidents(draft)[0] == "away-beyond-grace"
    assert "apps-not-restarted-on-reconnect" not in incidents(draft)
    draft.add(at(11.5, ev.AppWebhook(type="session_request", session="s"), "ears"))
    assert "away-beyond-grace" not in incidents(draft)


@pytest.mark.parametrize(("people", "named"), [(("alice", "tablet", "alice"), True), (("alice", "tablet"), False)])
def test_two_phones_that_kick_each_other_again_and_again(people, named):
    draft = without_zombie(broken())
    reason = "leave DUPLICATE_IDENTITY action DISCONNECT"
    draft.add(*(at(8.7 + n / 2, ev.RoomLost(person=one, reason=reason), "phone-1") for n, one in enumerate(people)))
    assert (incidents(draft)[0] == "concurrent-join-self-kick") is named


@pytest.mark.parametrize(("outcome", "chunks", "named"), [("accepted", 51, True), ("refused", 0, False)])
def test_a_second_stream_that_was_let_in_took_what_is_lacking(outcome, chunks, named):
    draft = without_zombie(broken())
    draft.add(at(10, ev.ForeignStream(user="alice@x", outcome=outcome, chunks=chunks, detail="broken off")))
    assert (incidents(draft)[0] == "two-streams-split-audio") is named


@pytest.mark.parametrize(
    ("exit_text", "by_us", "asked_s", "named"),
    [("exited 2", False, 9.8, True), ("exited 2", False, 7, False), ("exited 2", True, 9.8, False),
     ("exited -11", False, 9.8, False)],
    ids=["panic", "long after", "ours", "another end"],
)  # fmt: skip
def test_a_panic_is_known_without_the_bridges_words(exit_text, by_us, asked_s, named):
    asked = ev.WireSaid(link="cloud->bridge", conn=1, way="to-target", what="request", name="LeaveRoom", stream=3)
    gone = ev.ComponentExited(component="bridge", identity="7", exit_text=exit_text, by_us=by_us)
    draft = without_zombie(broken()).add(at(asked_s, asked), at(10, gone))
    assert ("bridge-panic-closed-channel" in incidents(draft)) is named


@pytest.mark.parametrize(
    ("fault", "target", "healed_s", "named"),
    [
        ("Stall(link='cloud->bridge', way='both')", "cloud->bridge", 12, True),
        ("Pause(component='cloud')", "cloud", 12, True),
        ("Stall(link='cloud->bridge', way='both')", "cloud->bridge", 9.5, False),
        ("Stall(link='cloud->stt', way='both')", "stt", 12, False),
        ("Delay(link='cloud->bridge', ms=5)", "cloud->bridge", 12, False),
    ],
)
def test_a_panic_while_nobody_takes_audio_is_known_without_words(fault, target, healed_s, named):
    gone = ev.ComponentExited(component="bridge", identity="7", exit_text="exited 2", by_us=False)
    held = ev.Injecting(number=9, fault=fault, target=target, blast=(target,), held=True)
    draft = without_zombie(broken()).add(
        at(9, held), at(10, gone), at(healed_s, ev.Healed(number=9, fault=fault, proof=""))
    )
    assert ("bridge-panic-closed-channel" in incidents(draft)) is named


BROKE = ev.ForeignStream(user="alice@x", outcome="unread", chunks=0, detail="broken off by the harness")
ENDED = log(10.1, "cloud", "Audio stream ended")
CLEANED = log(10, "bridge", "Cleaning up session for alice@x due to stream error")
OLD_STREAM = [
    ("what was done", True, [at(10, BROKE), ENDED]),
    ("the bridge's log", True, [log(9.5, "bridge", "Successfully joined room: userId=alice@x"), CLEANED, ENDED]),
    ("of the only stream", False, [CLEANED, ENDED]),
    ("it had been refused", False, [at(10, msgspec.structs.replace(BROKE, outcome="refused")), ENDED]),
    ("the cloud left", False, [at(10, BROKE), log(10.05, "cloud", "Left LiveKit room"), ENDED]),
    ("long before", False, [at(7, BROKE), ENDED]),
]  # fmt: skip


@pytest.mark.parametrize(("named", "events"), [case[1:] for case in OLD_STREAM], ids=[case[0] for case in OLD_STREAM])
def test_the_error_of_an_old_stream_ended_the_new_session(named, events):
    found = incidents(without_zombie(broken()).add(*events))
    assert (found[0] == "old-stream-error-deletes-new-session") is named


def test_every_incident_that_a_family_names_is_in_the_list_and_the_other_way_round():
    source = "".join(path.read_text() for path in (PROJECT_ROOT / "harness" / "checkers").glob("families_*.py"))
    assert set(re.findall(r'Diagnosis\(\s*"([a-z-]+)"', source)) <= INCIDENTS
    assert set(re.findall(r'"([a-z-]+)"', source)) >= INCIDENTS
    assert {defect.incident for defect in DEFECTS.values()} <= INCIDENTS


@pytest.mark.parametrize(
    ("where", "text", "joins", "named"),
    [
        ("bridge", "bridge keeps 1.00 descriptors per cycle (tolerance 0.25): 31, then 52", 20, True),
        ("cloud", "cloud keeps 1.00 descriptors per cycle (tolerance 0.25): 31, then 52", 20, False),
        ("bridge", "the bridge holds 2 sessions for 1 connected", 20, False),
        ("bridge", "bridge keeps 1.00 descriptors per cycle (tolerance 0.25): 31, then 52", 1, False),
    ],
    ids=["grows", "the cloud's", "one left", "one join"],
)  # fmt: skip
def test_a_leak_is_what_the_bridge_keeps_of_each_of_many_joins(where, text, joins, named):
    draft = green().add(*(log(2 + n / 10, "bridge", "Successfully joined room: userId=alice@x") for n in range(joins)))
    clean = Verdict("clean", Outcome.BROKEN, text, (Evidence(14.0, where, text),))
    found = bridge_session_leak(Scene(draft.history(), {"clean": clean}))
    assert (found is not None) is named
    assert found is None or found.incident == "bridge-session-leak"


def test_captions_that_came_too_late_are_looked_into_until_they_were_due():
    draft = without_zombie(green()).drop(ev.LogLine).drop(ev.SteadyAgain).declare(resumes(3))
    draft.flags = [(Hop.PHONE_OUT, 6.0, 11.8, Flag.MIC_OFF)]
    draft.silent = {"sfu": [(6.0, 11.8)]}
    judgement = judge(draft.history())
    assert "flowed again" in judgement.verdicts[0].because
    assert [d.incident for d in judgement.diagnosis] == ["mic-state-lost-while-away"]
