"""The audio stream between cloud and bridge: read by two, read by nobody, or left behind by a cloud that is gone."""

from harness import SecondStream, always, bounded_loss, honest, resumes, scenario, timely

SHARED_S = 4
"""How long somebody else tries to hear what alice says: two utterances and more."""


@scenario("second-stream-on-one-session")
async def test_nothing_is_missing_when_a_second_stream_is_opened_on_one_session(rig):
    """Somebody else opens an audio stream on alice's live session and holds it for 4 s, while she talks.

    Whether it is refused or not, the cloud hears all of what she says: no speech is lost.
    """
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow)

        async with r.fault(SecondStream("alice")):
            await r.wait(SHARED_S, "somebody else's stream is open beside the cloud's own")

        await r.recovered(alice.flow, within_s=r.budget.resumes_s, anchor="heal")
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(), bounded_loss(steady_ms=0, impact_ms=0),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip
