"""The same stories over containers: LiveKit, bridge and cloud as images, started through Testcontainers."""

import pytest


@pytest.mark.container
@pytest.mark.usefixtures("engine")
async def test_captions_flow_when_the_system_runs_in_containers(play):
    """The baseline holds in containers exactly as it does in processes."""
    verdict = await play("baseline", system="containers")

    assert verdict["outcome"] == "HOLDS", verdict["report"]
