"""A set-up that cannot work: one sentence with the mend, exit code 3, no traceback, and everything torn down."""

import asyncio
import json
import sys

import pytest

from fixtures.leftovers import holdings_of
from harness import Down
from harness.errors import MachineError
from harness.history import History
from harness.settings import PROJECT_ROOT

WRONG = {
    "missing-binary": (
        ("--set", "bridge.process=/no/such/bridge"),
        "bridge did not start: there is no /no/such/bridge; build it, or mend bridge.process",
    ),
    "exits-at-once": (
        ("--set", "bridge.process=sh -c 'echo no licence; exit 7'"),
        "SERVING on port grpc; it exited 7; try by hand how bridge is started here, and mend that",
    ),
    "never-ready": (
        ("--set", "bridge.process=sleep 60", "--set", "bridge.ready.within_s=2"),
        "let it listen at the port it is told, mend bridge.ready, or give it longer by --set bridge.ready.within_s=60",
    ),
    "no-livekit-server": (
        ("--livekit-server", "/bin/true"),
        "saw a program that does not say so; give the path of one, or none: it is then found or built",
    ),
}
"""What is given to ``aftershock run``, and the end of the sentence."""


@pytest.mark.parametrize(("words", "sentence"), WRONG.values(), ids=list(WRONG))
async def test_a_part_that_cannot_run_is_one_sentence_and_exit_3(words, sentence, tmp_path):
    """The run ends UNKNOWN with exit code 3 for the machine's fault, and nothing of it is left."""
    command = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "harness", "run", "baseline", "--json", "--runs", str(tmp_path), *words,
        cwd=PROJECT_ROOT, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, progress = await asyncio.wait_for(command.communicate(), 60)

    assert command.returncode == 3
    verdict = json.loads(said.splitlines()[0])
    assert verdict["outcome"] == "UNKNOWN"
    assert sentence in progress.decode()
    assert b"Traceback" not in said + progress
    run_dir = tmp_path / "baseline" / "latest"
    assert holdings_of(History.load(run_dir).run_started.run, run_dir).left() == []


async def test_a_port_that_somebody_took_is_named_and_the_run_torn_down(rig, verdict_of):
    """The bridge's port is taken while it is away: its start fails with the taker's pid, which is not ended."""
    with pytest.raises(
        MachineError, match=r"expected tcp port \d+ of .* free; saw port taken by pid \d+ .*; end it, or"
    ):
        async with rig() as r:
            held = holdings_of(r.run, r.run_dir)
            async with r.fault(Down("bridge")):
                taker = await asyncio.start_server(lambda _, writer: writer.close(), *r.stack.address("bridge", "grpc"))
    assert verdict_of(r)["exit_code"] == 3
    assert taker.is_serving()
    taker.close()
    assert held.left() == []
