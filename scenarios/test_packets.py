"""Audio packets are lost, damaged or late on their way from the phone: exactly that is missing, and nothing else."""

from harness import Burst, Corrupt, Drop, Together, always, bounded_loss, honest, resumes, scenario, timely

ONE = "1" + "0" * 999
"""One packet, and no other for 40 s."""
LOSS_S, DAMAGE_S = 6, 2
"""How long packets are hurt: 150 and 50 packets of 40 ms."""
SILENCE_S = 7
"""How long nothing comes before it comes all at once; longer than a caption may lag."""


@scenario("packet-loss-5-percent")
async def test_five_percent_of_packets_are_lost_and_no_more(rig):
    """One of twenty audio packets is lost for 6 s, by chance, before it leaves the phone.

    Captions go on: most of each word is there. What is missing at each hop is what was dropped, to the frame: the
    budget for any other loss is nothing.
    """
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow)

        async with r.fault(Drop("alice", share=0.05)):
            await r.wait(LOSS_S, "packets are lost on the way")

        await r.recovered(alice.flow, within_s=r.budget.resumes_s, anchor="heal")
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(), bounded_loss(steady_ms=0, impact_ms=0),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip


@scenario("corrupted-packet")
async def test_a_corrupted_packet_harms_no_other(rig):
    """One audio packet has wrong bytes, and one has an odd byte too many.

    Those two are damaged wherever they are heard; every frame of every other packet is bit-exact, and none is lost.
    """
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow)

        wrong = Corrupt("alice", pattern=ONE), Corrupt("alice", pattern=ONE, how="odd-byte")
        async with r.fault(Together(wrong)):
            await r.wait(DAMAGE_S, "damaged packets are on their way")

        await r.recovered(alice.flow, within_s=r.budget.resumes_s, anchor="heal")
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(), bounded_loss(steady_ms=0, impact_ms=0),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip


@scenario("wrong-byte-order")
async def test_a_packet_in_the_wrong_byte_order_turns_no_other(rig):
    """One audio packet comes with the two bytes of each sample exchanged, soon after alice began to talk.

    It is heard so wherever it comes; every other frame is in the right order at every hop.
    """
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        async with r.fault(Corrupt("alice", pattern=ONE, how="swapped")):
            await r.wait(r.budget.steady_s + DAMAGE_S, "alice's first audio is on its way")

        await r.recovered(alice.flow, within_s=r.budget.resumes_s, anchor="heal")
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(), bounded_loss(steady_ms=0, impact_ms=r.budget.resumes_s * 1000),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip


@scenario("burst-after-silence")
async def test_captions_catch_up_after_a_burst(rig):
    """Seven seconds of alice's audio are held on the way, and then come all at once.

    None of it is lost. Captions of what is spoken since come within 6 s (10 s with real timers), and lag less than
    5 s (incidents: alert above 5 s) from then on: what was late makes nothing late that follows.
    """
    async with rig() as r:
        alice = await r.phone("alice")
        await alice.starts_talking()
        await r.steady(alice.flow)

        await r.strike(Burst("alice", held_s=SILENCE_S))

        await r.recovered(alice.flow, within_s=r.budget.resumes_s, anchor="heal")
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(), bounded_loss(steady_ms=0, impact_ms=0),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip
