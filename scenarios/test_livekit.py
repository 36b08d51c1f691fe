"""LiveKit goes away and comes back, with nothing in its memory; or only the phone cannot reach it."""

from harness import ForceQuit, Refuse, Restart, always, bounded_loss, honest, resumes, scenario, timely

ROOMLESS_S = 3
"""From the app's opening until the phone could reach its room: its first dial has failed by then."""


@scenario("restart-livekit", away_s={"1s": 1, "5s": 5, "25s": 25})
async def test_captions_resume_after_livekit_was_killed(rig, away_s):
    """LiveKit is killed in mid-sentence and is back after 1, 5 or 25 s, without its rooms; the wearer does nothing.

    Captions are back within 6 s (10 s with real timers) of its being ready. Speech is lost from the kill until then:
    at most the time away, LiveKit's start and the budget.
    """
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow)

        await r.strike(Restart("livekit", signal="KILL", away_s=away_s))

        await r.recovered(alice.flow, within_s=r.budget.resumes_s, anchor="heal")
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(),
        bounded_loss(steady_ms=0, impact_ms=(away_s + r.budget.restart_s + r.budget.resumes_s) * 1000),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip


@scenario("phone-cannot-reach-its-room")
async def test_captions_resume_once_the_phone_reaches_its_room(rig):
    """The app is force-quit and opened anew while the phone cannot reach LiveKit: its first dial to the room fails.

    3 s later it could; captions are back within 6 s (10 s with real timers) of that, with no new ACK.
    """
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow)

        async with r.fault(Refuse("phone->livekit")):
            await r.strike(ForceQuit("alice"))
            await r.wait(ROOMLESS_S, "the phone cannot reach LiveKit when it enters its room")

        await r.recovered(alice.flow, within_s=r.budget.resumes_s, anchor="heal")
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(),
        bounded_loss(steady_ms=0, impact_ms=(ROOMLESS_S + r.budget.retry_s + r.budget.resumes_s) * 1000),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip
