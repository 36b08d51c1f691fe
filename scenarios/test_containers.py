"""The same stories over containers: LiveKit, bridge and cloud as images, each a container of the run's own network."""

from pathlib import Path

import pytest

from harness.events import Gate, Leftover
from harness.history import History
from harness.story import registry

pytestmark = [pytest.mark.container, pytest.mark.usefixtures("engine")]

REFUSE = "bridge:refuse-existing-session"
WHOLE = {"baseline", "cloud"}
"""The files whose stories are played by every variant: the incident's own."""
FIRST = {"bridge", "links", "livekit", "packets", "pauses", "signalling", "streams"}
"""Those of which the first variant is: where it matters that parts are elsewhere. proof/ has all stories."""


def stories() -> list[str]:
    """Return their ids."""
    found: list[str] = []
    for info in registry().values():
        file = Path(info.path).stem.removeprefix("test_")
        found += info.usual_ids() if file in WHOLE else info.ids()[:1] if file in FIRST else ()
    return found


GATES = {
    "force-quit-restart-cloud[vanish]": ["zombie"],
    "force-quit-restart-cloud[kill]": ["none"],
    "force-quit-restart-cloud[restart]": ["none"],
    "kill-cloud[vanish]": ["zombie"],
    "kill-cloud[kill]": ["none"],
    "kill-cloud[restart]": ["none"],
    "zombie-on-first-connection": ["zombie"],
}
"""Scenario, and what its zombie gate finds in the bridge; the others ask none, or a bridge that is new itself."""


def pytest_generate_tests(metafunc):
    """Ask for the list when every scenario file, this one too, is imported."""
    if metafunc.definition.name == "test_a_story_comes_out_over_containers_as_over_processes":
        metafunc.parametrize("scenario", stories())


async def test_a_story_comes_out_over_containers_as_over_processes(play, scenario):
    """The story holds, its gate finds what it finds over processes, all parts were containers, and none is left."""
    verdict = await play(scenario, system="containers")

    assert verdict["outcome"] == "HOLDS", verdict["report"]
    told = History.load(verdict["run_dir"])
    if scenario in GATES:
        assert [gate.outcome for gate in told.all(Gate)] == GATES[scenario]
    runtimes = {name.partition(" of ")[0]: part["runtime"] for name, part in verdict["tested"].items()}
    assert runtimes == dict.fromkeys(("livekit", "bridge", "cloud"), "container") | {"phone": "process"}
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
