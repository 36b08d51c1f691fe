"""A bridge that nobody tuned the harness to: another language, another LiveKit SDK, written from the contract alone."""

from pathlib import Path

import pytest

from fixtures.gobridge import SOURCE, left_out, sources, unformatted
from harness import Inconclusive, Restart, SocketClosed, Terminate, Vanish, always, resumes, timely
from harness.errors import MachineError
from harness.events import ComponentStarted, Gate, Leftover
from harness.history import History
from harness.processes import look_at, processes_of
from harness.settings import PROJECT_ROOT
from harness.story import registry

pytestmark = pytest.mark.timeout(900)  # the first of them builds it
BACKGROUND = PROJECT_ROOT / "fixtures" / "strangers" / "background"
HAND_WRITTEN_LINES = 300
MEND_OFF = "bridge.env.REFUSE_EXISTING=1"
VANISH, KILL = "force-quit-restart-cloud[vanish]", "force-quit-restart-cloud[kill]"
MEETS_A_BRIDGE = {"baseline", "bridge", "cloud", "links", "pauses", "streams"}
"""The files of stories in which a bridge has something to do beyond its everyday work; proof/ has all of them."""
ZOMBIE = "zombie-first-connect"
SILENT = {"Resumes", "Bounded loss"}
DIFFERS = {
    "bridge-sigterm-with-stream-open": ({"Alive"}, "bridge-sigterm-hangs"),
    "second-stream-on-one-session": ({"Bounded loss"}, "two-streams-split-audio"),
}
"""What it does not pass, and why: as with the real bridge, its graceful stop waits for open streams, and two streams of
one session share a queue."""


def pytest_generate_tests(metafunc):
    """Give each by its first variant (proof/ has the others), once every file, this one too, is imported."""
    if "every_scenario" in metafunc.fixturenames:
        files = {f"test_{name}.py" for name in MEETS_A_BRIDGE}
        found = [info.ids()[0] for info in registry().values() if Path(info.path).name in files]
        metafunc.parametrize("every_scenario", found)


def broken(verdict):
    """Return the names of the guarantees that do not hold."""
    return {g["name"] for g in verdict["guarantees"] if g["outcome"] == "BROKEN"}


async def test_a_story_holds_with_the_go_bridge(play, gobridge, every_scenario):
    """Every story holds with a bridge that does what the contract says, but for what the contract itself gets wrong.

    Nothing of it is left.
    """
    verdict = await play(every_scenario, sets=[f"bridge.process={gobridge}"])
    wrong, incident = DIFFERS.get(every_scenario, (set(), None))
    assert broken(verdict) == wrong, verdict["report"]
    assert verdict["outcome"] == ("BROKEN" if wrong else "HOLDS"), verdict["report"]
    assert [d["incident"] for d in verdict["diagnosis"]][:1] == ([incident] if incident else []), verdict["report"]
    assert verdict["tested"]["bridge"]["program"] == gobridge.name
    assert History.load(verdict["run_dir"]).all(Leftover) == ()


@pytest.mark.parametrize(
    ("scenario", "gates", "wrong", "incident"),
    [
        (VANISH, ["zombie"], SILENT, ZOMBIE),
        ("kill-cloud[vanish]", ["zombie"], SILENT, ZOMBIE),
        ("zombie-on-first-connection", ["zombie"], SILENT, ZOMBIE),
        (KILL, ["none"], set(), None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_the_go_bridge_without_the_mend_is_caught(play, gobridge, scenario, gates, wrong, incident):
    """A JoinRoom that refuses a user with a session is found out where a zombie is, and only there."""
    verdict = await play(scenario, sets=[f"bridge.process={gobridge}", MEND_OFF])
    assert broken(verdict) == wrong, verdict["report"]
    assert verdict["outcome"] == ("BROKEN" if wrong else "HOLDS"), verdict["report"]
    named = [d["incident"] for d in verdict["diagnosis"]] + [f["incident"] for f in verdict["findings"]]
    assert (named[0] if named else None) == incident, verdict["report"]
    assert [gate.outcome for gate in History.load(verdict["run_dir"]).all(Gate)] == gates


@pytest.mark.container
@pytest.mark.parametrize(
    ("scenario", "system"),
    [
        ("baseline", "reference"),
        (VANISH, "reference"),
        (VANISH, "containers"),
        ("bridge-network-gone[udp-drop]", "containers"),
        ("bridge-network-gone[disconnect]", "containers"),
    ],
)
async def test_a_story_holds_with_the_go_bridge_given_only_as_image(play, gobridge_in_image, scenario, system):
    """An image of the bridge is judged like any other, beside parts that run as processes or all in containers."""
    verdict = await play(scenario, system=system, sets=[f"bridge.image={gobridge_in_image}"])
    assert verdict["outcome"] == "HOLDS", verdict["report"]
    assert verdict["tested"]["bridge"]["image"] == gobridge_in_image
    assert History.load(verdict["run_dir"]).all(Leftover) == ()


@pytest.mark.parametrize("scenario", ["baseline", VANISH])
async def test_a_story_holds_with_the_go_bridge_given_only_as_commands(play, gobridge, scenario):
    """Two commands, one that puts the bridge into the background and one that kills it, are enough."""
    pid_file = "{scratch.dir}/bridge.pid"
    start = f"bridge.commands.start={BACKGROUND} {pid_file} {gobridge}"
    verdict = await play(scenario, sets=[start, f"bridge.commands.kill=sh -c 'kill -9 $(cat {pid_file})'"])
    assert verdict["outcome"] == "HOLDS", verdict["report"]
    told = History.load(verdict["run_dir"])
    assert told.all(Leftover) == ()
    assert look_at(int(next(e.identity for e in told.all(ComponentStarted) if e.component == "bridge"))) is None


async def test_the_go_bridge_does_not_end_by_sigterm_while_a_stream_is_open(rig, gobridge, verdict_of):
    """A graceful stop waits for the cloud's stream, which stays: SIGTERM is no fault here, and says so; it is ended."""
    with pytest.raises(Inconclusive, match="bridge ignored SIGTERM for 5 s"):
        async with rig(sets=[f"bridge.process={gobridge}"]) as r:
            alice = await r.phone("alice")
            await alice.starts_talking()
            await r.steady(alice.flow, for_s=1)
            await r.strike(Terminate("bridge"))
    assert verdict_of(r)["outcome"] == "UNKNOWN"
    assert processes_of(r.run) == []


@pytest.mark.parametrize("fault", [Restart("bridge", signal="KILL"), Vanish("bridge", silent=("bridge->livekit",))])
async def test_captions_come_back_after_the_go_bridge_did(rig, gobridge, fault):
    """The bridge is killed and comes back, then the phone's socket is closed: captions are back with the next one."""
    async with rig(sets=[f"bridge.process={gobridge}"]) as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow, for_s=1)
        await r.strike(fault)
        await r.strike(SocketClosed("alice", code=1001))
        await r.recovered(alice.flow, within_s=r.budget.resumes_s)
    r.check(resumes(within_s=r.budget.resumes_s), timely(lag_s=r.budget.lag_s), *always)


def written():
    """Return the Go files that a person wrote."""
    return [path for path in sources() if path.parent == SOURCE and path.suffix == ".go"]


def test_the_go_bridge_is_small():
    """What a person wrote of it fits 300 lines."""
    assert sum(len(path.read_text().splitlines()) for path in written()) <= HAND_WRITTEN_LINES


async def test_the_go_bridge_is_formatted():
    """It is as the gofmt of the Go that builds it would have it: skip without one, fail in CI."""
    try:
        changed = await unformatted(written())
    except MachineError as missing:
        left_out(str(missing))
    assert changed == ""
