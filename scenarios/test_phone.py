"""The phone goes away and comes back: inside the grace (the incident itself), beyond it, asleep, again and again."""

from harness import (
    Asleep,
    Down,
    Flapping,
    SecondSocket,
    SocketClosed,
    SocketDropped,
    Together,
    always,
    bounded_loss,
    honest,
    resumes,
    scenario,
    timely,
)

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


BEYOND_S = 65
"""Longer than the grace of 60 s, in production seconds."""


@scenario("phone-away-beyond-grace", fault={"1001": SocketClosed("alice", code=1001), "1006": SocketDropped("alice")})
async def test_captions_come_back_after_the_session_was_disposed(rig, fault):
    """The phone is away for 65 s of a 60 s grace: its session is disposed, and it meets a fresh one.

    The apps that ran run again, and captions of what is spoken after the new socket come within 6 s (10 s with real
    timers). What is said while the phone is away is lost, from the grace's end on at least.
    """
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow)

        async with r.fault(fault):
            await r.wait(r.scaled(BEYOND_S), "away for 65 s of a 60 s grace")

        await r.recovered(alice.flow, within_s=r.budget.resumes_s)
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(),
        bounded_loss(steady_ms=0, impact_ms=(r.scaled(BEYOND_S) + r.budget.resumes_s) * 1000),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip


@scenario("phone-sleeps", seconds={"5s": 5, "20s": 20, "40s": 40})
async def test_captions_come_back_after_the_phone_slept(rig, seconds):
    """The phone's process is stopped for 5, 20 or 40 s, as by a screen that is off, and wakes.

    Where the cloud closed its socket meanwhile (no pong in time), captions of what is spoken after the new socket come
    within 6 s (10 s with real timers); otherwise after it woke. Nobody speaks while asleep: at most that budget of
    speech is lost.
    """
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow)

        async with r.fault(Asleep("alice")):
            await r.wait(seconds, f"asleep for {seconds} s")

        await r.recovered(alice.flow, within_s=r.budget.resumes_s, anchor="back")
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(),
        bounded_loss(steady_ms=0, impact_ms=(r.budget.retry_s + r.budget.resumes_s) * 1000),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip


TWICE = SecondSocket("alice", after_ms=34, close_first_after_s=1)


@scenario(
    "second-socket-34-ms-later",
    way={"within-grace": (TWICE, 0), "fresh-session": (Together((TWICE, Down("cloud"))), 1)},
)
async def test_the_late_close_of_an_old_socket_ends_nothing(rig, way):
    """The phone comes back after 6 s with two sockets, 34 ms apart, and the older one is closed 1 s later.

    Inside the grace, or to a cloud that was killed meanwhile, so that the second socket comes while the first one's
    join is in flight. Captions come within 6 s of the first socket (10 s with real timers), and nothing is lost from
    then on, beyond the grace that the late close may have begun.
    """
    fault, restarts = way
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow)

        async with r.fault(fault):
            await r.wait(r.scaled(6), "away for 6 s of a 60 s grace")

        await r.recovered(alice.flow, within_s=r.budget.resumes_s)
        await r.wait(r.scaled(BEYOND_S), "watching on beyond the grace: the old socket's close must end nothing")
        await r.wait(1.5 * r.budget.resumes_s, "talking on, so that it can be told whether anybody was told")
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(),
        bounded_loss(steady_ms=0, impact_ms=(r.scaled(6) + restarts * r.budget.restart_s + r.budget.resumes_s) * 1000),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip


@scenario("ten-reconnects-in-thirty-seconds")
async def test_captions_survive_ten_reconnects_in_thirty_seconds(rig):
    """The phone's socket is closed (1001) and opened anew ten times within 30 s.

    Captions of what is spoken after the last socket come within 6 s (10 s with real timers); one session and one agent
    are left. Every reconnect may cost a second of speech.
    """
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow)

        await r.strike(Flapping("alice", times=10, within_s=30))

        await r.recovered(alice.flow, within_s=r.budget.resumes_s)
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(),
        bounded_loss(steady_ms=0, impact_ms=10_000 + r.budget.resumes_s * 1000),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip
