"""Slopes over cycles, what Clean makes of them, and the chart, by hand-made histories."""

import math
import random
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from harness import events as ev
from harness import report
from harness.checkers import Outcome
from harness.checkers.cleanliness import check_clean
from harness.checkers.slopes import inflation, sen, slopes_of
from harness.history import History
from harness.report.charts import ZOMBIES, chart
from harness.tests.histories import at, green
from harness.tests.test_report import save

HOLDS, BROKEN, UNKNOWN = Outcome.HOLDS, Outcome.BROKEN, Outcome.UNKNOWN


def rows(values):
    return np.array(list(enumerate(values)), np.float64)


def noisy(per_cycle, size, count=98, seed=1):
    randomly = random.Random(seed)
    return [per_cycle * n + randomly.gauss(0, size) for n in range(count)]


def with_cycles(count, *, of=None, part="bridge", ours=False, starts=None, **values):
    """Return the green run with ``count`` cycles, each quantity given as a function of the cycle."""
    draft = green()
    for cycle in range(count + 1):
        t_s = 12.2 + cycle / count
        seen = {name: float(value(cycle)) for name, value in values.items()}
        identity = starts(cycle) if starts else "10"
        draft.add(at(t_s, ev.Sample(part=part, identity=identity, ours=ours, cycle=cycle, values=seen)))
        if cycle:
            done = ev.CycleDone(number=cycle, of=of or count, fault=f"F{cycle % 2}", heard=True, took_s=1.5)
            draft.add(at(t_s, done))
    return draft.history()


def test_slope_of_a_line_is_exact():
    assert sen([rows(range(20))]) == (1, 1, 1)
    assert sen([rows([5] * 20)]) == (0, 0, 0)


@pytest.mark.parametrize("per_cycle", [0.0, 1.0])
def test_interval_holds_the_true_slope_in_spite_of_noise_and_outliers(per_cycle):
    for seed in range(20):
        values = noisy(per_cycle, 3.0, seed=seed)
        values[40] += 500
        low, _, high = sen([rows(values)])
        assert low <= per_cycle <= high
        assert high - low < 0.2


def test_a_restart_is_no_growth_and_no_relief():
    sawtooth = [rows(range(20)), rows(range(20)) - [0, 100]]
    assert sen(sawtooth)[1] == 1


def test_too_few_samples_have_no_interval():
    assert sen([rows([1, 2, 3, 4, 5])]) == (-math.inf, 1, math.inf)
    low, middle, high = sen([rows([1])])
    assert (low, high) == (-math.inf, math.inf)
    assert math.isnan(middle)


def test_samples_that_hang_together_widen_the_interval():
    wave = rows([10 * math.sin(n / 8) for n in range(98)])
    assert inflation([wave], 0.0) > 3
    assert inflation([rows(noisy(0, 1))], 0.0) < 1.5


def clean(history):
    return check_clean(history, {})


def test_level_parts_hold():
    flat = with_cycles(100, memory_bytes=lambda _: 40e6, descriptors=lambda n: 30 + n // 20, sessions=lambda _: 1)
    verdict = clean(flat)
    assert verdict.outcome is HOLDS, verdict.because
    assert "3 quantities stay level over 100 cycles" in verdict.because


@pytest.mark.parametrize(
    ("count", "leak", "said"),
    [
        (100, {"memory_bytes": lambda n: 40e6 + 2e6 * n}, "bridge keeps 2.00 MB of memory per cycle"),
        (20, {"descriptors": lambda n: 30 + n}, "bridge keeps 1.00 descriptors per cycle"),
        (20, {"sessions": lambda n: 1 + n // 2}, "bridge keeps 0.50 sessions per cycle"),
    ],
)
def test_a_leak_is_broken(count, leak, said):
    verdict = clean(with_cycles(count, **leak))
    assert verdict.outcome is BROKEN
    assert said in verdict.because
    assert verdict.evidence[0].where == "bridge"


@pytest.mark.parametrize(
    ("count", "values", "said"),
    [
        (6, {"descriptors": lambda n: 30 + n}, "it cannot be told whether bridge keeps"),
        (
            100,
            {"memory_bytes": lambda n: 40e6 + 1e6 * n + 20e6 * math.sin(n / 8)},
            "it cannot be told whether bridge keeps",
        ),
    ],
)
def test_few_samples_and_wide_intervals_are_unknown(count, values, said):
    verdict = clean(with_cycles(count, **values))
    assert verdict.outcome is UNKNOWN, verdict.because
    assert said in verdict.because


def test_memory_is_not_judged_in_a_short_story():
    verdict = clean(with_cycles(20, memory_bytes=lambda n: 40e6 + 2e6 * n, descriptors=lambda _: 30))
    assert verdict.outcome is HOLDS
    assert "memory is judged from 30 cycles on" in verdict.because


def test_cycles_that_were_not_played_are_unknown():
    verdict = clean(with_cycles(20, of=100, descriptors=lambda _: 30))
    assert verdict.outcome is UNKNOWN
    assert "20 of 100 cycles were played" in verdict.because


def test_a_leak_of_ours_is_unknown_and_never_broken():
    verdict = clean(with_cycles(100, part="links", ours=True, descriptors=lambda n: 30 + n))
    assert verdict.outcome is UNKNOWN
    assert "the harness itself leaks: links keeps 1.00 descriptors" in verdict.because


def test_a_part_that_was_started_again_is_judged_within_its_starts():
    verdict = clean(with_cycles(40, starts=lambda n: str(n // 20), descriptors=lambda n: 30 + n % 20))
    assert verdict.outcome is BROKEN
    assert clean(with_cycles(40, starts=lambda n: str(n // 20), descriptors=lambda n: 30 + n // 20)).outcome is HOLDS


def sampled(steady, end, identity="10"):
    draft = green()
    draft.add(at(6.0, ev.Sample(part="bridge", identity="10", ours=False, cycle=0, values=steady)))
    return draft.add(at(14.7, ev.Sample(part="bridge", identity=identity, ours=False, cycle=-1, values=end))).history()


def test_descriptors_and_streams_return_to_the_baseline():
    level = {"descriptors": 30.0, "streams": 1.0}
    assert clean(sampled(level, {"descriptors": 37.0, "streams": 1.0})).outcome is HOLDS
    more = clean(sampled(level, {"descriptors": 80.0, "streams": 1.0}))
    assert more.outcome is BROKEN
    assert "bridge holds 80 file descriptors at the end; it held 30 in the steady state" in more.because
    assert clean(sampled(level, {"descriptors": 80.0, "streams": 1.0}, identity="11")).outcome is HOLDS
    streams = clean(sampled(level, {"descriptors": 30.0, "streams": 2.0}))
    assert streams.because == "bridge holds 2 streams for 1 connected"


def test_the_chart_shows_each_part_and_quantity_with_its_slope():
    history = with_cycles(20, descriptors=lambda n: 30 + n, memory_bytes=lambda _: 40e6)
    drawn = chart(slopes_of(history), history.all(ev.CycleDone), "zombies <&>")
    said = [text.text for text in ET.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]
    assert "zombies <&>: what each part holds after each cycle" in said
    assert "bridge: descriptors" in said
    assert "bridge: memory, MB" in said
    assert "BROKEN 1.00 a cycle (1.00 to 1.00), at most 0.25" in said
    assert {"F0", "F1"} <= set(said)


def test_a_run_directory_gets_its_chart_and_table_and_the_same_again(tmp_path):
    draft = green()
    draft.events = list(with_cycles(20, descriptors=lambda n: 30 + n).events)
    draft.events = [e for e in draft.events if not isinstance(e, ev.Caption)]
    run_dir = save(draft, tmp_path)
    report.write(run_dir)
    first = (run_dir / ZOMBIES).read_bytes()
    assert "| bridge | descriptors | 1.00 a cycle (1.00 to 1.00), at most 0.25 | BROKEN |" in (
        run_dir / "report.md"
    ).read_text(encoding="utf-8")
    (run_dir / ZOMBIES).unlink()
    report.write(run_dir)
    assert (run_dir / ZOMBIES).read_bytes() == first


def test_a_run_without_cycles_has_no_chart(tmp_path):
    run_dir = save(green(), tmp_path)
    assert report.write(run_dir).slopes == ()
    assert not (run_dir / ZOMBIES).exists()


@pytest.mark.parametrize(("part", "had", "holds", "session"), [("bridge", 30, 37, 48), ("cloud", 22, 24, 26)])
def test_one_sessions_descriptors_are_seen(part, had, holds, session):
    def of(end):
        draft = green()
        for cycle, t_s, count in ((0, 6.0, had), (-1, 14.7, end)):
            values = {"descriptors": float(count)}
            draft.add(at(t_s, ev.Sample(part=part, identity="10", ours=False, cycle=cycle, values=values)))
        return draft

    assert clean(of(holds).history()).outcome is HOLDS
    assert clean(of(session).history()).outcome is BROKEN
    joined = at(6.0, ev.Sample(part="people", identity="", ours=False, cycle=0, values={"users": 0.0}))
    assert clean(of(session).add(joined).history()).outcome is HOLDS, "somebody came since"


def test_the_first_steady_state_is_the_baseline():
    draft = green()
    for t_s, cycle, count in ((6.0, 0, 30.0), (13.0, 0, 60.0), (14.7, -1, 60.0)):
        sample = ev.Sample(part="bridge", identity="10", ours=False, cycle=cycle, values={"descriptors": count})
        draft.add(at(t_s, sample))
    assert "it held 30 in the steady state" in clean(draft.history()).because


def test_a_participant_too_many_at_the_end_is_broken():
    draft = green()
    for t_s, cycle, count in ((6.0, 0, 2.0), (14.7, -1, 3.0)):
        values = {"participants": count}
        draft.add(at(t_s, ev.Sample(part="livekit", identity="10", ours=False, cycle=cycle, values=values)))
    assert clean(draft.history()).because == "livekit holds 3 participants for 1 connected"


def test_one_session_leaked_in_ten_cycles_is_broken_by_the_count_at_the_end():
    """The slope of 20 cycles cannot tell it: the exact count does."""
    history = with_cycles(20, sessions=lambda n: 1 + n // 10)
    assert [s.outcome for s in slopes_of(history)] == [UNKNOWN]
    read = ev.BridgeRead(why="end", answered=True, active_sessions=3, connected={"alice@x": True})
    verdict = clean(History.of([*history.events, at(14.8, read)], history.frames))
    assert verdict.outcome is BROKEN
    assert verdict.because == "the bridge holds 3 sessions for 1 connected"


def test_a_part_that_is_started_anew_all_the_time_is_told_and_not_judged():
    verdict = clean(with_cycles(20, starts=lambda n: str(n // 2), descriptors=lambda n: 30 + n % 2))
    assert verdict.outcome is HOLDS, verdict.because
    assert "bridge was started anew too often to tell whether its descriptors grow" in verdict.because


def test_what_is_not_finite_is_not_said():
    for history in (
        with_cycles(1, descriptors=lambda n: 30 + n),
        with_cycles(6, descriptors=lambda n: 30 + n),
        with_cycles(20, starts=lambda n: str(n // 2), descriptors=lambda n: 30 + n % 2),
    ):
        said = clean(history).because
        assert "nan" not in said
        assert "inf" not in said
