"""Preconditions, the outcome of a whole run, recovery and checklist."""

import json
import time

import msgspec
import numpy as np
import pytest

from harness import events as ev
from harness.checkers import Outcome, judge
from harness.checkers import judging as judging_module
from harness.frames import FRAME, Flag, Hop
from harness.history import History
from harness.tests.histories import ALICE, EPOCH_S, GUARANTEES, at, green, log, ns


def _lag(ms, seconds, proc="ears"):
    return at(seconds, ev.Lag(lag_ms=ms), proc)


def _gate(outcome):
    gate = ev.Gate(user="alice@x", outcome=outcome, promised=True, detail="")
    return green().drop(ev.Gate).add(at(7, gate))


REQUEST = "JoinRoom request: userId=alice@x, room=alice@x"
SUCCESS = "Successfully joined room: userId=alice@x"


def _join(*lines, before=""):
    """The bridge logs a first join of alice, these lines after the request that follows the gate, and no others."""
    draft = green().drop(ev.LogLine).add(log(1.5, "bridge", REQUEST), log(1.6, "bridge", "Successfully joined room: x"))
    draft.add(*([log(8.0, "bridge", before)] if before else []))
    return draft.add(*(log(8.65 + i / 100, "bridge", text) for i, text in enumerate((REQUEST, *lines))))


def _in_json(draft):
    """Let the log lines be those of a structured logger."""
    draft.events = [
        msgspec.structs.replace(e, text=json.dumps({"level": "INFO", "msg": e.text}))
        if isinstance(e, ev.LogLine)
        else e
        for e in draft.events
    ]
    return draft


def _held(*, healed):
    draft = green().add(
        at(6.2, ev.Injecting(number=2, fault="Pause(phone)", target="phone", blast=(), held=True)),
        at(6.3, ev.Injected(number=2, fault="Pause(phone)", proof="state T", stops=("phone-alice-1",))),
    )
    return draft.add(at(8.3, ev.Healed(number=2, fault="Pause(phone)", proof="state S"))) if healed else draft


def _fault_failed():
    draft = green().drop(ev.Injected)
    return draft.add(at(6.2, ev.FaultFailed(number=1, fault="Vanish(cloud)", reason="pid 11 lives")))


def _address_gone(*, silent):
    draft = green().add(at(4.1, ev.AddressGone(address="172.31.9.1")))
    draft.silent = draft.silent | ({"cloud-in": [(4.0, 4.8), *draft.silent.get("cloud-in", [])]} if silent else {})
    return draft


def _silent_during_the_impact():
    draft = green()
    draft.talks[ALICE] = [(1.9, 6.0), (12.2, 14.0)]
    return draft


@pytest.mark.parametrize(
    ("draft", "word"),
    [
        (green().drop(ev.SteadyReached).add(at(6, ev.SteadyFailed(reason="1 of 2", flowed=True))), "not steady"),
        (green().drop(ev.SteadyReached), "none was recorded"),
        (_fault_failed(), "has no proof: pid 11 lives"),
        (green().drop(ev.Injected), "never proved that it landed"),
        (_held(healed=False), "never healed"),
        (_gate("none"), "no zombie made: the bridge holds no session"),
        (_gate("no-answer"), "no zombie made: the bridge gave no answer"),
        (
            green().add(at(12.3, ev.OursExited(process="ears", exit_text="exited -9"))),
            "ears itself ended at 12.3 s (exited -9)",
        ),
        (_join("Successfully joined room: userId=alice@x"), "the zombie was gone before the new cloud joined"),
        (
            _join("Successfully joined room: userId=alice@x", before="Closing room session for user alice@x"),
            "the zombie was gone before the new cloud joined",
        ),
        (_in_json(_join("Successfully joined room: userId=alice@x")), "the zombie was gone before"),
        (_join("JoinRoom request completed for alice@x in 12 ms", SUCCESS), "the zombie was gone before"),
        (_address_gone(silent=True), "this machine lost the address 172.31.9.1 at 4.1 s"),
        (green().add(_lag(700, 5)), "ears itself was 700 ms late"),
        (green().drop(ev.Declared), "cut short at 15.5 s"),
        (green().drop(ev.RunEnded), "cut short"),
        (green().add(at(5, ev.StoryRaised(error="KeyError: x"))), "the story failed: KeyError: x"),
        (_silent_during_the_impact(), "nobody spoke during the impact"),
        (
            green().add(at(5, ev.ComponentExited(
                component="bridge", identity="pid 10", exit_text="killed: out of memory", by_us=False, machine=True,
            ))),
            "the machine ended bridge",
        ),
    ],
)  # fmt: skip
def test_failed_precondition_makes_the_run_unknown(draft, word):
    judgement = judge(draft.history())
    assert judgement.outcome is Outcome.UNKNOWN
    assert any(word in why for why in judgement.preconditions), judgement.preconditions


def test_an_address_that_carried_no_audio_may_go():
    assert judge(_address_gone(silent=False).history()).preconditions == ()


@pytest.mark.parametrize("seconds", [6.1, 6.2, 6.4])
def test_an_address_lost_beside_a_fault_that_was_recovered_from_takes_nothing_from_it(seconds):
    judgement = judge(green().add(at(seconds, ev.AddressGone(address="172.31.9.1"))).history())
    assert judgement.outcome is Outcome.HOLDS, judgement.preconditions
    assert judgement.preconditions == ()


def test_an_address_lost_with_audio_that_never_came_back_leaves_nothing_to_conclude():
    draft = green().never_recovers().add(at(6.2, ev.AddressGone(address="172.31.9.1")))
    judgement = judge(draft.history())
    assert {v.guarantee for v in judgement.verdicts if v.outcome is Outcome.BROKEN} >= {"resumes", "bounded_loss"}
    assert judgement.outcome is Outcome.UNKNOWN
    assert "lost the address 172.31.9.1 at 6.2 s" in judgement.preconditions[0]


def test_an_address_has_no_say_over_what_no_missing_audio_breaks():
    draft = green().add(at(6.2, ev.AddressGone(address="172.31.9.1")), at(14.9, ev.Leftover(what="process 9")))
    judgement = judge(draft.history())
    assert judgement.outcome is Outcome.BROKEN, judgement.preconditions


@pytest.mark.parametrize(
    "lines",
    [
        ("Closing room session for user alice@x", SUCCESS),
        ('{"message": "Replacing existing bridge session"}', SUCCESS),
        (SUCCESS, '{"message": "Replacing existing bridge session"}'),  # flushed late
        ('{"message": "Session already exists for user"}', REQUEST, SUCCESS),
        (REQUEST, SUCCESS),  # a refusal whose words went elsewhere, and a second try
        ("Successfully joined room: userId=bob@x",),
        (),
    ],
)
def test_zombie_that_the_new_cloud_met_or_may_have_met(lines):
    assert judge(_join(*lines).history()).preconditions == ()


def test_zombie_refused_by_the_clouds_word_alone():
    draft = _join().add(log(8.66, "cloud", "JoinRoom returned failure: session already exists for this user"))
    assert judge(draft.add(log(8.7, "bridge", SUCCESS)).history()).preconditions == ()


def test_join_that_was_read_late_is_not_the_new_clouds():
    draft = green().drop(ev.LogLine).add(log(7.01, "bridge", REQUEST), log(7.02, "bridge", SUCCESS))
    assert judge(draft.history()).outcome is Outcome.UNKNOWN
    draft.add(at(8.5, ev.LinkOpened(link="phone->cloud", conn=2), "links"))
    assert judge(draft.history()).preconditions == ()


def test_bridge_whose_log_is_not_understood_claims_nothing():
    draft = green().drop(ev.LogLine).add(log(8.7, "bridge", "joined alice@x"))
    assert judge(draft.history()).preconditions == ()


@pytest.mark.parametrize(
    ("outcome", "promised", "said"),
    [
        ("zombie", True, "alice: zombie present, as promised"), ("zombie", False, "alice: zombie: present"),
        ("none", False, "alice: zombie: none"), ("no-answer", True, "alice: no answer"),
    ],
)  # fmt: skip
def test_gate_stands_in_the_recovery(outcome, promised, said):
    gate = at(7, ev.Gate(user="alice@x", outcome=outcome, promised=promised, detail=""))
    judgement = judge(green().drop(ev.Gate).add(gate).history())
    assert f"gate              7.000 s  {said}" in judgement.recovery.lines
    assert f"gate  {said}" in [s.text for s in judgement.story.steps]


def test_precondition_outweighs_broken_flow():
    judgement = judge(green().never_recovers().add(_lag(700, 10)).history())
    assert judgement.verdicts[0].outcome is Outcome.BROKEN
    assert judgement.outcome is Outcome.UNKNOWN


def test_damage_counts_in_spite_of_lag():
    draft = green().add(_lag(700, 5))
    draft.flags = [(Hop.CLOUD_IN, 3.0, 4.0, Flag.CORRUPT)]
    assert judge(draft.history()).outcome is Outcome.BROKEN


@pytest.mark.parametrize(
    "draft",
    [
        green().add(_lag(400, 5)),
        green().add(_lag(2000, 0.9)),  # before anything that is judged
        green().add(_lag(700, 15.4)),  # during the teardown
        _held(healed=True).add(_lag(2000, 8.35, "phone-alice-1")),
    ],
)
def test_lag_that_does_not_matter(draft):
    assert judge(draft.history()).preconditions == ()


def test_lag_of_another_process_during_a_pause_matters():
    assert judge(_held(healed=True).add(_lag(2000, 8.35, "ears")).history()).outcome is Outcome.UNKNOWN


def test_gate_of_a_control_promises_nothing():
    draft = green().drop(ev.Gate)
    draft.add(at(7, ev.Gate(user="alice@x", outcome="none", promised=False, detail="")))
    assert judge(draft.history()).outcome is Outcome.HOLDS


def test_machine_fault_is_marked():
    judgement = judge(green().add(at(5, ev.StoryRaised(error="port taken", machine=True))).history())
    assert judgement.machine_fault
    starved = ev.ComponentExited(component="bridge", identity="pid 10", exit_text="x", by_us=False, machine=True)
    assert judge(green().add(at(5, starved)).history()).machine_fault
    assert judgement.outcome is Outcome.UNKNOWN


def test_alive_is_judged_undeclared_and_a_death_stands():
    """A part that dies after it was ready is broken, also when it kept the run from getting steady."""
    draft = green().declare().drop(ev.SteadyReached)
    draft.add(at(5, ev.SteadyFailed(reason="no caption", flowed=True)))
    draft.add(at(4, ev.ComponentExited(component="bridge", identity="pid 10", exit_text="exited 2", by_us=False)))
    assert judge(draft.history()).outcome is Outcome.BROKEN


def test_checker_that_raises_is_unknown(monkeypatch):
    def raises(_history, _params):
        raise ValueError("five is not a hop")

    monkeypatch.setattr(judging_module, "CHECKERS", {**judging_module.CHECKERS, "clean": raises})
    judgement = judge(green().history())
    assert judgement.outcome is Outcome.UNKNOWN
    assert "ValueError: five is not a hop" in judgement.verdicts[-1].because


def test_unknown_guarantee_is_unknown():
    judgement = judge(green().declare(ev.CheckSpec("wonderful")).history())
    assert judgement.outcome is Outcome.UNKNOWN


def test_recovery_times():
    times = judge(green().history()).recovery.times
    assert times["injected_s"] == pytest.approx(6.1)
    assert times["anchor_s"] == pytest.approx(8.6)
    assert times["first_cloud_in_s"] == pytest.approx(9.04, abs=0.03)
    assert times["first_bridge_out_s"] is None
    assert times["anchor_to_recovered_s"] == pytest.approx(1.43)
    assert times["injected_to_recovered_s"] == pytest.approx(3.93)
    assert times["outage_s"] == pytest.approx(4.2)
    assert all(key.endswith("_s") for key in times)


def test_recovery_lines_say_what_was_not_seen():
    lines = "\n".join(judge(green().never_recovers().history()).recovery.lines)
    assert "bridge-out              not observed" in lines
    assert "cloud-in                silent" in lines
    assert "no good caption after the fault" in lines


def test_checklist_only_when_declared():
    assert judge(green().history()).checklist == ()
    answers = judge(green().declare(*GUARANTEES, checklist=True).history()).checklist
    assert [a.answer for a in answers] == ["yes"] * 6, answers


def test_checklist_of_a_refusal():
    draft = green().never_recovers().declare(*GUARANTEES, checklist=True)
    draft.drop(ev.LogLine, lambda e: "Replacing" in e.text)
    draft.add(log(8.7, "bridge", '{"message":"Session already exists for user"}', 9))
    answers = judge(draft.history()).checklist
    assert [a.answer for a in answers] == ["no", "no", "no", "no", "no", "yes"], answers


def test_checklist_without_zombie_or_logs():
    draft = green().declare(*GUARANTEES, checklist=True).drop(ev.LogLine).drop(ev.Gate)
    answers = judge(draft.history()).checklist
    assert [a.answer for a in answers[:3]] == ["not applicable", "not observable", "not applicable"]


def test_replacement_shows_as_a_closed_session_between_join_and_success():
    draft = green().declare(*GUARANTEES, checklist=True).drop(ev.LogLine)
    lines = ("JoinRoom request: userId=a", "Closing room session for user a", "Successfully joined room: userId=a")
    draft.add(*(log(8.7 + i / 100, "bridge", text, i) for i, text in enumerate(lines)))
    assert judge(draft.history()).checklist[2].answer == "yes"


@pytest.mark.parametrize(
    "refused", ["Session already exists for user", "JoinRoom request: refused, session already exists for this user"]
)
def test_session_closed_after_a_refusal_is_no_replacement(refused):
    draft = green().declare(*GUARANTEES, checklist=True).drop(ev.LogLine)
    lines = ("JoinRoom request: userId=a", refused, "Closing room session for user a", "Successfully joined room: a")
    draft.add(*(log(8.7 + i / 100, "bridge", text, i) for i, text in enumerate(lines)))
    assert judge(draft.history()).checklist[2].answer == "no"


def test_what_only_mentions_a_request_is_none():
    draft = green().declare(*GUARANTEES, checklist=True).drop(ev.LogLine)
    lines = (
        "JoinRoom request: userId=a", "Successfully joined room: userId=a", "JoinRoom request completed in 12 ms",
        "Closing room session for user a", "Successfully joined room: userId=a",
    )  # fmt: skip
    draft.add(*(log(8.7 + i / 100, "bridge", text, i) for i, text in enumerate(lines)))
    assert judge(draft.history()).checklist[2].answer == "no"


def test_every_truncation_is_judged():
    """A run cut off anywhere after its first event is UNKNOWN or BROKEN, never a pass and never an exception."""
    whole = green().history()
    for count in range(1, len(whole.events) - 1):
        end_ns = whole.events[count - 1].t_ns
        cut = History.of(whole.events[:count], whole.frames[whole.frames["t_ns"] <= end_ns])
        assert judge(cut).outcome is not Outcome.HOLDS


def test_judging_is_fast():
    """10^5 frames in less than a second (the budget of one run; measured about a tenth of it)."""
    draft = green()
    index = np.arange(70, 25_000, dtype=np.uint32)
    rows = np.zeros(len(index) * 4, FRAME)
    for n, hop in enumerate((Hop.PHONE_OUT, Hop.SFU, Hop.CLOUD_IN, Hop.STT_IN)):
        part = rows[n * len(index) : (n + 1) * len(index)]
        part["t_ns"] = ns(EPOCH_S) + (index.astype(np.int64) + 1 + n) * 20_000_000
        part["index"], part["speaker"], part["hop"] = index, ALICE, int(hop)
    history = History.of(draft.events, rows)
    before = time.process_time()
    judge(history)
    assert time.process_time() - before < 1.0
