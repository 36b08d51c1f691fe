"""What the bridge was left with before anybody came."""

from harness import PlantSession, always, bounded_loss, honest, resumes, scenario, timely


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
