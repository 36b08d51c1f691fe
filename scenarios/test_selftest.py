"""The harness never trusts itself: defects must be caught for the stated reason, and what cannot be told is UNKNOWN."""

import asyncio
import contextlib
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from harness import (
    Blackhole,
    Cut,
    CutAfter,
    Drop,
    FaultDidNotLand,
    GuaranteeBroken,
    Hang,
    Inconclusive,
    Landed,
    When,
    always,
    bounded_loss,
    contained,
    honest,
    request,
    resumes,
    timely,
)
from harness.checkers.judging import judge
from harness.checkers.wire import without_logs
from harness.history import History
from harness.processes import processes_of
from harness.rig.people import Person
from scenarios.caught import SUITE

IDS = ["+".join([scenario, *(word.partition(":")[2] for word in defects)]) for scenario, defects, *_ in SUITE]
"""Equal in every process, as running side by side needs: a set would be written in an order of its own in each."""


@pytest.mark.parametrize(("scenario", "defects", "broken", "incident"), SUITE, ids=IDS)
async def test_a_defect_is_caught_for_the_stated_reason(play, scenario, defects, broken, incident):
    """Exactly these guarantees are BROKEN, and the incident is named; without a broken one the story HOLDS."""
    verdict = await play(scenario, defects=defects)
    assert {g["name"] for g in verdict["guarantees"] if g["outcome"] == "BROKEN"} == broken, verdict["report"]
    assert verdict["outcome"] == ("BROKEN" if broken else "HOLDS"), verdict["report"]
    named = [d["incident"] for d in verdict["diagnosis"]] + [f["incident"] for f in verdict["findings"]]
    assert (named[0] if named else None) == incident, verdict["report"]
    assert named_without_logs(verdict["run_dir"]) == incident, "by the wire alone"
    assert await exit_code_of_check(verdict["run_dir"]) == (1 if broken else 0)


def named_without_logs(run_dir):
    """Judge what a run recorded but for the logs of bridge and cloud; return the incident named first."""
    judgement = judge(without_logs(History.load(Path(run_dir))))
    named = [found.incident for found in (*judgement.diagnosis, *judgement.findings)]
    return named[0] if named else None


async def exit_code_of_check(run_dir):
    """Judge a run directory once more, by the command."""
    command = [sys.executable, "-m", "harness", "check", str(run_dir)]
    quiet = asyncio.subprocess.DEVNULL
    return await (await asyncio.create_subprocess_exec(*command, stdout=quiet, stderr=quiet)).wait()


ALL = (resumes(within_s=6), honest(), bounded_loss(steady_ms=0, impact_ms=6000), timely(lag_s=5), *always)


@dataclass(frozen=True)
class Nothing:
    """A fault that cannot land."""

    target = "cloud"
    blast = ("cloud",)
    heals = False

    def missing(self, scene):
        """Claim that it can be used."""
        assert scene.has("cloud")

    async def inject(self, scene) -> Landed:
        """Never land."""
        raise FaultDidNotLand(f"nothing happened to {scene.running('cloud').identity}")

    async def heal(self, scene) -> str:
        """Never be asked."""
        raise AssertionError(scene)


async def test_a_fault_that_cannot_land_is_unknown(rig, verdict_of):
    """A fault without proof gives UNKNOWN, never a pass."""
    with pytest.raises(Inconclusive, match="did not land"):
        async with rig() as r:
            alice = await r.phone("alice")
            await alice.starts_talking()
            await r.steady(alice.flow, for_s=1)
            await r.strike(Nothing())
    verdict = verdict_of(r)
    assert verdict["outcome"] == "UNKNOWN"
    assert verdict["preconditions"][0].startswith("Nothing() has no proof: nothing happened to")


async def test_a_pattern_that_meets_no_packet_is_unknown(rig, verdict_of):
    """A fault on packets that hurt none of them did not land."""
    with pytest.raises(Inconclusive, match="did not land"):
        async with rig() as r:
            alice = await r.phone("alice")
            await alice.starts_talking()
            await r.steady(alice.flow, for_s=1)
            async with r.fault(Drop("alice", pattern="0000")):
                await r.wait(1, "25 packets pass, and none is dropped")
    verdict = verdict_of(r)
    assert verdict["outcome"] == "UNKNOWN"
    assert "none of alice's packets was hurt" in verdict["preconditions"][0]


async def test_a_trigger_that_never_fires_is_unknown(rig, verdict_of):
    """What waited for a moment that did not come was never struck: UNKNOWN, and which moment."""
    with pytest.raises(Inconclusive, match="never fired"):
        async with rig() as r:
            alice = await r.phone("alice")
            await alice.starts_talking()
            await r.steady(alice.flow, for_s=1)
            async with r.fault(When("cloud->bridge", request("PlayAudio"), Cut("cloud->bridge"), within_s=0.5)):
                r.step("nobody plays anything")
    verdict = verdict_of(r)
    assert verdict["outcome"] == "UNKNOWN"
    assert "no request PlayAudio passed cloud->bridge" in verdict["preconditions"][0]


async def test_a_hang_that_nobody_met_is_unknown(rig, verdict_of):
    """A method that nobody called did not hang."""
    with pytest.raises(Inconclusive, match="did not land"):
        async with rig() as r:
            alice = await r.phone("alice")
            await alice.starts_talking()
            await r.steady(alice.flow, for_s=1)
            async with r.fault(Hang("PlayAudio")):
                r.step("nobody plays anything")
    verdict = verdict_of(r)
    assert verdict["outcome"] == "UNKNOWN"
    assert "nobody called PlayAudio" in verdict["preconditions"][0]


async def test_a_hole_in_an_idle_link_is_unknown(rig, verdict_of):
    """Nothing had waited when the hole was closed, so nothing was shown: UNKNOWN, and why."""
    with pytest.raises(Inconclusive, match="did not land"):
        async with rig() as r:
            alice = await r.phone("alice")
            await alice.starts_talking()
            await r.steady(alice.flow, for_s=1)
            async with r.fault(Blackhole("cloud->app")):
                await r.wait(0.5, "the cloud has nothing to tell the app's webhook")
    verdict = verdict_of(r)
    assert verdict["outcome"] == "UNKNOWN"
    assert "idle link: nothing waited in cloud->app" in verdict["preconditions"][0]


async def test_a_cut_at_a_count_that_is_never_reached_is_unknown(rig, verdict_of):
    """Nobody carries so many bytes in time, so nothing was cut: UNKNOWN, and why."""
    with pytest.raises(Inconclusive, match="did not land"):
        async with rig() as r:
            alice = await r.phone("alice")
            await alice.starts_talking()
            await r.steady(alice.flow, for_s=1)
            await r.strike(CutAfter("phone->cloud", "to-target", bytes=10_000_000, within_s=0.5))
    verdict = verdict_of(r)
    assert verdict["outcome"] == "UNKNOWN"
    assert "no connection of phone->cloud carried 10000000 bytes to-target within 0.5 s" in verdict["preconditions"][0]


async def test_a_story_that_is_not_steady_is_unknown(rig, verdict_of, monkeypatch):
    """Somebody who never talks gives no steady state, so nothing is concluded."""
    monkeypatch.setattr("harness.rig.pacing.STEADY_COMES_WITHIN_S", 3.0)
    with pytest.raises(Inconclusive, match="not steady"):
        async with rig() as r:
            alice = await r.phone("alice")
            await r.steady(alice.flow, for_s=1)
    assert verdict_of(r)["outcome"] == "UNKNOWN"


@pytest.mark.xdist_group("lag")  # both measure this machine: never side by side
@pytest.mark.parametrize(("stall_ms", "outcome"), [(300, "HOLDS"), (800, "UNKNOWN")])
async def test_a_lagging_harness_is_unknown(rig, verdict_of, stall_ms, outcome):
    """A harness whose own loop stood still for longer than 500 ms does not judge; a shorter stall changes nothing."""
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.recovered(alice.flow, within_s=r.budget.resumes_s, watch_on=False)
        await r.steady(alice.flow, for_s=1)
        time.sleep(stall_ms / 1000)  # noqa: ASYNC251  the point: our own loop stands still
        await r.steady(alice.flow, for_s=3)
    with contextlib.suppress(Inconclusive):
        r.check(*ALL)
    verdict = verdict_of(r)
    assert verdict["outcome"] == outcome, verdict["report"]
    assert [p.partition(" itself was ")[0] for p in verdict["preconditions"]] == (["rig"] if stall_ms > 500 else [])


async def test_a_voice_in_somebody_elses_room_is_broken(rig, verdict_of, monkeypatch):
    """Bob's phone shows the cloud alice's token: he talks in her room, into her captions, and it is said where."""
    own_token = Person.core_token

    def alices_token(self, secret):
        return own_token(replace(self, user_id="alice@example.com"), secret)

    monkeypatch.setattr(Person, "core_token", alices_token)
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow)
        bob = await r.phone("bob")
        await bob.starts_talking()
        await r.wait(5, "bob talks in her room")
    with pytest.raises(GuaranteeBroken):
        r.check(contained)
    contained_row = verdict_of(r)["guarantees"][0]
    assert contained_row["outcome"] == "BROKEN"
    heard = {row["where"] for row in contained_row["evidence"] if row["text"].startswith("bob was heard")}
    assert {"sfu", "cloud-in", "app-in"} <= heard, contained_row


async def test_a_story_that_raises_leaves_nothing_running(rig, verdict_of):
    """A story that raises in the middle is torn down like any other."""
    with pytest.raises(ZeroDivisionError):
        async with rig() as r:
            await r.phone("alice")
            _ = 1 / 0
    assert processes_of(r.run) == []
    verdict = verdict_of(r)
    assert verdict["outcome"] == "UNKNOWN"
    assert "ZeroDivisionError" in verdict["report"]
