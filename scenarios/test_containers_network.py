"""A container's own network fails: packets lost without a word, the network taken away and given back."""

import re
from itertools import groupby

import pytest

from harness import Inconclusive, NetDisconnect, NetDrop, always, bounded_loss, honest, resumes, scenario, timely
from harness.errors import FaultNotSupported
from harness.events import ContainerEvent, Healed, Injected
from harness.history import History

FAULTS = {"udp-drop": NetDrop("bridge", "udp"), "disconnect": NetDisconnect("bridge")}


@scenario("bridge-network-gone", way=FAULTS)
async def test_captions_come_back_when_the_bridges_network_does(rig, way):
    """The bridge's network is gone for 2 s while alice talks: captions are back within 6 s (10 s with real timers)."""
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow)

        async with r.fault(way):
            await r.wait(2.0, "the bridge's network is gone")

        await r.recovered(alice.flow, within_s=r.budget.resumes_s, anchor="heal")
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(), bounded_loss(steady_ms=0, impact_ms=r.budget.resumes_s * 1000),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip


@pytest.mark.container
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    ("way", "proof"), [("udp-drop", r"rules removed, [1-9]\d* packets dropped"), ("disconnect", "")], ids=list(FAULTS)
)
async def test_a_container_loses_its_network_for_real(play, way, proof):
    """Over containers both ways hold; the packets were counted, or the address and the name were seen to be back."""
    verdict = await play(f"bridge-network-gone[{way}]", system="containers")

    assert verdict["outcome"] == "HOLDS", verdict["report"]
    history = History.load(verdict["run_dir"])
    lost, healed = history.first(Injected), history.first(Healed)
    assert lost is not None
    assert healed is not None
    assert re.search(
        proof or rf"is {address_of(lost)} on {re.escape(network_of(lost))} again, named bridge", healed.proof
    )
    told = [e.action for e in history.all(ContainerEvent) if e.component == "bridge" and "connect" in e.action]
    told = [action for action, _ in groupby(told)]  # Docker tells of one disconnect twice
    assert told[:3] == (["connect", "disconnect", "connect"] if way == "disconnect" else ["connect", "disconnect"])


@pytest.mark.container
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("way", list(FAULTS))
async def test_a_bridge_that_stays_deaf_is_caught(play, way):
    """A bridge that never hears again after the gap, and looks healthy, is BROKEN where nobody watches for silence."""
    deaf = ["bridge:deaf-after-gap", "cloud:no-gap-detector"]
    verdict = await play(f"bridge-network-gone[{way}]", system="containers", defects=deaf)
    broken = {g["name"] for g in verdict["guarantees"] if g["outcome"] == "BROKEN"}
    assert broken == {"Resumes", "Bounded loss"}, verdict["report"]  # the cloud tells that no audio comes
    assert verdict["diagnosis"][0]["incident"] == "silent-audio-gap", verdict["report"]


@pytest.mark.container
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("way", list(FAULTS))
async def test_a_cloud_that_watches_for_silence_mends_a_deaf_bridge(play, way):
    """The same bridge with a cloud that joins anew after a gap HOLDS."""
    verdict = await play(f"bridge-network-gone[{way}]", system="containers", defects=["bridge:deaf-after-gap"])
    assert verdict["outcome"] == "HOLDS", verdict["report"]


def address_of(lost: Injected) -> str:
    """Return the address that the bridge had before it was taken off its network."""
    return lost.proof.rpartition(" ")[2]


def network_of(lost: Injected) -> str:
    """Return the name of the network it was taken off."""
    return lost.proof.partition(" is off ")[2].partition(",")[0]


async def test_a_process_keeps_its_network_and_the_skip_says_why(rig):
    """Without containers the story is skipped, by a sentence that names the component, how it runs and what is not."""
    async with rig(system="reference") as r:
        for fault, cannot in (
            (NetDrop("bridge"), "its packets cannot be dropped there"),
            (NetDisconnect("bridge"), "it cannot be taken off its network there"),
        ):
            with pytest.raises(FaultNotSupported, match=f"bridge runs as process: {cannot}"):
                await r.strike(fault)
    with pytest.raises(Inconclusive):  # a story in which nobody spoke
        r.check()
