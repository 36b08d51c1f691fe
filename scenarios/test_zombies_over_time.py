"""The same people lose and regain their connection again and again: nothing may pile up."""

import pytest

from harness import (
    ForceQuit,
    SessionEnded,
    SocketClosed,
    SocketDropped,
    Together,
    Vanish,
    always,
    bounded_loss,
    cycles,
    honest,
    resumes,
    scenario,
    timely,
)

ENDED = SessionEnded("alice")
"""Her session in the bridge is ended meanwhile, so that each cycle is a JoinRoom on a bridge that stays."""
DROPPED = Together((SocketDropped("alice"), ENDED))
CLOSED = Together((SocketClosed("alice", code=1001), ENDED))
QUIT = Together((ForceQuit("alice"), ENDED))
FIVE = (DROPPED, CLOSED, DROPPED, CLOSED, QUIT)
TWENTY = (*FIVE * 3, *FIVE[:4], Vanish("cloud"))
"""The last leaves a zombie, which the next cloud's JoinRoom replaces; each cloud lives long enough to be judged too."""


@pytest.mark.timeout(1200)
@scenario("zombies-over-time", count={"20": 20, "100": 100}, limit_s=1000, rare=("100",))
async def test_nothing_piles_up_over_many_reconnects(rig, count):
    """Twenty or a hundred cycles of losing the connection and captions coming back; what each part holds stays level.

    Each time captions are back within 6 s of the phone's socket (10 s with real timers). A cycle may keep less than
    1 MB and a quarter of a file descriptor, and no session, stream or participant. The hundred
    are played when they are asked for by name, and judge memory too.
    """
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow)

        await cycles(r, alice.flow, TWENTY, count=count)
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(),
        bounded_loss(steady_ms=0, impact_ms=count * (r.budget.retry_s + r.budget.resumes_s) * 1000),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip
