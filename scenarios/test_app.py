"""The captions app goes away and comes back: by itself, by the cloud's webhook, or with the phone."""

from harness import AppCrash, Cut, SocketDropped, always, bounded_loss, honest, resumes, scenario, timely

WAYS = {"cut": Cut("app->cloud"), "crash": AppCrash()}
"""Its socket is cut, and its SDK dials again after 1 s; or it dies, and knows nothing until the cloud calls."""

AWAY_S = 24
"""In seconds of a 60 s grace: longer than the app's own grace and the two webhook calls after it."""


@scenario("app-drops", way=WAYS)
async def test_captions_go_on_after_the_app_loses_its_socket(rig, way):
    """The captions app's socket ends while alice talks; it is back by its own dial or by the cloud's webhook.

    Captions of what is spoken since come within 6 s (10 s with real timers); what was said while it was away is lost.
    """
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow)

        await r.strike(way)

        await r.recovered(alice.flow, within_s=r.budget.resumes_s, anchor="heal")
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(), bounded_loss(steady_ms=0, impact_ms=r.budget.resumes_s * 1000),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip


@scenario("app-down-while-phone-away")
async def test_captions_resume_though_the_app_died_while_the_phone_was_away(rig):
    """Alice's phone loses its socket; meanwhile the captions app dies, and is up again before the phone is back.

    It was away for 24 s of a 60 s grace, longer than the cloud tries to wake it. Captions are back within 6 s of the
    phone's socket (10 s with real timers), and nobody had to start the app.
    """
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow)

        async with r.fault(SocketDropped("alice")), r.fault(AppCrash()):
            await r.wait(r.scaled(AWAY_S), f"the app is down for {AWAY_S} s of a 60 s grace, the phone away")

        await r.recovered(alice.flow, within_s=r.budget.resumes_s)
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(),
        bounded_loss(steady_ms=0, impact_ms=(r.scaled(AWAY_S) + r.budget.resumes_s) * 1000),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip
