"""Somebody else's bridge: a wrapper that forks, does not hear SIGTERM and binds 0.0.0.0, hurt like any other part."""

import contextlib
import shlex
import sys

import pytest

from fixtures.leftovers import alive_of, holdings_of, tree_of
from harness import (
    GuaranteeBroken,
    Inconclusive,
    Pause,
    Restart,
    SocketClosed,
    Terminate,
    Vanish,
    alive,
    always,
    clean,
    intact,
    resumes,
    timely,
    unique,
)
from harness.events import ComponentStarted, Gate, Healed, Injected, Leftover
from harness.history import History
from harness.processes import look_at
from harness.settings import PROJECT_ROOT

WRAPPER = PROJECT_ROOT / "fixtures" / "strangers" / "forking-bridge"
STRANGER = (f"bridge.process={shlex.join([str(WRAPPER), sys.executable, '-m', 'harness.reference.bridge'])}",)
WRAPPED = 3
"""Processes of the stranger's bridge: the wrapper, the one in between, the bridge."""

STORIES = {
    "baseline": [],
    "force-quit-restart-cloud[vanish]": ["zombie"],
    "force-quit-restart-cloud[kill]": ["none"],
    "force-quit-restart-cloud[restart]": ["none"],
}
"""Scenario, and what its zombie gate finds in the bridge."""


@pytest.mark.parametrize(("scenario", "zombies"), STORIES.items(), ids=list(STORIES))
async def test_a_story_holds_with_a_strangers_bridge(play, scenario, zombies):
    """Somebody else's bridge, given by --set, is judged like ours; of it nothing is left."""
    verdict = await play(scenario, sets=STRANGER)
    assert verdict["outcome"] == "HOLDS", verdict["report"]
    assert verdict["tested"]["bridge"]["program"] == WRAPPER.name
    told = History.load(verdict["run_dir"])
    assert [gate.outcome for gate in told.all(Gate)] == zombies
    assert told.all(Leftover) == ()
    bridge = told.all(ComponentStarted)[1]
    assert (bridge.component, look_at(int(bridge.identity))) == ("bridge", None)


RESTARTS = {
    "killed": Restart("bridge", signal="KILL"),
    "asked-to-end": Restart("bridge"),
    "vanished-from-the-cloud": Vanish("bridge", silent=("cloud->bridge",)),
    "vanished-from-livekit": Vanish("bridge", silent=("bridge->livekit",)),
    "vanished-from-both": Vanish("bridge", silent=("cloud->bridge", "bridge->livekit")),
}


def judged_of(fault):
    """Expect Alive to be BROKEN, and nothing else, where the bridge was asked to end: it does not hear SIGTERM."""
    if fault != RESTARTS["asked-to-end"]:
        return contextlib.nullcontext()
    return pytest.raises(GuaranteeBroken, match=r"BROKEN +Alive: bridge (?s:.)*SIGTERM(?s:(?!BROKEN  ).)*\Z")


@pytest.mark.parametrize("fault", RESTARTS.values(), ids=list(RESTARTS))
async def test_a_strangers_bridge_goes_with_all_its_processes_and_comes_back(rig, fault):
    """Whatever ends the bridge ends its whole tree; what comes back is another one; at the end nothing is left."""
    async with rig(sets=STRANGER) as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow, for_s=1)
        before = tree_of(int(r.stack.live["bridge"].identity))
        assert len(before) == WRAPPED

        async with r.fault(fault):
            assert alive_of(before) == []

        after = tree_of(int(r.stack.live["bridge"].identity))
        assert len(after) == WRAPPED
        assert not after.keys() & before.keys()
        held = holdings_of(r.run, r.run_dir)
        assert held.processes.keys() >= after.keys()
    assert held.left() == [f"the lock of {r.run_dir}"], "a run lives until it is judged, and then nothing of it"
    with judged_of(fault):
        r.check(alive, intact, unique)
    assert held.left() == []
    told = History.load(r.run_dir)
    assert [i.proof.split(" exited ")[0] for i in told.all(Injected)] == [f"pid {min(before)}"]
    assert [f"(was {min(before)})" in healed.proof for healed in told.all(Healed)] == [True]


REACHED_AGAIN = {name: RESTARTS[name] for name in ("killed", "asked-to-end", "vanished-from-livekit")}
"""Where the cloud sees its connections to the bridge end, the contract has it dial again when the phone does."""


@pytest.mark.parametrize("fault", REACHED_AGAIN.values(), ids=list(REACHED_AGAIN))
async def test_captions_come_back_with_the_next_socket_after_a_strangers_bridge_came_back(rig, fault):
    """The bridge comes back, then the phone's socket is closed: captions are back within 6 s of the next one."""
    async with rig(sets=STRANGER) as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow, for_s=1)

        await r.strike(fault)
        await r.strike(SocketClosed("alice", code=1001))

        await r.recovered(alice.flow, within_s=r.budget.resumes_s)
    with judged_of(fault):
        r.check(resumes(within_s=r.budget.resumes_s), timely(lag_s=r.budget.lag_s), *always)


async def test_captions_go_on_when_a_strangers_bridge_was_paused(rig):
    """A pause stops every process of the bridge, and captions flow within 6 s of its end; nobody is replaced."""
    async with rig(sets=STRANGER) as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow, for_s=1)
        before = tree_of(int(r.stack.live["bridge"].identity))

        async with r.fault(Pause("bridge")):
            assert {process.state for process in tree_of(min(before)).values()} == {"T"}
            await r.wait(1, "the bridge stands still for a second")

        assert tree_of(min(before)).keys() == before.keys()
        assert "T" not in {process.state for process in tree_of(min(before)).values()}
        await r.strike(SocketClosed("alice", code=1001))
        await r.recovered(alice.flow, within_s=r.budget.resumes_s)
        held = holdings_of(r.run, r.run_dir)
    r.check(resumes(within_s=r.budget.resumes_s), unique, intact, alive, clean)
    assert held.left() == []


async def test_a_signal_that_a_strangers_bridge_ignores_is_no_fault(rig, verdict_of):
    """SIGTERM alone does nothing to this bridge: it is not called terminated, the verdict is UNKNOWN."""
    with pytest.raises(Inconclusive, match="bridge ignored SIGTERM for 5 s"):
        async with rig(sets=STRANGER) as r:
            alice = await r.phone("alice")
            await alice.starts_talking()
            await r.steady(alice.flow, for_s=1)
            held = holdings_of(r.run, r.run_dir)
            await r.strike(Terminate("bridge"))
    assert verdict_of(r)["outcome"] == "UNKNOWN"
    assert held.left() == []
