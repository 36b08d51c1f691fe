"""A run's child: interrupted once, killed when it lingers or when its parent dies."""

import asyncio
import io
import os
import signal
import sys

import pytest

from harness import events as ev
from harness.cli import child as cli_child
from harness.cli.child import Interruption, read_verdicts, run_child
from harness.cli.view import PlainView
from harness.history import Recorder
from harness.processes import look_at
from harness.settings import PROJECT_ROOT
from harness.tests.made_up_child import child
from harness.waiting import NotYet, until

COUNTS_SIGNALS = """
seen = []
signal.signal(signal.SIGINT, lambda *_: seen.append('INT'))
signal.signal(signal.SIGTERM, lambda *_: seen.append('TERM'))
start()
while not seen: time.sleep(0.01)
time.sleep(0.3)
print(seen, flush=True)
end()
"""
LINGERS = "signal.signal(signal.SIGINT, signal.SIG_IGN); start()\nwhile True: time.sleep(0.01)"


async def started(verdicts):
    await until(lambda: read_verdicts(verdicts)[0] or NotYet("not started"), what="the child", within_s=5)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_an_interruption_reaches_the_child_once_and_waits_for_its_teardown(tmp_path, number, code):
    verdicts, interruption = tmp_path / "v", Interruption()
    words = child(COUNTS_SIGNALS, verdicts, tmp_path)
    running = asyncio.create_task(run_child(words, verdicts, PlainView(io.StringIO()), interruption))
    await started(verdicts)
    interruption.take(number)
    ended = await running
    assert ended.output == "['INT']\n"
    assert ended.finished
    assert interruption.exit_code == code


async def test_our_own_signals_are_taken(tmp_path):
    verdicts, interruption = tmp_path / "v", Interruption()
    loop = asyncio.get_running_loop()
    try:
        interruption.listen()
        running = asyncio.create_task(
            run_child(child(COUNTS_SIGNALS, verdicts, tmp_path), verdicts, PlainView(io.StringIO()), interruption)
        )
        await started(verdicts)
        os.kill(os.getpid(), signal.SIGTERM)
        assert (await running).output == "['INT']\n"
        assert interruption.exit_code == 143
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def test_a_second_interruption_kills(tmp_path):
    verdicts, interruption = tmp_path / "v", Interruption()
    running = asyncio.create_task(
        run_child(child(LINGERS, verdicts, tmp_path), verdicts, PlainView(io.StringIO()), interruption)
    )
    await started(verdicts)
    interruption.take(signal.SIGINT)
    await asyncio.sleep(0.1)
    assert not running.done()
    interruption.take(signal.SIGINT)
    ended = await asyncio.wait_for(running, 3)
    assert ended.returncode == -9
    assert not ended.finished


async def test_a_child_that_lingers_after_an_interruption_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(cli_child, "TEARDOWN_WITHIN_S", 0.2)
    verdicts, interruption = tmp_path / "v", Interruption()
    running = asyncio.create_task(
        run_child(child(LINGERS, verdicts, tmp_path), verdicts, PlainView(io.StringIO()), interruption)
    )
    await started(verdicts)
    interruption.take(signal.SIGINT)
    assert (await asyncio.wait_for(running, 3)).returncode == -9


async def test_a_run_is_shown_up_to_its_last_event(tmp_path):
    recorder = Recorder(tmp_path, "r1", "rig")
    recorder.emit(ev.Step(text="alice talks"))
    out, verdicts = io.StringIO(), tmp_path / "v"
    ended = await run_child(child("start(); end()", verdicts, tmp_path), verdicts, PlainView(out), Interruption())
    assert out.getvalue() == "[  0.0 s] alice talks\n"
    assert ended.run_dir == tmp_path


PARENT = """
import asyncio, io, sys
from pathlib import Path
from harness.cli.child import Interruption, run_child
from harness.cli.view import PlainView
from harness.tests.made_up_child import child
verdicts = Path(sys.argv[1])
script = "open(sys.argv[1], 'w').write(str(os.getpid())); start()\\nwhile True: time.sleep(0.01)"
words = [*child(script, verdicts, verdicts.parent), str(verdicts.parent / 'pid')]
asyncio.run(run_child(words, verdicts, PlainView(io.StringIO()), Interruption()))
"""


async def test_a_killed_command_does_not_leave_its_child_behind(tmp_path):
    verdicts = tmp_path / "v"
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, str(verdicts), cwd=PROJECT_ROOT)
    try:
        await until(lambda: read_verdicts(verdicts)[0] or NotYet("not started"), what="the child", within_s=10)
        pid = int((tmp_path / "pid").read_text())
        assert look_at(pid) is not None
    finally:
        parent.kill()
        await parent.wait()
    await until(lambda: look_at(pid) is None or NotYet("it lives"), what="the child's end", within_s=2)
