"""Speech recognition goes away under a conversation, or is not there when it begins."""

from harness import Cut, Refuse, always, bounded_loss, honest, resumes, scenario, timely

AWAY_S = 45
"""In seconds of a 60 s grace: every count of tries that ends (three, 5 and 10 s apart) has ended by then."""


@scenario("stt-drops")
async def test_captions_go_on_after_stt_drops_its_connections(rig):
    """The connections to speech recognition are cut (1006) mid-utterance, and it takes new ones at once.

    Captions of what is spoken since come within 6 s of the cut (10 s with real timers); at most 3 s of speech are lost:
    the utterance that was cut, and what was said until the new stream.
    """
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow)

        await r.strike(Cut("cloud->stt"))

        await r.recovered(alice.flow, within_s=r.budget.resumes_s, anchor="heal")
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(), bounded_loss(steady_ms=0, impact_ms=3_000),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip


@scenario("stt-down-at-subscribe")
async def test_captions_come_when_stt_does(rig):
    """Speech recognition refuses everybody while the captions app subscribes and alice talks, for 45 s of a 60 s grace.

    Captions come within 6 s of its return (10 s with real timers), with no new subscription; what was said before is
    lost, and the cloud's health said so.
    """
    async with rig() as r:
        async with r.fault(Refuse("cloud->stt")):
            alice = await r.phone("alice")
            await alice.starts_talking()
            await r.wait(r.scaled(AWAY_S), f"speech recognition is away for {AWAY_S} s of a 60 s grace")

        await r.recovered(alice.flow, within_s=r.budget.resumes_s, anchor="heal")
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(),
        bounded_loss(steady_ms=0, impact_ms=(r.scaled(AWAY_S) + r.budget.resumes_s) * 1000),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip
