"""No fault at all: the control run. If captions do not flow here, no other result counts."""

from harness import always, bounded_loss, honest, resumes, scenario, timely


@scenario("baseline", baseline=True)
async def test_captions_flow_when_nothing_is_hurt(rig):
    """Captions flow within 6 s of the first connection (10 s with real timers) and go on without a loss."""
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.recovered(alice.flow, within_s=r.budget.resumes_s, watch_on=False)
        await r.steady(alice.flow)
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(), bounded_loss(steady_ms=0, impact_ms=0),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip
