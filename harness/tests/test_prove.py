"""Proving: which verdicts are missing, what is as expected, what is kept, how n/n is counted."""

import asyncio
import json
import signal
from dataclasses import replace

import pytest

from harness.errors import MachineError
from harness.processes import look_at
from harness.prove import built, running
from harness.prove.built import build_what_is_named, filled_in, without_places
from harness.prove.lines import append, lines_of
from harness.prove.plan import Case
from harness.prove.running import Prover, busy_loops, deadline_ns, verdict_line
from harness.prove.tables import long_table, short_table
from harness.tests.prove_world import DEFECT, FIXED


def said(outcome, *, broken=(), incident="", run=None):
    facts = {
        "scenario": "kill-cloud[vanish]", "outcome": outcome, "seed": 0, "run": run, "recovery": {},
        "guarantees": [{"name": name, "outcome": "BROKEN", "because": "b"} for name in broken]
        + [{"name": "Intact", "outcome": "HOLDS", "because": "b"}],
        "diagnosis": [{"incident": incident}] if incident else [],
    }  # fmt: skip
    return json.dumps(facts) + "\n" + json.dumps({"summary": True}) + "\n"


class MadeUpProver(Prover):
    """A prover whose runs are what ``answers`` says."""

    def __init__(self, root):
        super().__init__(root, root / "proof", "t1", 1, lambda _: None)
        self.asked = []
        self.answers = lambda case, seed: (0, said("HOLDS"), "")

    async def _run(self, case, runs, seed):
        self.asked.append((case.slug, seed))
        await asyncio.sleep(0)
        return self.answers(case, seed)


@pytest.fixture
def prover(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "tree_hash", lambda _: "t1")
    return MadeUpProver(tmp_path)


# --- verdicts ---


def test_a_verdict_line_keeps_what_came():
    line = verdict_line(DEFECT, "t1", "now", 17.234, 1, said("BROKEN", broken=("Resumes",), incident="x"), "")
    assert (line["outcome"], line["broken"], line["diagnosis"]) == ("BROKEN", ["Resumes"], "x")
    assert (line["as_expected"], line["wall_s"], line["exit"]) == (False, 17.23, 1)
    none = verdict_line(FIXED, "t1", "now", 1.0, 3, "", "no port")
    assert (none["outcome"], none["as_expected"], none["said"]) == ("UNKNOWN", False, "no port")


async def test_containers_never_run_beside_processes(prover):
    over_containers = replace(FIXED, system="containers")
    mixed = replace(FIXED, sets=("bridge.image=x",))
    prover.jobs = 2
    await prover.prove([over_containers, mixed, FIXED])
    assert {slug for slug, _ in prover.asked[:3]} == {FIXED.slug}
    assert {slug for slug, _ in prover.asked[3:]} == {over_containers.slug, mixed.slug}


async def test_under_load_runs_are_one_at_a_time_and_those_over_containers_last(prover, monkeypatch):
    monkeypatch.setattr(running, "busy_loops", lambda: Loops([]))
    real, at_once = prover._run, []

    async def counted(case, runs, seed):
        at_once.append(sum(prover._under_way.values()))
        return await real(case, runs, seed)

    monkeypatch.setattr(prover, "_run", counted)
    loaded = replace(FIXED, under_load=True)
    over_containers = replace(loaded, system="containers")
    prover.jobs = 2
    await prover.prove([over_containers, loaded])
    assert [slug for slug, _ in prover.asked] == [loaded.slug] * 3 + [over_containers.slug] * 3
    assert set(at_once) == {1}
    assert {line["jobs"] for line in lines_of(prover.proof, loaded, "t1")} == {1}


async def test_what_a_verdict_says_names_no_place_of_this_machine_or_of_others(prover, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    prover.built = {"gobridge": "/home/somebody/.cache/gobridge"}
    said = (
        f"{prover.root}/runs/x at http://127.0.0.1:7880 and ws://localhost/a, not https://me:word@index.example/simple;"
        " /home/somebody/.cache/gobridge, /home/somebody/keys, /home/somebody else"
    )
    prover.answers = lambda case, seed: (3, "", "a" * seed * 500 + said)
    await prover.prove([FIXED])
    lines = lines_of(prover.proof, FIXED, "t1")
    assert lines[0]["said"] == (
        "runs/x at http://127.0.0.1:7880 and ws://localhost/a, not https://***; {gobridge}, ~/keys, ~ else"
    )
    assert all("example" not in line["said"] and len(line["said"]) <= 400 for line in lines)
    assert lines[2]["said"].endswith("~ else")


async def test_what_is_missing_is_run_and_nothing_twice(prover):
    append(prover.proof, FIXED, {"tree": "t1", "as_expected": True, "outcome": "HOLDS", "wall_s": 1.0})
    append(prover.proof, FIXED, {"tree": "t0", "as_expected": True, "outcome": "HOLDS", "wall_s": 1.0})
    await prover.prove([FIXED])
    assert prover.asked == [(FIXED.slug, 1), (FIXED.slug, 2)]
    await prover.prove([FIXED])
    assert len(prover.asked) == 2


async def test_a_verdict_that_is_not_as_expected_stays_and_is_not_run_again(prover):
    prover.answers = lambda case, seed: (2, said("UNKNOWN"), "") if seed == 1 else (0, said("HOLDS"), "")
    await prover.prove([FIXED])
    assert [line["as_expected"] for line in lines_of(prover.proof, FIXED, "t1")] == [True, False, True]
    assert "**2/3**" in long_table(prover.proof, [FIXED], "t1")
    assert "1 UNKNOWN" in long_table(prover.proof, [FIXED], "t1")


async def test_cases_take_turns_and_jobs_run_side_by_side(prover):
    prover.jobs = 2
    prover.answers = lambda case, seed: (
        (1, said("BROKEN", broken=("Resumes", "Honest"), incident="zombie-first-connect"), "")
        if case is DEFECT else (0, said("HOLDS"), "")
    )  # fmt: skip
    await prover.prove([FIXED, DEFECT])
    assert sorted(prover.asked[:2]) == [(FIXED.slug, 0), (DEFECT.slug, 0)]
    assert len(set(prover.asked)) == 5
    assert all(line["as_expected"] for case in (FIXED, DEFECT) for line in lines_of(prover.proof, case, "t1"))


async def test_no_run_is_begun_that_would_not_end_in_time(prover):
    prover.limit_ns = deadline_ns(10.0)
    await prover.prove([FIXED])
    assert prover.asked == []
    assert prover.stopped == "the time is up"


async def test_a_run_whose_tree_changed_is_no_verdict(prover, monkeypatch):
    monkeypatch.setattr(running, "tree_hash", lambda _: "t2")
    await prover.prove([FIXED])
    assert lines_of(prover.proof, FIXED, "t1") == []
    assert "tree changed" in prover.stopped


async def test_a_case_that_cannot_be_run_stops_the_proof(prover):
    prover.answers = lambda case, seed: (64, "", "expected the name of a scenario")
    with pytest.raises(ExceptionGroup) as caught:
        await prover.prove([FIXED])
    assert "expected the name of a scenario" in str(caught.value.exceptions[0])


async def test_an_interrupted_run_is_no_verdict(prover):
    def answer(case, seed):
        prover._interrupt(signal.SIGINT)
        return 130, said("UNKNOWN"), ""

    prover.answers = answer
    await prover.prove([FIXED])
    assert len(prover.asked) == 1
    assert lines_of(prover.proof, FIXED, "t1") == []


async def test_the_run_directory_is_kept_only_when_it_is_not_as_expected(prover):
    def answer(case, seed):
        run_dir = prover.root / "runs" / "proof" / case.slug / "x" / str(seed)
        run_dir.mkdir(parents=True)
        (run_dir / "verdict.json").write_text(
            '{"timings": {"stack_start_s": 1.5}, "preconditions": ["ears were late"]}'
        )
        return 0, said("HOLDS" if seed else "UNKNOWN", run=f"runs/proof/{case.slug}/x/{seed}"), ""

    prover.answers = answer
    await prover.prove([FIXED])
    lines = lines_of(prover.proof, FIXED, "t1")
    assert [line["run"] for line in lines] == [f"runs/proof/{FIXED.slug}/x/0", None, None]
    assert lines[2]["timings"] == {"stack_start_s": 1.5}
    assert lines[0]["said"] == "ears were late"
    assert "said" not in lines[2]
    assert [path.name for path in (prover.root / "runs" / "proof" / FIXED.slug / "x").iterdir()] == ["0"]


async def test_what_a_run_waited_for_its_turn_is_not_its_own_time(prover, monkeypatch):
    def answer(case, seed):
        run_dir = prover.root / "runs" / "proof" / case.slug / str(seed)
        run_dir.mkdir(parents=True)
        timings = {"waited_s": 30.0} if seed else {"waited_s": None}
        (run_dir / "verdict.json").write_text(json.dumps({"timings": timings, "preconditions": []}))
        return 0, said("HOLDS", run=f"runs/proof/{case.slug}/{seed}"), ""

    prover.answers = answer
    monkeypatch.setattr(running, "seconds_between", lambda *_: 50.0)
    await prover.prove([FIXED])
    assert [line["wall_s"] for line in lines_of(prover.proof, FIXED, "t1")] == [50.0, 20.0, 20.0]


async def test_cases_under_load_run_beside_two_busy_loops(prover, monkeypatch):
    beside: list[str] = []
    monkeypatch.setattr(running, "busy_loops", lambda: Loops(beside))

    def answer(case, seed):
        beside.append(case.slug)
        return 0, said("HOLDS"), ""

    prover.answers = answer
    loaded = Case("kill-cloud[vanish]", "HOLDS", 1, under_load=True)
    await prover.prove([loaded, FIXED])
    assert beside == [FIXED.slug] * 3 + ["busy", loaded.slug, "quiet"]


class Loops:
    def __init__(self, beside):
        self.beside = beside

    async def __aenter__(self):
        self.beside.append("busy")

    async def __aexit__(self, *_):
        self.beside.append("quiet")


async def test_busy_loops_end(monkeypatch):
    begun = []
    real = asyncio.create_subprocess_exec

    async def noted(*words, **options):
        begun.append(await real(*words, **options))
        return begun[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    async with busy_loops():
        assert all(look_at(process.pid) is not None for process in begun)
    assert len(begun) == 2
    assert all(look_at(process.pid) is None for process in begun)


def test_a_torn_last_line_is_left_out(tmp_path):
    append(tmp_path, FIXED, {"tree": "t1", "n": 1})
    with (tmp_path / f"{FIXED.slug}.jsonl").open("ab") as file:
        file.write(b'{"tree": "t1", "n"')
    assert lines_of(tmp_path, FIXED, "t1") == [{"tree": "t1", "n": 1}]
    append(tmp_path, FIXED, {"tree": "t1", "n": 2})
    assert [line["n"] for line in lines_of(tmp_path, FIXED, "t1")] == [1, 2]


# --- several systems ---


def test_the_short_table_has_a_column_for_each_system(tmp_path):
    over_containers = replace(FIXED, system="containers")
    for case, outcome, recovery_s in ((FIXED, "HOLDS", 1.0), (FIXED, "HOLDS", 3.0), (over_containers, "UNKNOWN", None)):
        line = {"tree": "t1", "as_expected": outcome == "HOLDS", "outcome": outcome, "recovery_s": recovery_s}
        append(tmp_path, case, line)
    rows = short_table(tmp_path, [FIXED, over_containers, DEFECT], "t1").splitlines()
    assert rows[3:5] == ["| scenario | defects | expected | reference | containers |", "|---|---|---|---|---|"]
    assert rows[5] == "| `kill-cloud[vanish]` | - | HOLDS | 2/2 (of 3), 2.00 (3.00) | 0/1 (of 3) |"
    assert rows[6].endswith("| BROKEN: Honest, Resumes; zombie-first-connect | 0/0 (of 2) |  |")


async def test_a_case_says_which_system_is_run_and_how_it_is_changed(tmp_path, monkeypatch):
    words: list[str] = []

    async def noted(*argv, **_):
        words.extend(argv)
        return Ended()

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    prover = Prover(tmp_path, tmp_path / "proof", "t1", 1, lambda _: None)
    prover.built = {"gobridge": "/cache/gobridge"}
    await prover._run(FIXED, tmp_path, 0)
    assert "--engine" not in words
    words.clear()
    case = Case("baseline", "HOLDS", 1, system="containers", sets=("bridge.process={gobridge}",), engine="livekit")
    await prover._run(case, tmp_path, 0)
    assert words[words.index("--engine") + 1] == "livekit"
    assert words[words.index("--system") + 1] == "containers"
    assert words[words.index("--set") + 1] == "bridge.process=/cache/gobridge"
    line = verdict_line(case, "t1", "now", 1.0, 0, said("HOLDS"), "")
    assert (line["system"], line["sets"]) == ("containers", ["bridge.process={gobridge}"])


class Ended:
    returncode = 0

    async def communicate(self):
        return b"", b""


def test_what_a_case_names_is_built_once_and_never_written_down(tmp_path, monkeypatch):
    builder = tmp_path / "made_up_builder.py"
    builder.write_text("print('building')\nprint(__file__)")
    monkeypatch.setattr(built, "MAKER", "made_up_builder")
    cases = [replace(FIXED, sets=("bridge.process={gobridge}",)), FIXED]
    assert build_what_is_named([FIXED], tmp_path) == {}
    where = build_what_is_named(cases, tmp_path)
    assert where == {"gobridge": str(builder)}
    assert filled_in("bridge.process={gobridge} {self.grpc}", where) == f"bridge.process={builder} {{self.grpc}}"
    text = f"{builder} exited 7; see {tmp_path}/runs/x"
    assert without_places(text, where, tmp_path) == "{gobridge} exited 7; see runs/x"
    builder.write_text("print(__file__)\nraise SystemExit('no Go here')")
    with pytest.raises(MachineError, match="saw no Go here; run python -m made_up_builder gobridge by hand"):
        build_what_is_named(cases, tmp_path)
