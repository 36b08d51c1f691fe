"""The harness itself is killed by SIGKILL in the middle of a run: nothing is left, and the run beside it holds."""

import pytest

from fixtures.kill_moments import VICTIMS, kill_at


@pytest.mark.parametrize("victim", VICTIMS)
async def test_a_killed_harness_leaves_nothing_and_the_run_beside_it_holds(victim, pytestconfig, tmp_path):
    """SIGKILL at a moment drawn from the seed: nothing is left 10 s later, the other run ends HOLDS, exit 0."""
    moment = await kill_at(pytestconfig.getoption("seed"), "reference", victim, tmp_path)

    assert moment.wrong() == []


@pytest.mark.container
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("victim", VICTIMS)
async def test_a_killed_harness_leaves_no_container_either(victim, pytestconfig, tmp_path):
    """The same over containers: no container, network or rule of the run is left 10 s later."""
    moment = await kill_at(pytestconfig.getoption("seed"), "containers", victim, tmp_path)

    assert moment.wrong() == []
