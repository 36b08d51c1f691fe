"""Another run's container network beside ours: its end is nothing to a run that sends no media over it."""

import asyncio
import os
from dataclasses import dataclass
from typing import Any

import pytest

from harness import always, bounded_loss, honest, images, livekit_server, resumes, timely
from harness.clock import utc_stamp
from harness.events import AddressGone
from harness.history import History
from harness.run_lease import RunLease
from harness.runtimes.container.engine import Engine, RunNetwork, run_labels

pytestmark = [pytest.mark.container, pytest.mark.usefixtures("engine")]


@dataclass(frozen=True)
class Neighbour:
    """A network of another run with one container in it, without which this machine's interface to it is down."""

    engine: Engine
    network: RunNetwork
    container: Any

    @classmethod
    def of(cls, run: str, image: str) -> "Neighbour":
        """Make both."""
        engine = Engine()
        network = engine.make_network(run)
        container = engine.client.containers.run(
            image, ["--dev", "--bind", "0.0.0.0", "--node-ip", "127.0.0.1"], detach=True, labels=run_labels(run),
            name=f"{network.name}-livekit", network=network.name,
        )  # fmt: skip
        return cls(engine, network, container)

    def go(self) -> None:
        """Remove both, as the end of a run does; a second time nothing is left to remove."""
        for found in self.engine.client.containers.list(all=True, filters={"id": self.container.id}):
            found.remove(force=True)
        for found in self.engine.client.networks.list(ids=[self.network.id]):
            found.remove()


@pytest.fixture
async def neighbour(tmp_path):
    """Give a neighbour that is up, and whose run counts as living."""
    await livekit_server.find_or_build(None, print)
    image = (await images.made_ready({"livekit": images.LIVEKIT}, None, print))["livekit"]
    run = f"neighbour-{utc_stamp()}-{os.getpid()}"
    lease = RunLease.take(run, tmp_path)
    made = await asyncio.to_thread(Neighbour.of, run, image)
    yield made
    await asyncio.to_thread(made.go)
    made.engine.close()
    lease.close()


async def test_a_neighbours_network_may_go_in_the_middle_of_a_story(rig, neighbour):
    """While alice talks, this machine loses another run's network: not a frame of hers is lost."""
    async with rig(system="reference") as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.recovered(alice.flow, within_s=r.budget.resumes_s, watch_on=False)
        await r.steady(alice.flow)
        r.step("the neighbour's container and network go")
        await asyncio.to_thread(neighbour.go)
        await r.wait(3.0, "talking on without the neighbour")
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(), bounded_loss(steady_ms=0, impact_ms=0),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip
    gone = [e.address for e in History.load(r.run_dir).all(AddressGone)]
    assert neighbour.network.gateway in gone
