"""Resumes, Honest and Bounded loss, by hand-made histories."""

import re

import numpy as np
import pytest

from harness import events as ev
from harness.checkers import Outcome, bounded_loss, judge, resumes
from harness.checkers.honesty import check_honest, told_spans
from harness.checkers.loss import check_bounded_loss
from harness.checkers.resumption import check_resumes
from harness.frames import Flag, Hop
from harness.tests.histories import ALICE, ack, at, audio_status, green, ns

SIX = {"within_s": 6.0}
LOSS = {"steady_ms": 100.0, "impact_ms": 6000.0}


def test_green_story_holds():
    judgement = judge(green().history())
    assert judgement.outcome is Outcome.HOLDS, judgement.verdicts
    assert judgement.preconditions == ()
    assert judgement.diagnosis == ()
    assert {v.outcome for v in judgement.verdicts} == {Outcome.HOLDS}


# --- Resumes --------------------------------------------------------------------------------------------------------


def test_resumes_holds_with_the_time_it_took():
    verdict = check_resumes(green().history(), SIX)
    assert verdict.outcome is Outcome.HOLDS
    assert "1.43 s after socket open" in verdict.because


def test_resumes_broken_when_captions_come_too_late():
    verdict = check_resumes(green().history(), {"within_s": 1.0})
    assert verdict.outcome is Outcome.BROKEN


def test_resumes_broken_when_nothing_comes():
    verdict = check_resumes(green().never_recovers().history(), SIX)
    assert verdict.outcome is Outcome.BROKEN
    assert any(e.where == "cloud-in" and "silent" in e.text for e in verdict.evidence)


def test_stale_burst_is_no_recovery():
    """Words spoken before the anchor and delivered late do not count."""
    draft = green().never_recovers()
    draft.finals = [(9.0, [20, 21, 22])]
    assert check_resumes(draft.history(), SIX).outcome is Outcome.BROKEN


def test_interim_caption_is_no_recovery():
    draft = green().never_recovers()
    draft.add(at(10, ev.Caption(hop="app-in", speaker=ALICE, words=(35,), final=False, text="s7w35"), "ears"))
    assert check_resumes(draft.history(), SIX).outcome is Outcome.BROKEN


def test_last_anchor_counts():
    draft = green().add(at(11.0, ev.Anchor(person="alice", name="healed", moment_ns=ns(11.0))))
    assert "after healed" in check_resumes(draft.history(), SIX).because


def test_resumes_unknown_when_the_run_ended_before_the_budget():
    draft = green().never_recovers().drop(ev.RecoveryMissed)
    verdict = check_resumes(draft.history(), {"within_s": 30.0})
    assert verdict.outcome is Outcome.UNKNOWN
    assert "before the budget was over" in verdict.because


def test_resumes_unknown_when_nobody_speaks_after_the_anchor():
    draft = green().never_recovers()
    draft.talks[ALICE] = [(1.9, 8.0)]
    assert "said nothing after" in check_resumes(draft.history(), SIX).because


def test_resumes_broken_when_the_socket_never_reopens():
    draft = green().never_recovers().drop(ev.Anchor)
    draft.drop(ev.PhoneSocketOpen, lambda e: e.t_ns > ns(6))
    verdict = check_resumes(draft.history(), SIX)
    assert verdict.outcome is Outcome.BROKEN
    assert "never reopened" in verdict.because


def test_resumes_unknown_when_the_rig_wrote_no_anchor():
    assert check_resumes(green().drop(ev.Anchor).history(), SIX).outcome is Outcome.UNKNOWN


def test_resumes_broken_when_the_anchor_was_awaited_in_vain():
    """The socket opens, the ACK that the story counts from never comes."""
    verdict = check_resumes(green().never_recovers().drop(ev.Anchor).history(), SIX)
    assert verdict.outcome is Outcome.BROKEN
    assert "never came as far as the anchor" in verdict.because


def test_silence_of_our_app_is_not_the_clouds():
    """Called by the cloud, the app never dialed back: its ear is to blame."""
    draft = green().never_recovers("app-in").drop(ev.EarHearing)
    assert check_resumes(draft.history(), SIX).outcome is Outcome.UNKNOWN


def test_app_that_the_cloud_never_called_is_the_clouds():
    draft = green().never_recovers("app-in").drop(ev.EarHearing).drop(ev.AppWebhook)
    assert check_resumes(draft.history(), SIX).outcome is Outcome.BROKEN


def test_app_that_dialed_back_and_was_never_acknowledged_is_the_clouds():
    draft = green().never_recovers("app-in").drop(ev.EarHearing)
    draft.add(at(8.8, ev.LinkOpened(link="app->cloud", conn=2), "links"))
    assert check_resumes(draft.history(), SIX).outcome is Outcome.BROKEN


def test_baseline_that_never_gets_steady_is_broken():
    draft = green().without_fault(baseline=True).drop(ev.SteadyReached).drop(ev.Declared)
    draft.add(at(14, ev.SteadyFailed(reason="no caption in 10 s", flowed=False)))
    draft.add(at(14, ev.StoryRaised(error="not steady")))
    judgement = judge(draft.history())
    assert judgement.outcome is Outcome.BROKEN
    assert "captions never flowed" in judgement.verdicts[0].because


# --- Honest ---------------------------------------------------------------------------------------------------------


def test_honest_broken_names_what_said_fine():
    draft = green().never_recovers()
    fine = ev.HealthRead(component="cloud", answered=True, says_fine=True, answer="")
    draft.add(at(10, fine), at(11, fine))
    verdict = check_honest(draft.history(), SIX)
    assert verdict.outcome is Outcome.BROKEN, verdict
    said = " ".join(e.text for e in verdict.evidence)
    assert "ACK said connected, with livekit" in said
    assert "health of cloud said fine, 2 times" in said


def test_honest_counts_to_the_end_of_the_record():
    """A story that stops talking in silence, as soon as the budget is over, is still broken."""
    draft = green().never_recovers()
    draft.talks = {ALICE: [(1.9, 14.1)]}
    draft.drop(ev.StoppedTalking).add(at(14.61, ev.StoppedTalking()))
    assert check_honest(draft.history(), SIX).outcome is Outcome.BROKEN


def test_honest_takes_the_budget_of_resumes():
    draft = green().never_recovers().declare(resumes(5))
    assert check_honest(draft.history(), {}).outcome is Outcome.BROKEN
    assert check_honest(draft.declare(resumes(8)).history(), {}).outcome is Outcome.HOLDS


def test_honest_unknown_without_budget():
    assert check_honest(green().declare().history(), {}).outcome is Outcome.UNKNOWN


def test_honest_holds_when_the_phone_was_told():
    draft = green().never_recovers().add(audio_status(9.5, "unavailable"))
    assert check_honest(draft.history(), SIX).outcome is Outcome.HOLDS


def test_told_is_withdrawn_by_available_and_by_an_ack():
    for withdrawal in (audio_status(9.6, "available"), ack(9.6)):
        draft = green().never_recovers().add(audio_status(9.5, "unavailable"), withdrawal)
        assert check_honest(draft.history(), {"within_s": 4.5}).outcome is Outcome.BROKEN


def test_told_is_withdrawn_by_a_later_caption():
    draft = green().add(audio_status(2.0, "unavailable"))
    spans = [s for s in told_spans(draft.history(), "alice", ALICE) if s.what == "phone message audio_status"]
    assert spans[0].end_ns < ns(5)


def test_honest_holds_when_health_says_so():
    draft = green().never_recovers()
    unwell = ev.HealthRead(component="cloud", answered=True, says_fine=False, answer="")
    draft.add(*(at(8.6 + i, unwell) for i in range(7)))
    assert check_honest(draft.history(), SIX).outcome is Outcome.HOLDS


def test_unanswered_health_is_over_when_the_phone_gets_in():
    draft = green().never_recovers()
    draft.add(at(8.4, ev.HealthRead(component="cloud", answered=False, says_fine=False, answer="refused")))
    draft.add(at(9.4, ev.HealthRead(component="cloud", answered=True, says_fine=True, answer="ok")))
    assert check_honest(draft.history(), SIX).outcome is Outcome.BROKEN


def test_stale_health_answer_tells_nothing():
    draft = green().never_recovers()
    draft.add(at(2.5, ev.HealthRead(component="cloud", answered=True, says_fine=False, answer="")))
    assert check_honest(draft.history(), SIX).outcome is Outcome.BROKEN


def test_honest_holds_while_the_socket_is_closed():
    draft = green().never_recovers().drop(ev.PhoneSocketOpen, lambda e: e.t_ns > ns(6))
    draft.drop(ev.PhoneMessage, lambda e: e.t_ns > ns(6))
    assert check_honest(draft.history(), SIX).outcome is Outcome.HOLDS


def test_told_regex():
    draft = green().never_recovers()
    first = draft.events.pop(0)
    draft.events.insert(0, at(0, ev.RunStarted(**{**_fields(first), "told": ("no audio",)})))
    draft.add(at(9.0, ev.PhoneMessage(person="alice", type="notice", body='{"text":"no audio now"}'), "phone-alice-1"))
    assert check_honest(draft.history(), SIX).outcome is Outcome.HOLDS


def _fields(event):
    return {f: getattr(event, f) for f in event.__struct_fields__ if f not in {"t_ns", "run", "proc"}}


def test_honest_unknown_when_our_app_is_to_blame():
    draft = green().never_recovers("app-in").drop(ev.EarHearing)
    assert check_honest(draft.history(), SIX).outcome is Outcome.UNKNOWN


# --- Bounded loss ---------------------------------------------------------------------------------------------------


def test_loss_while_steady_is_broken():
    draft = green()
    draft.silent["cloud-in"].append((4.0, 4.2))
    verdict = check_bounded_loss(draft.history(), LOSS)
    assert verdict.outcome is Outcome.BROKEN
    assert "2 words without a final" in verdict.because
    assert any(e.where == "sfu" and "heard 20 of the 20" in e.text for e in verdict.evidence)


def test_loss_after_steady_again_is_broken():
    draft = green()
    draft.silent["sfu"] = [(13.0, 13.2)]
    assert check_bounded_loss(draft.history(), LOSS).outcome is Outcome.BROKEN


def test_loss_within_the_steady_budget_holds():
    draft = green()
    draft.silent["cloud-in"].append((4.0, 4.08))
    assert check_bounded_loss(draft.history(), LOSS).outcome is Outcome.HOLDS


def test_words_without_a_final_are_lost():
    draft = green()
    draft.silent["app-in"] = [(4.0, 5.0)]
    verdict = check_bounded_loss(draft.history(), LOSS)
    assert verdict.outcome is Outcome.BROKEN
    assert "5 words without a final" in verdict.because


def test_unfinished_last_utterance_owes_no_word():
    draft = green()
    draft.talks[ALICE] = [(1.9, 13.9)]  # ends within an utterance
    assert check_bounded_loss(draft.history(), {"steady_ms": 0.0, "impact_ms": 6000.0}).outcome is Outcome.HOLDS


def test_utterance_broken_off_while_steady_owes_no_word():
    draft = green()
    draft.talks[ALICE] = [(1.9, 4.3), (4.7, 14.0)]  # the first ends with its last word, before any silence
    draft.silent["app-in"] = [(4.2, 4.5)]
    assert check_bounded_loss(draft.history(), {"steady_ms": 0.0, "impact_ms": 6000.0}).outcome is Outcome.HOLDS


def test_impact_has_its_own_budget():
    verdict = check_bounded_loss(green().history(), {"steady_ms": 0.0, "impact_ms": 3000.0})
    assert verdict.outcome is Outcome.BROKEN
    assert "during the impact" in verdict.because


def test_loss_up_to_the_edge_of_steady_again_belongs_to_the_impact():
    draft = green().drop(ev.SteadyAgain)
    draft.silent["cloud-in"] = [(6.0, 9.0), (11.5, 12.0)]  # frame 574 is missing and ends at the edge
    none = {"steady_ms": 0.0, "impact_ms": 6000.0}
    for edge_ns, outcome in ((0, Outcome.HOLDS), (1, Outcome.HOLDS), (-20_000_000, Outcome.BROKEN)):
        again = at(12.1, ev.SteadyAgain(person="alice", moment_ns=ns(12.0) + edge_ns))
        history = draft.add(again).history()
        draft.drop(ev.SteadyAgain)
        assert check_bounded_loss(history, none).outcome is outcome


def test_what_was_in_flight_belongs_to_the_impact():
    draft = green()
    draft.silent["cloud-in"] = [(5.8, 9.0)]
    assert check_bounded_loss(draft.history(), {"steady_ms": 0.0, "impact_ms": 6000.0}).outcome is Outcome.HOLDS


@pytest.mark.parametrize(
    ("hop", "lost", "outcome"),
    [
        ("app-in", (4.2, 4.5), Outcome.HOLDS),  # the final of the utterance from 3.3 s on, due at 4.4 s
        ("app-in", (2.8, 3.1), Outcome.BROKEN),  # the one before
        ("cloud-in", (4.9, 4.94), Outcome.BROKEN),  # frames are not so long on their way
    ],
)
def test_final_that_fell_due_shortly_before_the_fault_belongs_to_the_impact(hop, lost, outcome):
    draft = green().drop(ev.SteadyReached).drop(ev.Injecting)
    draft.add(at(5.4, ev.SteadyReached(for_s=3.5, since_ns=ns(1.9))))
    draft.add(at(5.5, ev.Injecting(number=1, fault="Vanish(cloud)", target="cloud", blast=(), held=False)))
    draft.silent.setdefault(hop, []).append(lost)
    assert check_bounded_loss(draft.history(), {"steady_ms": 0.0, "impact_ms": 6000.0}).outcome is outcome


def test_no_more_is_lost_than_was_said():
    """Words that began before the impact count on both sides."""
    draft = green().never_recovers()
    draft.silent = {"phone-out": [], "sfu": [(4.0, 99.0)]}
    draft.talks[ALICE] = [(1.9, 6.06), (12.5, 14.7)]
    for params in (LOSS, {"steady_ms": 9000.0, "impact_ms": 0.0}):
        because = check_bounded_loss(draft.history(), params).because
        for lost_ms, said_ms in re.findall(r"lost (\d+) ms of (\d+) ms", because):
            assert int(lost_ms) <= int(said_ms), because


def test_cut_frames_are_lost_and_damaged_ones_are_not():
    for flag, outcome in ((Flag.CUT, Outcome.BROKEN), (Flag.SWAPPED, Outcome.HOLDS)):
        draft = green()
        draft.flags = [(Hop.CLOUD_IN, 4.0, 4.4, flag), (Hop.STT_IN, 4.0, 4.4, flag)]
        assert check_bounded_loss(draft.history(), LOSS).outcome is outcome


def test_duplicate_frames_are_no_loss():
    history = green().history()
    doubled = type(history).of(history.events, np.concatenate([history.frames, history.frames]))
    assert check_bounded_loss(doubled, LOSS).outcome is Outcome.HOLDS


def test_frames_without_a_room_count_as_spoken():
    draft = green()
    draft.flags = [(Hop.PHONE_OUT, 4.0, 4.6, Flag.NO_ROOM)]
    draft.silent["sfu"] = [(4.0, 4.6)]
    assert check_bounded_loss(draft.history(), LOSS).outcome is Outcome.BROKEN


def test_loss_unknown_when_both_ears_are_deaf():
    draft = green()
    draft.silent["cloud-in"].append((4.0, 4.6))
    draft.add(at(3.9, ev.EarDeaf(hop="stt-in", reason="reconnecting"), "ears"))
    draft.add(at(3.9, ev.EarDeaf(hop="cloud-in", reason="socket down"), "ears"))
    draft.add(at(4.7, ev.EarHearing(hop="stt-in"), "ears"), at(4.7, ev.EarHearing(hop="cloud-in"), "ears"))
    assert check_bounded_loss(draft.history(), LOSS).outcome is Outcome.UNKNOWN


def test_loss_unknown_when_nobody_spoke():
    draft = green().without_fault().declare(bounded_loss(0, 0))
    draft.talks[ALICE] = [(1.9, 2.0)]
    assert check_bounded_loss(draft.history(), LOSS).outcome is Outcome.UNKNOWN
