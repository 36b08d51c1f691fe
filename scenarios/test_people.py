"""More than one phone, and more than one thing at once."""

from harness import Down, ForceQuit, Together, always, bounded_loss, honest, resumes, scenario, timely

SYSTEM = (Down("cloud"), Down("bridge"), Down("livekit"))
"""Killed in this order, started again in the other."""


@scenario(
    "everything-restarts",
    fault={"phone-alive": Together(SYSTEM), "force-quit": Together((ForceQuit("alice"), *SYSTEM))},
)
async def test_captions_come_back_after_everything_restarted(rig, fault):
    """Cloud, bridge and LiveKit are killed and started again; the phone lives through it, or is opened anew after it.

    Captions are back within 6 s of the phone's socket (10 s with real timers). Speech is lost from the first kill until
    then: at most three restarts, one dial interval and the budget.
    """
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow)

        await r.strike(fault)

        await r.recovered(alice.flow, within_s=r.budget.resumes_s)
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(),
        bounded_loss(steady_ms=0, impact_ms=(3 * r.budget.restart_s + r.budget.retry_s + r.budget.resumes_s) * 1000),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip


@scenario("two-phones-one-user")
async def test_the_newer_of_two_phones_has_the_captions(rig):
    """Alice puts her phone down and opens the app on a tablet, as the same user; the phone stays on.

    The newer socket wins: captions of what she says to the tablet come within 6 s (10 s with real timers) of its ACK,
    and from then on nothing is lost: the older phone, whose place in the room is taken, does not fight for it.
    """
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.recovered(alice.flow, within_s=r.budget.resumes_s, anchor="ack")
        await alice.stops_talking()

        tablet = await r.phone("alice-tablet", user="alice")
        await tablet.starts_talking()

        await r.recovered(tablet.flow, within_s=r.budget.resumes_s, anchor="ack")
        await r.wait(r.budget.resumes_s, "talking on beside the older phone: it must not take its place back")
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(), bounded_loss(steady_ms=0, impact_ms=0),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip
