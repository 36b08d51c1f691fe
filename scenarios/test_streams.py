"""The audio stream between cloud and bridge: read by two, read by nobody, or left behind by a cloud that is gone."""

from harness import (
    OldStream,
    SecondStream,
    SessionEnded,
    SocketDropped,
    Stall,
    Vanish,
    When,
    always,
    bounded_loss,
    honest,
    request,
    resumes,
    scenario,
    timely,
)

SMALL_BYTES, LARGE_BYTES = 65_536, 4_194_304
WINDOWS = {
    "small-window": (SMALL_BYTES, Vanish("cloud", zombie=False, gone_within_s=6)),
    "large-window": (LARGE_BYTES, Vanish("cloud")),
}
"""What a cloud's gRPC library lets the bridge send ahead of its reader, in bytes, and the cloud's end.

grpc-js: 64 KB, 2 s of speech, after which the bridge's send waits for 2 s and the session is given up: nobody may dial
the next cloud before, for at most 6 s more. With 4 MB nothing is noticed for two minutes: a zombie.
"""
AWAY_S = 5
"""Longer than a small window (2 s of speech) and the bridge's send timeout (2 s) together."""


@scenario("cloud-vanishes-while-talking", window=WINDOWS)
async def test_captions_come_back_after_the_cloud_vanished_in_mid_sentence(rig, window):
    """The cloud is gone with its host while alice talks on, and is back after 5 s; its old connection stays silent.

    With a small gRPC window the bridge has noticed by then (if not, it is waited for, 6 s at most), with a large one it
    has not. Captions are back within 6 s of the phone's socket (10 s with real timers). Speech is lost from the end
    until then: at most the time away, the cloud's restart, one dial interval and the budget.
    """
    window_bytes, vanish = window
    async with rig(needs=[f"cloud.env.REFERENCE_GRPC_WINDOW_BYTES={window_bytes}"]) as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow)

        async with r.fault(vanish):
            await r.wait(AWAY_S, "the cloud is gone for longer than a small window and the bridge's send timeout")

        await r.recovered(alice.flow, within_s=r.budget.resumes_s)
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(),
        bounded_loss(
            steady_ms=0,
            impact_ms=(AWAY_S + vanish.gone_within_s + r.budget.restart_s + r.budget.retry_s + r.budget.resumes_s)
            * 1000,
        ),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip


STALLED_S = 8
"""Longer than a small window, what a gRPC library keeps beside it (2 s of speech each) and the send timeout (2 s)."""


@scenario("cloud-stalls-reading")
async def test_captions_come_back_after_the_cloud_stopped_reading(rig):
    """For 8 s nothing is read between cloud and bridge, while alice talks; the cloud's small gRPC window fills.

    The bridge's send times out: it breaks the stream and gives the session up, whatever the cloud may want to say
    meanwhile. The cloud hears of that when it reads on, and joins anew (the reference may have asked to already, as its
    gap detector saw the silence). Captions are back within 6 s of then (10 s with real timers), and what is late is not
    late for long. Speech is lost from the stall until then.
    """
    async with rig(needs=[f"cloud.env.REFERENCE_GRPC_WINDOW_BYTES={SMALL_BYTES}"]) as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow)

        async with r.fault(Stall("cloud->bridge")):
            await r.wait(STALLED_S, "nothing is read for longer than the cloud's window and the bridge's send timeout")

        await r.recovered(alice.flow, within_s=r.budget.resumes_s, anchor="heal")
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(),
        bounded_loss(steady_ms=0, impact_ms=(STALLED_S + r.budget.resumes_s) * 1000),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip


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


@scenario("old-stream-error-after-replacement")
async def test_the_error_of_an_old_stream_leaves_the_new_session_alone(rig):
    """While alice's phone is away another cloud takes her session, and stops to read; she comes back to the first one.

    Her cloud replaces the session, and only then the other's stream breaks. Captions of what is said after that come
    within 6 s (10 s with real timers). Speech is lost from the other's coming until hers is back: one dial interval
    and the budget.
    """
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow)

        async with r.fault(When("cloud->bridge", request(), OldStream("alice"))), r.fault(SocketDropped("alice")):
            await r.strike(SessionEnded("alice", by="JoinRoom"))

        await r.recovered(alice.flow, within_s=r.budget.resumes_s, anchor="heal")
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(),
        bounded_loss(steady_ms=0, impact_ms=(r.budget.retry_s + r.budget.resumes_s) * 1000),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip
