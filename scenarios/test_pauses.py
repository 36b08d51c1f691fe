"""A part stands still and goes on, or is asked to end in mid-sentence: its connections never broke by themselves."""

from harness import Pause, Restart, always, bounded_loss, honest, resumes, scenario, timely

UNTOLD_S = 7
"""A pause of the bridge is this much longer than what Honest leaves untold."""
CLOUD_STANDS_S = 5
"""Longer than the bridge's send timeout (2 s), and than a phone may be left without a pong in the short profile."""
LOW_S = 1
"""From the bridge's end to its new start."""
ASKED_S = 10
"""A bridge that was asked to end has ended after this, whatever streams are open."""


@scenario("pause-bridge")
async def test_captions_resume_after_the_bridge_stood_still(rig):
    """The bridge stands still (SIGSTOP) for 7 s more than may go untold, and goes on; the wearer does nothing.

    Meanwhile the wearer is told. Captions are back within 6 s (10 s with real timers) of its going on, and not of
    old audio: at most 5 s late.
    """
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow)

        async with r.fault(Pause("bridge")):
            await r.wait(r.budget.resumes_s + UNTOLD_S, "longer than may go untold")

        await r.recovered(alice.flow, within_s=r.budget.resumes_s, anchor="heal")
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(),
        bounded_loss(steady_ms=0, impact_ms=(2 * r.budget.resumes_s + UNTOLD_S) * 1000),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip


@scenario("pause-cloud")
async def test_captions_resume_after_the_cloud_stood_still(rig):
    """The cloud stands still (SIGSTOP) for 5 s and goes on; the phone talks through it and may have to dial anew.

    Captions are back within 6 s (10 s with real timers) of its going on, or of the new socket where the cloud, which
    saw no pong for as long, closes the old one as it wakes; and they are at most 5 s late.
    """
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow)

        async with r.fault(Pause("cloud")):
            await r.wait(CLOUD_STANDS_S, "longer than the bridge waits for a chunk to be taken")

        await r.recovered(alice.flow, within_s=r.budget.resumes_s, anchor="back")
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(),
        bounded_loss(steady_ms=0, impact_ms=(CLOUD_STANDS_S + r.budget.retry_s + r.budget.resumes_s) * 1000),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip


@scenario("bridge-sigterm-with-stream-open")
async def test_a_bridge_that_is_asked_to_end_ends_and_captions_come_back(rig):
    """The bridge is asked to end (SIGTERM) in mid-sentence and is started again a second after its end.

    It ends by itself within 10 s. Captions are back within 6 s (10 s with real timers) of its being ready.
    """
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow)

        await r.strike(Restart("bridge", away_s=LOW_S, gone_within_s=ASKED_S))

        await r.recovered(alice.flow, within_s=r.budget.resumes_s, anchor="heal")
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(),
        bounded_loss(steady_ms=0, impact_ms=(ASKED_S + LOW_S + r.budget.restart_s + r.budget.resumes_s) * 1000),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip
