"""What a process takes of the machine, by the numbers of a process that takes it on purpose."""

import asyncio
import os
import socket
import tempfile
from typing import Any

import msgspec
import pytest

from harness import events as ev
from harness.history import Recorder
from harness.rig import cycling, sampling
from harness.rig.sampling import PID, usage

TOOK = 32 * 1024 * 1024


def test_memory_descriptors_sockets_and_threads_are_seen():
    before = usage([os.getpid()])
    held = bytearray(b"\x01" * TOOK)
    with tempfile.TemporaryFile(), socket.socket(), socket.socket():
        after = usage([os.getpid()])
    assert after["memory_bytes"] - before["memory_bytes"] == pytest.approx(len(held), rel=0.1)
    assert after["descriptors"] - before["descriptors"] == 3
    assert after["sockets"] - before["sockets"] == 2
    assert after["threads"] >= 1


def test_two_processes_are_summed_and_one_that_is_gone_counts_nothing():
    one = usage([os.getpid()])
    assert usage([os.getpid(), os.getpid()])["threads"] == 2 * one["threads"]
    assert usage([2**22 + 1]) == {}


@pytest.mark.parametrize(
    ("identity", "pid"), [("4711", "4711"), ("ab12cd34ef56 (pid 4711)", "4711"), ("start 2", None), ("ab12cd34", None)]
)
def test_pid_of_an_identity(identity, pid):
    named = PID.search(identity)
    assert (named and (named[1] or named[2])) == pid


async def test_a_cycle_without_captions_is_the_last(monkeypatch):

    seen: list[Any] = []
    struck: list[Any] = []
    sampled: list[int] = []

    class Budget:
        resumes_s = 6.0

    class Recorder:
        emit = staticmethod(seen.append)

    class Told:
        budget, recorder, stack, people = Budget, Recorder, None, dict[str, Any]()

        def step(self, text):
            assert text.startswith("cycle ")

        async def strike(self, fault):
            struck.append(fault)
            await asyncio.sleep(0)

        async def recovered(self, flow, *, within_s, watch_on):
            assert (flow, within_s) == ("flow", 6.0)
            assert watch_on == (len(struck) == 9)
            return len(struck) < 3

    async def take(_stack, _people, cycle):
        sampled.append(cycle)

    monkeypatch.setattr(cycling, "take_samples", take)
    rig: Any = Told()
    flow: Any = "flow"
    faults: Any = ("one", "two")
    await cycling.cycles(rig, flow, faults, count=9)
    assert struck == ["one", "two", "one"]
    assert sampled == [1, 2, 3]
    assert [(e.number, e.of, e.heard) for e in seen if isinstance(e, ev.CycleDone)] == [
        (1, 9, True), (2, 9, True), (3, 9, False),
    ]  # fmt: skip


async def test_at_the_end_descriptors_have_a_moment_to_be_closed(monkeypatch, tmp_path):
    """Sockets of a room just left close by themselves: the last sample waits for them, but not for ever."""
    recorder = Recorder(tmp_path, "r", "rig")
    counts = iter([50.0, 50.0, 32.0])
    looks: list[float] = []

    def measure(roots: dict[Any, int]) -> dict[Any, dict[str, float]]:
        looks.append(next(counts))
        return {part: {"descriptors": looks[-1]} for part in roots}

    monkeypatch.setattr(sampling, "_measure", measure)
    sample = ev.Sample(part="bridge", identity="pid 1", ours=False, cycle=0, values={"descriptors": 30.0})
    recorder.emit(sample)
    recorder.emit(msgspec.structs.replace(sample, values={"descriptors": 60.0}))
    await sampling.descriptors_settle(recorder, {("bridge", "pid 1", False): 1, ("rig", "", True): 2})
    assert looks == [50.0, 50.0, 32.0]

    monkeypatch.setattr(sampling, "SETTLES_WITHIN_S", 0.05)
    counts = iter([50.0] * 99)
    await sampling.descriptors_settle(recorder, {("bridge", "pid 1", False): 1})
    looks.clear()
    await sampling.descriptors_settle(recorder, {("bridge", "pid 2", False): 1})
    assert looks == [], "one that was started anew has no steady state to return to"
