"""The phone goes away and comes back inside the grace: the incident itself."""

from harness import SocketClosed, SocketDropped, always, bounded_loss, honest, resumes, scenario, timely

AWAY = {
    f"{how}-{seconds}s": (fault, seconds)
    for how, fault in (("1001", SocketClosed("alice", code=1001)), ("1006", SocketDropped("alice")))
    for seconds in (2, 6, 14)
}
"""Close code and seconds away, in production seconds of a 60 s grace."""


@scenario("reconnect-within-grace", away=AWAY)
async def test_captions_go_on_after_a_reconnect_within_the_grace(rig, away):
    """The phone's socket closes (1001) or drops (1006) and is back after 2, 6 or 14 s of a 60 s grace.

    Captions of what is spoken after the new socket come within 6 s (10 s with real timers).
    """
    fault, seconds = away
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow)

        async with r.fault(fault):
            await r.wait(r.scaled(seconds), f"away for {seconds} s of a 60 s grace")

        await r.recovered(alice.flow, within_s=r.budget.resumes_s)
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(),
        bounded_loss(steady_ms=0, impact_ms=(r.scaled(seconds) + r.budget.resumes_s) * 1000),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip
