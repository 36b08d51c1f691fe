"""The books of each hop, and checkers that do not blame the system for what was done to packets on purpose."""

import dataclasses
import json
import time

import numpy as np
import pytest

from harness import events as ev
from harness.checkers import Outcome, judge
from harness.checkers.accounting import accounts
from harness.checkers.families_packets import packet_loss_doubled
from harness.checkers.integrity import check_intact
from harness.checkers.loss import check_bounded_loss
from harness.checkers.order import check_ordered, check_unique
from harness.checkers.scene import Scene
from harness.checkers.timeliness import check_timely
from harness.frames import FRAME, Flag, Hop
from harness.history import History
from harness.report import markdown, verdict_json
from harness.speech import word_text
from harness.tests.histories import ALICE, at, green, ns

NOTHING = {"steady_ms": 0.0, "impact_ms": 0.0}
HURT_AT = 280
"""Frames from here on are hurt: in the first words of the utterance that begins there."""


def hurt(how, first, frames=2, copies=0, seconds=6.2):
    event = ev.PacketHurt(person="alice", speaker=ALICE, how=how, first_index=first, frames=frames, copies=copies)
    return at(seconds, event, "phone-alice-1")


def lossy(*hurts):
    """A run in which alice's packets are hurt from 6.05 s to 8 s; nothing else happens, and nothing else is lost."""
    draft = green()
    for kind in (ev.ComponentExited, ev.Gate, ev.EarDeaf, ev.EarHearing, ev.Injecting, ev.Injected, ev.SteadyAgain):
        draft.drop(kind)
    draft.drop(ev.ComponentStarted, lambda e: e.identity == "pid 12").drop(ev.Anchor)
    draft.silent.clear()
    fault = "Drop(alice, share=0.05)"
    return draft.add(
        at(6.05, ev.Injecting(number=1, fault=fault, target="packets of alice", blast=("alice",), held=True)),
        at(6.1, ev.Injected(number=1, fault=fault, proof="from now on")),
        at(8.0, ev.Healed(number=1, fault=fault, proof="some packets")),
        at(8.0, ev.Anchor(person="alice", name="heal", moment_ns=ns(8.0))),
        at(9.0, ev.SteadyAgain(person="alice", moment_ns=ns(9.0))),
        *hurts,
    )


def built(draft, change=None):
    """Give the history, with what left the phone as SENT records; ``change`` gets and gives the rows of each hop."""
    history = draft.history()
    frames = history.frames
    sent = frames[frames["hop"] == int(Hop.PHONE_OUT)].copy()
    sent["flags"] |= int(Flag.SENT)
    hops = [sent, *(frames[frames["hop"] == int(hop)] for hop in Hop)]
    if change:
        hops = [rows if i == 1 else change(rows) for i, rows in enumerate(hops)]  # what was spoken stays
    return History.of(history.events, np.concatenate(hops))


def without(*indices):
    return lambda rows: rows[~np.isin(rows["index"], indices)]


def again(*indices):
    return lambda rows: np.concatenate((rows, rows[np.isin(rows["index"], indices)]))


def damaged(flag, *indices):
    def change(rows):
        rows = rows.copy()
        if len(rows) and not rows["flags"].any():
            rows["flags"][np.isin(rows["index"], indices)] |= int(flag)
        return rows

    return change


def late(index, until):
    def change(rows):
        rows = rows.copy()
        behind = rows["t_ns"][rows["index"] == until]
        rows["t_ns"][rows["index"] == index] = behind + 1
        return rows

    return change


def only_at(hop, change):
    return lambda rows: change(rows) if len(rows) and rows["hop"][0] == int(hop) else rows


def of_hop(history, hop="cloud-in"):
    return next(a for a in accounts(history) if a.hop == hop)


# --- the books ------------------------------------------------------------------------------------------------------


def test_a_run_without_loss_is_exact_at_every_hop():
    books = accounts(built(lossy()))
    assert {a.hop for a in books} == {"phone-out", "sfu", "cloud-in", "stt-in"}
    assert all(a.exact and a.heard == a.spoken for a in books)


@pytest.mark.parametrize(
    ("event", "change", "field", "frames"),
    [
        (hurt("dropped", HURT_AT), without(HURT_AT, HURT_AT + 1), "dropped", 2),
        (hurt("duplicated", HURT_AT, copies=1), again(HURT_AT, HURT_AT + 1), "duplicated", 2),
        (hurt("reordered", HURT_AT, 1), late(HURT_AT, HURT_AT + 3), "reordered", 1),
        (hurt("corrupted", HURT_AT), damaged(Flag.CORRUPT, HURT_AT, HURT_AT + 1), "corrupted", 2),
    ],
)
def test_what_was_injected_is_found_exactly_and_what_was_not_is_unexplained(event, change, field, frames):
    as_told = of_hop(built(lossy(event), change))
    assert as_told.exact, as_told
    assert (getattr(as_told, field), getattr(as_told, f"{field}_injected")) == (frames, frames)
    untold = of_hop(built(lossy(), change))
    assert untold.unexplained == frames
    assert not untold.exact
    undone = of_hop(built(lossy(event)))
    assert not undone.exact, "told, but not found"


def test_heard_is_spoken_less_what_was_lost_and_more_what_came_twice():
    events = hurt("dropped", 300), hurt("duplicated", 310, copies=2)
    history = built(
        lossy(*events), lambda rows: without(300, 301, 320)(again(310, 311)(again(310, 311)(rows)))
    )  # 310 and 311: doubled, and doubled again: three more of each
    a = of_hop(history)
    assert (a.dropped, a.duplicated, a.duplicates_unexplained, a.lost_unexplained) == (2, 4, 2, 1)
    assert a.lost == (320,)
    assert a.twice == (310, 311)
    lost = a.not_sent + a.another_way + a.dropped + a.lost_excused + a.lost_unexplained
    assert a.heard == a.spoken - lost + a.duplicated + a.duplicates_excused + a.duplicates_unexplained


def test_loss_in_the_impact_of_another_fault_is_excused_and_so_is_what_was_never_sent():
    draft = green()
    draft.flags = [(Hop.PHONE_OUT, 6.2, 6.4, Flag.NO_ROOM)]
    a = of_hop(built(draft))
    assert a.lost_unexplained == 0
    assert a.not_sent == 10
    assert a.lost_excused == 140  # 6 to 9 s are silent at cloud-in


def test_the_judgement_has_the_books_and_a_hop_nobody_hears_has_none():
    judgement = judge(built(lossy()))
    assert "bridge-out" not in {a.hop for a in judgement.accounts}
    assert len(judgement.accounts) == 4
    kept = json.loads(verdict_json(judgement))["accounts"]
    assert [(a["hop"], a["unexplained"], a["exact"]) for a in kept][2] == ("cloud-in", 0, True)


def test_the_report_shows_the_books_and_of_a_crowd_those_that_do_not_balance():
    once_more = only_at(Hop.CLOUD_IN, without(310))
    judgement = judge(built(lossy(hurt("dropped", 300)), lambda rows: once_more(without(300, 301)(rows))))
    shown = [line for line in markdown(judgement).splitlines() if line.startswith("| alice |")]
    assert len(shown) == 4
    assert "| 2 (2) | 0 | 1 |" in next(line for line in shown if "cloud-in" in line)
    crowd = dataclasses.replace(judgement, accounts=judgement.accounts * 6)
    shown = [line for line in markdown(crowd).splitlines() if line.startswith("| alice |")]
    assert len(shown) == 6
    assert all("| cloud-in |" in line for line in shown)
    assert "18 more in verdict.json" in markdown(crowd)


def test_bounds_take_a_part_of_what_was_spoken():
    history = built(lossy(hurt("dropped", 300)), without(300, 301))
    (book,) = [a for a in accounts(history, (290, 310)) if a.hop == "cloud-in"]
    assert (book.spoken, book.dropped, book.heard) == (20, 2, 18)


def test_a_million_frames_are_cheap():
    count = 350_000  # at each of three hops
    draft = lossy(hurt("dropped", 300))
    events = draft.history().events
    rows = np.zeros(3 * count, FRAME)
    for i, hop in enumerate((Hop.PHONE_OUT, Hop.SFU, Hop.CLOUD_IN)):
        part = rows[i * count : (i + 1) * count]
        part["index"], part["speaker"], part["hop"] = np.arange(count), ALICE, int(hop)
        part["t_ns"] = ns(0.5) + np.arange(1, count + 1) * 20_000_000
    history = History.of(events, rows)
    history.at_hop(Hop.SFU, ALICE)
    began = time.process_time()  # others may have the cores
    accounts(history)
    assert time.process_time() - began < 1.5


# --- checkers that know of it -----------------------------------------------------------------------------------------


def test_bounded_loss_does_not_charge_what_was_dropped_and_charges_what_was_not():
    change = without(*range(HURT_AT, HURT_AT + 6))
    told = built(lossy(*(hurt("dropped", i) for i in range(HURT_AT, HURT_AT + 6, 2))), change)
    assert check_bounded_loss(told, NOTHING).outcome is Outcome.HOLDS
    part = built(lossy(*(hurt("dropped", i) for i in range(HURT_AT, HURT_AT + 4, 2))), change)
    verdict = check_bounded_loss(part, NOTHING)
    assert verdict.outcome is Outcome.BROKEN
    assert "lost 40 ms" in verdict.because


def test_no_word_is_owed_that_a_fault_touched_but_all_others_are():
    draft = lossy(hurt("corrupted", HURT_AT))
    draft.drop(ev.Drained).add(at(14.6, ev.Drained(quiet=True, took_s=0.6)))
    history = built(draft)
    finals = [c for c in history.all(ev.Caption) if c.hop == "app-in" and 20 in c.words]
    assert finals, "word 20 begins at frame 280"

    def unnamed(word):
        events = [
            at(history.seconds(e.t_ns), ev.Caption(
                hop=e.hop, speaker=e.speaker, words=tuple(w for w in e.words if w != word), final=True, text=e.text,
            ), "ears") if e in finals else e
            for e in history.events
        ]  # fmt: skip
        return History.of(events, history.frames)

    assert check_bounded_loss(unnamed(20), NOTHING).outcome is Outcome.HOLDS
    assert check_bounded_loss(unnamed(21), NOTHING).outcome is Outcome.BROKEN


def test_bounded_loss_is_unknown_when_our_ears_were_away():
    draft = lossy(hurt("dropped", HURT_AT))
    for hop in ("cloud-in", "stt-in"):
        draft.add(at(6.1, ev.EarDeaf(hop=hop, reason="gone"), "ears"))
    history = built(draft, without(*range(HURT_AT, HURT_AT + 4)))
    assert check_bounded_loss(history, NOTHING).outcome is Outcome.UNKNOWN


def test_intact_excuses_exactly_the_frames_that_were_damaged_on_purpose():
    event = hurt("swapped", HURT_AT)
    told = damaged(Flag.SWAPPED, HURT_AT, HURT_AT + 1)
    stray = at(6.3, ev.Damaged(hop="sfu", what="swapped", count=2, near_index=HURT_AT), "ears")
    verdict = check_intact(built(lossy(event, stray), told), {})
    assert verdict.outcome is Outcome.HOLDS
    assert "damaged on purpose" in verdict.because
    more = damaged(Flag.SWAPPED, HURT_AT, HURT_AT + 1, HURT_AT + 2)
    assert check_intact(built(lossy(event), more), {}).outcome is Outcome.BROKEN
    assert check_intact(built(lossy(), told), {}).outcome is Outcome.BROKEN


@pytest.mark.parametrize(("count", "outcome"), [(2, Outcome.HOLDS), (3, Outcome.BROKEN)])
def test_an_odd_packet_leaves_two_stray_bytes_and_no_more(count, outcome):
    stray = at(6.3, ev.Damaged(hop="sfu", what="stray", count=count, near_index=HURT_AT), "ears")
    history = built(lossy(hurt("odd", HURT_AT), stray), damaged(Flag.SLIPPED, HURT_AT, HURT_AT + 1))
    assert check_intact(history, {}).outcome is outcome


def test_intact_is_unknown_when_nothing_was_heard():
    history = lossy(hurt("corrupted", HURT_AT)).history()
    only = history.frames[history.frames["hop"] == int(Hop.PHONE_OUT)]
    assert check_intact(History.of(history.events, only), {}).outcome is Outcome.UNKNOWN


def caption(seconds, *words):
    text = " ".join(word_text(ALICE, w) for w in words)
    return at(seconds, ev.Caption(hop="app-in", speaker=ALICE, words=words, final=True, text=text), "ears")


def test_a_word_may_come_as_often_as_most_of_it_was_sent():
    twice = caption(8.1, 20)
    doubled = [hurt("duplicated", HURT_AT + i, copies=1) for i in range(0, 6, 2)]
    assert check_unique(built(lossy(*doubled, twice)), {}).outcome is Outcome.HOLDS
    assert check_unique(built(lossy(*doubled[:2], twice)), {}).outcome is Outcome.BROKEN
    assert check_unique(built(lossy(*doubled, twice, caption(8.2, 20))), {}).outcome is Outcome.BROKEN


def test_a_frame_that_comes_twice_to_the_cloud_is_not_unique():
    more = only_at(Hop.CLOUD_IN, again(HURT_AT))
    verdict = check_unique(built(lossy(), more), {})
    assert verdict.outcome is Outcome.BROKEN
    assert "1 frames of alice came again to cloud-in" in verdict.because
    assert check_unique(built(lossy(hurt("duplicated", HURT_AT, 1, copies=1)), more), {}).outcome is Outcome.HOLDS
    assert check_unique(built(lossy(), only_at(Hop.SFU, again(HURT_AT))), {}).outcome is Outcome.HOLDS


def test_unique_and_ordered_are_unknown_without_captions():
    history = lossy(hurt("reordered", HURT_AT)).drop(ev.Drained).history()
    silent = History.of([e for e in history.events if not isinstance(e, ev.Caption)], history.frames)
    assert check_unique(silent, {}).outcome is Outcome.UNKNOWN
    assert check_ordered(silent, {}).outcome is Outcome.UNKNOWN


def test_a_word_that_was_reordered_may_come_late_and_no_other_may():
    def swapped_words(*hurts):
        history = built(lossy(*hurts))
        kept = [e for e in history.events if not (isinstance(e, ev.Caption) and set(e.words) & {20, 21})]
        return History.of([*kept, caption(7.9, 21), caption(8.0, 20)], history.frames)

    assert check_ordered(swapped_words(hurt("reordered", HURT_AT)), {}).outcome is Outcome.HOLDS
    assert check_ordered(swapped_words(hurt("dropped", HURT_AT)), {}).outcome is Outcome.BROKEN


def test_timely_leaves_out_what_was_held_on_purpose():
    words = (40, 41, 42, 43, 44)  # spoken until 12.7 s, long after the heal

    def lagging(*hurts):
        history = built(lossy(*hurts))
        kept = [e for e in history.events if not (isinstance(e, ev.Caption) and set(e.words) & set(words))]
        return History.of([*kept, caption(14.4, *words)], history.frames)

    lag = {"lag_s": 1.0}
    assert check_timely(lagging(), lag).outcome is Outcome.BROKEN
    assert check_timely(lagging(hurt("held", 600, seconds=12.6)), lag).outcome is Outcome.HOLDS
    everything = [hurt("held", i, 70, seconds=6.2) for i in range(0, 700, 70)]
    assert check_timely(lagging(*everything), lag).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(("frame", "excused"), [(590, False), (600, True), (613, True), (615, False)])
def test_timely_excuses_a_final_only_for_its_last_word_and_the_silence_that_ends_it(frame, excused):
    words = (40, 41, 42, 43, 44)  # frames 560 to 609, and silence until 629
    history = built(lossy(hurt("held", frame, seconds=12.6)))
    kept = [e for e in history.events if not (isinstance(e, ev.Caption) and set(e.words) & set(words))]
    verdict = check_timely(History.of([*kept, caption(14.4, *words)], history.frames), {"lag_s": 1.0})
    assert verdict.outcome is (Outcome.HOLDS if excused else Outcome.BROKEN)
    assert ("1 more had their end" in verdict.because) is excused


@pytest.mark.parametrize("hop", [Hop.CLOUD_IN, Hop.STT_IN])
def test_where_packets_were_hurt_each_of_the_clouds_ears_accounts_for_the_rest(hop):
    dropped = without(HURT_AT, HURT_AT + 1)
    event = hurt("dropped", HURT_AT)

    def outcome_of(change, *hurts):
        return check_bounded_loss(built(lossy(*hurts), change), NOTHING).outcome

    lost = only_at(hop, without(320))
    assert outcome_of(dropped, event) is Outcome.HOLDS
    assert outcome_of(lambda rows: lost(dropped(rows)), event) is Outcome.BROKEN
    behind = only_at(hop, late(320, 330))
    assert outcome_of(lambda rows: behind(dropped(rows)), event) is Outcome.BROKEN
    assert outcome_of(lost) is Outcome.HOLDS, "nothing was hurt: one of two ears is enough"
    verdict = check_bounded_loss(built(lossy(event), lambda rows: lost(dropped(rows))), NOTHING)
    assert f"20 ms of alice are missing at {'cloud-in' if hop is Hop.CLOUD_IN else 'stt-in'}" in verdict.because


# --- the family -------------------------------------------------------------------------------------------------------


def scene(history):
    return Scene(history, {"bounded_loss": check_bounded_loss(history, NOTHING)})


def test_loss_behind_each_missing_packet_is_named():
    drops = [hurt("dropped", i) for i in (284, 300, 340)]
    lost = {f for i in (284, 300, 340) for f in range(i, i + 4)}
    found = packet_loss_doubled(scene(built(lossy(*drops), without(*lost))))
    assert found is not None
    assert found.incident == "packet-loss-doubled"
    elsewhere = {f for i in (284, 300, 340) for f in (i, i + 1, i + 6, i + 7)}
    assert packet_loss_doubled(scene(built(lossy(*drops), without(*elsewhere)))) is None
    by_chance = lost | {310, 311, 320, 321}  # three gaps of five begin behind a drop
    assert packet_loss_doubled(scene(built(lossy(*drops), without(*by_chance)))) is None
    assert packet_loss_doubled(Scene(built(lossy(*drops), without(*lost)), {})) is None
