"""The same stories over containers: LiveKit, bridge and cloud as images, each a container of the run's own network."""

import pytest

from harness.events import Gate, Leftover
from harness.history import History

pytestmark = [pytest.mark.container, pytest.mark.usefixtures("engine")]

REFUSE = "bridge:refuse-existing-session"
STORIES = {
    "baseline": [],
    "force-quit-restart-cloud[vanish]": ["zombie"],
    "force-quit-restart-cloud[kill]": ["none"],
    "force-quit-restart-cloud[restart]": ["none"],
    "kill-cloud[vanish]": ["zombie"],
    "kill-cloud[kill]": ["none"],
    "kill-cloud[restart]": ["none"],
    "zombie-on-first-connection": ["zombie"],
    "reconnect-within-grace[1001-2s]": [],
    "reconnect-within-grace[1001-6s]": [],
    "reconnect-within-grace[1001-14s]": [],
    "reconnect-within-grace[1006-2s]": [],
    "reconnect-within-grace[1006-6s]": [],
    "reconnect-within-grace[1006-14s]": [],
    "pause-bridge": [],
    "pause-cloud": [],
    "bridge-sigterm-with-stream-open": [],
    "neighbour-unharmed[leave]": [],
    "neighbour-unharmed[replace]": [],
    "stt-drops": [],
    "stt-down-at-subscribe": [],
    "app-drops[cut]": [],
    "app-drops[crash]": [],
    "app-down-while-phone-away": [],
    "force-quit-within-grace": [],
}
"""Scenario, and what its zombie gate finds in the bridge: all but those of test_containers_network.py."""


@pytest.mark.parametrize(("scenario", "zombies"), STORIES.items(), ids=list(STORIES))
async def test_a_story_comes_out_over_containers_as_over_processes(play, scenario, zombies):
    """The story holds, its gate finds what it finds over processes, all parts were containers, and none is left."""
    verdict = await play(scenario, system="containers")

    assert verdict["outcome"] == "HOLDS", verdict["report"]
    told = History.load(verdict["run_dir"])
    assert [gate.outcome for gate in told.all(Gate)] == zombies
    assert {name: part["runtime"] for name, part in verdict["tested"].items()} == dict.fromkeys(
        ("livekit", "bridge", "cloud"), "container"
    ) | {"phone": "process"}
    assert told.all(Leftover) == ()


DEFECTS = {
    "zombie-kept-and-refused": (
        "force-quit-restart-cloud[vanish]", [REFUSE], {"Resumes", "Bounded loss"}, "zombie-first-connect",
    ),
    "control": ("force-quit-restart-cloud[kill]", [REFUSE], set(), None),
    "rejoined-without-leave": (
        "reconnect-within-grace[1006-2s]", [REFUSE, "cloud:rejoin-without-leave"], {"Resumes", "Bounded loss"},
        "join-refused-existing-session",
    ),
}  # fmt: skip
"""Scenario, defects, exactly the guarantees that must be BROKEN, and the incident named first. The others: proof/."""


@pytest.mark.parametrize(("scenario", "defects", "broken", "incident"), DEFECTS.values(), ids=list(DEFECTS))
async def test_a_defect_is_caught_over_containers(play, scenario, defects, broken, incident):
    """The same guarantees are BROKEN as over processes, and the same incident is named."""
    verdict = await play(scenario, system="containers", defects=defects)

    assert {g["name"] for g in verdict["guarantees"] if g["outcome"] == "BROKEN"} == broken, verdict["report"]
    assert verdict["outcome"] == ("BROKEN" if broken else "HOLDS"), verdict["report"]
    assert next((d["incident"] for d in verdict["diagnosis"]), None) == incident, verdict["report"]
