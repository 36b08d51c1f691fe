"""What passes between the parts is held, lost or doubled at a moment of its protocol: joins that meet trouble."""

from harness import (
    Restart,
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
