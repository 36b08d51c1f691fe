"""One person's session is hurt; the others of the same bridge and cloud feel nothing."""

from harness import SessionEnded, always, bounded_loss, honest, resumes, scenario, timely

WAYS = {"leave": SessionEnded("alice", by="LeaveRoom"), "replace": SessionEnded("alice", by="JoinRoom")}
"""Who ended alice's session in the bridge: a LeaveRoom that came late, or another JoinRoom for her."""


@scenario("neighbour-unharmed", way=WAYS)
async def test_bob_feels_nothing_when_alices_session_is_ended(rig, way):
    """Alice and bob both talk; alice's session in the bridge is ended behind her cloud's back, in mid-sentence.

    Bob loses nothing. Alice's captions are back within 6 s (10 s with real timers), and she has done nothing.
    """
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        bob = await r.phone("bob")
        await bob.starts_talking()
        await r.steady(alice.flow, bob.flow)

        await r.strike(way)

        await r.recovered(alice.flow, within_s=r.budget.resumes_s, anchor="heal")
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(), bounded_loss(steady_ms=0, impact_ms=r.budget.resumes_s * 1000),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip
