"""Phones that share one process: for load, with either media engine; each is heard as its own person."""

import pytest

from harness import always, bounded_loss, honest, resumes, timely
from harness import events as ev
from harness.history import History


@pytest.mark.parametrize("engine", ["aiortc", "livekit"])
async def test_two_phones_of_one_process_are_two_people(rig, engine):
    """Both have captions of their own words, from one process, and nothing of it is left behind."""
    async with rig(engine=engine) as r:
        crowd = await r.phones(2)
        await crowd.starts_talking()
        await r.recovered(crowd.flows[0], within_s=r.budget.resumes_s, watch_on=False)
        await r.recovered(crowd.flows[1], within_s=r.budget.resumes_s, watch_on=False)
        await r.steady(*crowd.flows)
    r.check(
        resumes(within_s=r.budget.resumes_s), honest(), bounded_loss(steady_ms=0, impact_ms=0),
        timely(lag_s=r.budget.lag_s), *always,
    )  # fmt: skip
    first, second = crowd.people
    assert first.pid == second.pid
    (phone,) = (told for told in History.load(r.run_dir).all(ev.Tested) if told.component == "phone")
    assert phone.facts["engine"] == engine
