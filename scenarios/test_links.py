"""What passes between the parts is held, lost or doubled at a moment of its protocol: joins that meet trouble."""

from harness import (
    ConnectionInit,
    Hang,
    Hold,
    JoinsToo,
    Restart,
    SocketClosed,
    When,
    always,
    bounded_loss,
    honest,
    reply,
    request,
    resumes,
    scenario,
    timely,
)

UNTOLD_S = 2
"""A hang lasts this much longer than what may go untold."""
BEYOND_S = 65
"""Longer than the grace of 60 s, in production seconds."""
JOIN_WINDOW = {"in-flight": reply("JoinRoom"), "before-stream": request("StreamAudio")}
"""What is held back while the cloud is killed, and never arrives."""


@scenario("cloud-dies-in-joinroom", held=JOIN_WINDOW)
async def test_captions_come_when_the_cloud_died_in_its_first_join(rig, held):
    """The cloud is killed while JoinRoom's reply is on its way, or before its StreamAudio arrives, and restarts.

    The bridge is left with a session that has no stream: the gate sees it. Captions of what is spoken after alice's
    next socket come within 6 s (10 s with real timers).
    """
    dies = Restart("cloud", signal="KILL", leaves_zombie=True)
    async with rig() as r:
        async with r.fault(When("cloud->bridge", held, dies, drop=True)):
            alice = await r.phone("alice")
            await alice.starts_talking()

        await r.recovered(alice.flow, within_s=r.budget.resumes_s)
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(),
        bounded_loss(steady_ms=0, impact_ms=(r.budget.restart_s + r.budget.resumes_s) * 1000),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip


@scenario("joinroom-hangs")
async def test_the_phone_is_acknowledged_while_the_bridge_does_not_answer(rig):
    """No JoinRoom is answered from before alice's first connection until longer than what may go untold.

    Meanwhile she is acknowledged and told. Captions flow within 6 s (10 s with real timers) of the heal; nothing was
    owed before.
    """
    async with rig() as r:
        async with r.fault(Hang("JoinRoom")):
            alice = await r.phone("alice")
            await alice.starts_talking()
            await r.wait(r.budget.resumes_s + UNTOLD_S, "the bridge's answers do not arrive")

        await r.recovered(alice.flow, within_s=r.budget.resumes_s, anchor="heal")
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(),
        bounded_loss(steady_ms=0, impact_ms=(UNTOLD_S + 2 * r.budget.resumes_s) * 1000),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip


@scenario("leaveroom-fails")
async def test_captions_come_back_though_the_session_before_was_never_left(rig):
    """The phone is away for 65 s of a 60 s grace, and the LeaveRoom that ends its session never arrives.

    The bridge keeps the session. Captions of what is spoken after the new socket come within 6 s (10 s with real
    timers). What is said while the phone is away is lost, from the grace's end on at least.
    """
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow)

        async with r.fault(Hold("cloud->bridge", request("LeaveRoom"), drop=True)):
            async with r.fault(SocketClosed("alice", code=1001)):
                await r.wait(r.scaled(BEYOND_S), "away for 65 s of a 60 s grace")

            await r.recovered(alice.flow, within_s=r.budget.resumes_s)
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(),
        bounded_loss(steady_ms=0, impact_ms=(r.scaled(BEYOND_S) + r.budget.resumes_s) * 1000),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip


AT_ONCE = {
    "two-paths": Hold("cloud->bridge", reply("JoinRoom")),
    "two-calls": When("cloud->bridge", request("JoinRoom"), JoinsToo("alice")),
}
"""The reply to the cloud's join is late while its other path asks for one; somebody else's call beside its own."""


@scenario("concurrent-joins", twice=AT_ONCE)
async def test_two_joins_at_once_leave_one_agent(rig, twice):
    """Alice connects for the first time and is joined twice at once: by two paths of the cloud, or by two calls.

    One agent is left in her room, with the audio: captions flow within 6 s (10 s with real timers), and go on. The
    reference's cloud asks a second time when her microphone comes on; for a cloud with a single path ``two-paths`` is a
    plain join whose answer is late.
    """
    async with rig() as r:
        async with r.fault(twice):
            alice = await r.phone("alice")
            await alice.starts_talking()
            await r.wait(r.budget.resumes_s / 2, "her microphone is on, which asks for the join once more")

        await r.recovered(alice.flow, within_s=r.budget.resumes_s, anchor="heal")
        await r.wait(r.budget.resumes_s / 2, "watching on: two agents would take the room from each other in turns")
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(), bounded_loss(steady_ms=0, impact_ms=r.budget.resumes_s * 1000),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip


@scenario("duplicate-connection-init")
async def test_captions_flow_on_when_the_phone_says_connection_init_again(rig):
    """The phone says connection_init in mid-sentence: one join, one stream, one agent stay, and no word is lost."""
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow)

        await r.strike(ConnectionInit("alice"))

        await r.recovered(alice.flow, within_s=r.budget.resumes_s, anchor="heal")
        await r.wait(r.budget.resumes_s / 2, "watching on: two clients would take the room from each other in turns")
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(), bounded_loss(steady_ms=0, impact_ms=0),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip
