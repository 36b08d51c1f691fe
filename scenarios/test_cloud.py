"""The cloud goes and comes back; the bridge and LiveKit are never touched."""

from harness import ForceQuit, Restart, Vanish, always, bounded_loss, honest, resumes, scenario, timely

WAYS = {"vanish": Vanish("cloud"), "kill": Restart("cloud", signal="KILL"), "restart": Restart("cloud")}
"""How the cloud goes and comes back: with its host, so that the bridge keeps a zombie; by SIGKILL; by SIGTERM."""

AFTER_READY_S = 2
"""The incident's Method 1 waits this long after the cloud is ready."""


@scenario("force-quit-restart-cloud", checklist=True, way=WAYS)
async def test_captions_resume_after_a_force_quit_and_a_cloud_restart(rig, way):
    """Method 1: the app is force-quit, only the cloud goes and comes back, the app is opened anew.

    Captions are back within 6 s of the phone's socket (10 s with real timers); at most that much speech is lost.
    """
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow)

        async with r.fault(ForceQuit("alice")):
            await r.strike(way)
            await r.wait(AFTER_READY_S, "the incident's Method 1 waits after the cloud is ready")

        await r.recovered(alice.flow, within_s=r.budget.resumes_s)
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(), bounded_loss(steady_ms=0, impact_ms=r.budget.resumes_s * 1000),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip


@scenario("kill-cloud", checklist=True, way=WAYS)
async def test_captions_resume_after_the_cloud_crashes(rig, way):
    """Method 2: the cloud goes and comes back while the phone lives and talks; the phone dials until it answers.

    Captions are back within 6 s of the phone's socket (10 s with real timers). Speech is lost from the crash until
    then: at most the cloud's restart, one dial interval and the budget.
    """
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow)

        await r.strike(way)

        await r.recovered(alice.flow, within_s=r.budget.resumes_s)
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(),
        bounded_loss(steady_ms=0, impact_ms=(r.budget.restart_s + r.budget.retry_s + r.budget.resumes_s) * 1000),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip
