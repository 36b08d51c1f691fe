"""At the end of a run: what is left, or not known, is the janitor's."""

import asyncio
import threading
from types import SimpleNamespace

import pytest

from harness import run_lease
from harness.rig.rig import Rig
from harness.run_lease import RunLease, found_leases


@pytest.fixture
def rig(tmp_path, monkeypatch):
    """A rig at the end of its teardown; ``order`` tells what it did, ``left`` what is found."""
    monkeypatch.setattr(run_lease, "leases_dir", lambda: tmp_path / "locks" / "runs")

    order: list[object] = []

    async def stop(*, sweep=False):
        (found,) = found_leases()
        order.append(("sweep" if sweep else "bye", found.alive))

    rig = SimpleNamespace(
        order=order, found=[], looking=threading.Event(), go_on=threading.Event(), left=[], stack=None
    )
    rig.go_on.set()

    def look(*_):
        rig.looking.set()
        rig.go_on.wait(5)
        return rig.found

    rig._lease = RunLease.take("one", tmp_path)
    rig._baseline, rig._janitor = SimpleNamespace(left=look), SimpleNamespace(stop=stop)
    rig._parts, rig.recorder = tuple, SimpleNamespace(emit=lambda event: rig.order.append(event.what))
    yield rig
    rig.go_on.set()
    rig._lease.close()


async def test_nothing_left_is_a_bye(rig):
    await Rig._stop_janitor(rig)
    rig._lease.give_back()
    assert rig.order == [("bye", True)]
    assert found_leases() == []


async def test_what_is_left_is_the_janitor_s_with_the_lease(rig):
    rig.found = ["port 1"]
    await Rig._stop_janitor(rig)
    rig._lease.give_back()
    assert rig.order == ["port 1", ("sweep", False)]
    assert rig.left == ["port 1"]
    assert [lease.alive for lease in found_leases()] == [False]  # the janitor drops it when all is gone


async def test_a_look_that_was_cancelled_is_a_sweep(rig):
    rig.go_on.clear()
    stopping = asyncio.create_task(Rig._stop_janitor(rig))
    await asyncio.to_thread(rig.looking.wait, 5)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    rig._lease.give_back()
    assert rig.order == [("sweep", False)]
    assert [lease.alive for lease in found_leases()] == [False]
