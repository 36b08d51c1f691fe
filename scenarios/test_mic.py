"""The microphone's state is the cloud's to say; a phone that starts anew knows nothing of it."""

from harness import ForceQuit, always, bounded_loss, honest, resumes, scenario, timely

AWAY_S = 15
"""In seconds of a 60 s grace: the session, its app and its STT stream live on meanwhile."""


@scenario("force-quit-within-grace")
async def test_captions_go_on_after_the_phone_is_opened_anew_within_the_grace(rig):
    """Alice force-quits the app and opens it anew after 15 s of a 60 s grace: a new process, its microphone off.

    The cloud switches it on again, and captions are back within 6 s of the phone's socket (10 s with real timers).
    """
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow)

        async with r.fault(ForceQuit("alice")):
            await r.wait(r.scaled(AWAY_S), f"the phone is off for {AWAY_S} s of a 60 s grace")

        await r.recovered(alice.flow, within_s=r.budget.resumes_s)
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(), bounded_loss(steady_ms=0, impact_ms=r.budget.resumes_s * 1000),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip
