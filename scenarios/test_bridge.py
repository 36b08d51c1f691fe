"""The bridge goes and comes back, was left with a session before anybody came, or finds no LiveKit."""

from harness import Down, PlantSession, Restart, always, bounded_loss, honest, resumes, scenario, timely

UNTOLD_S = 2
"""From alice's first connection to LiveKit's coming up it takes this much longer than what may go untold."""


@scenario("zombie-on-first-connection", checklist=True)
async def test_captions_flow_on_a_first_connection_that_meets_a_zombie(rig):
    """Method 3: a session of alice is already in the bridge when she connects for the first time.

    Captions flow within 6 s of the ACK (10 s with real timers).
    """
    async with rig() as r:
        await r.strike(PlantSession("alice"))

        alice = await r.phone("alice")
        await alice.starts_talking()

        await r.recovered(alice.flow, within_s=r.budget.resumes_s, anchor="ack")
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(), bounded_loss(steady_ms=0, impact_ms=r.budget.resumes_s * 1000),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip


@scenario("kill-bridge", away_s={"1s": 1, "4s": 4, "10s": 10})
async def test_captions_resume_after_the_bridge_was_killed(rig, away_s):
    """The bridge is killed in mid-sentence and is back after 1, 4 or 10 s; the wearer does nothing.

    Captions are back within 6 s (10 s with real timers) of its being ready. Speech is lost from the kill until then:
    at most the time away, the bridge's start and the budget.
    """
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow)

        await r.strike(Restart("bridge", signal="KILL", away_s=away_s))

        await r.recovered(alice.flow, within_s=r.budget.resumes_s, anchor="heal")
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(),
        bounded_loss(steady_ms=0, impact_ms=(away_s + r.budget.restart_s + r.budget.resumes_s) * 1000),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip


@scenario("livekit-down-at-connect")
async def test_captions_come_when_livekit_was_down_at_the_first_connection(rig):
    """LiveKit is down when alice opens the app and talks, and comes up 2 s after what may go untold.

    Meanwhile she is told. Captions flow within 6 s (10 s with real timers) of its being ready; nothing was owed before.
    """
    async with rig() as r:
        async with r.fault(Down("livekit")):
            alice = await r.phone("alice")
            await alice.starts_talking()
            await r.wait(r.budget.resumes_s + UNTOLD_S, "LiveKit is down while alice connects and talks")

        await r.recovered(alice.flow, within_s=r.budget.resumes_s, anchor="heal")
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(),
        bounded_loss(
            steady_ms=0, impact_ms=(UNTOLD_S + r.budget.restart_s + 2 * r.budget.resumes_s) * 1000
        ),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip
