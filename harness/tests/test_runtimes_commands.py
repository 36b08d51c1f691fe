"""A part by the user's own commands: who it is, how it ends, what is kept hold of, what is left alone."""

import asyncio
import errno
import os
import signal
from pathlib import Path

import pytest

from harness.addresses import lease_ports
from harness.errors import ComponentError, FaultDidNotLand, FaultNotSupported, StartFailed
from harness.processes import carries, look_at
from harness.runtimes import Killable, Pausable, Restartable, Stoppable
from harness.runtimes.commands import Commands, Surroundings
from harness.system import Component, Resolved
from harness.tests.commands_world import HOST, Bench
from harness.waiting import NotYet, until


@pytest.fixture
async def bench(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.runtimes.commands.ENDS_WITHIN_S", 0.3)
    with lease_ports(1) as ports:
        bench = Bench(tmp_path, ports.value[0])
        yield bench
        for part in bench.commands:
            await part.close()
        bench.recorder.close()


def there(pid):
    process = look_at(pid)
    assert process is not None
    return process


def environment_of(pid):
    return Path(f"/proc/{pid}/environ").read_bytes()


KILL = "kill -9 $(cat {0.pid_file})"


async def test_a_part_in_the_background_is_who_listens_and_ends_with_the_run(bench):
    part = bench.part(start=bench.behind)
    running = await bench.start(part)
    pid = int(bench.pid_file.read_text())
    assert running.identity == str(pid)
    assert bench.janitor.pids == [pid]
    assert not carries(pid, "run-1")
    assert b"EXTRA=42" in environment_of(pid)
    keeper = there(pid).parent
    assert carries(keeper, "run-1")
    await until(lambda: running.find_line("listening") or NotYet("silent"), what="its log", within_s=2)
    await part.close()
    assert look_at(pid) is None
    assert look_at(keeper) is None
    assert bench.exits == [(str(pid), "ended", True)]


async def test_a_start_command_that_stays_is_the_part_and_its_exit_code_is_known(bench):
    running = await bench.start(bench.part(start=f"exec {bench.listen}"))
    os.kill(int(running.identity), signal.SIGTERM)
    assert await asyncio.wait_for(running.wait_exit(), 2) == "exited -15"
    assert bench.exits == [(running.identity, "exited -15", False)]


async def test_a_start_command_that_fails_is_told_with_its_last_lines(bench):
    with pytest.raises(StartFailed) as failed:
        await bench.start(bench.part(start="echo no licence; exit 7"))
    assert "its command failed before it was ready; it exited 7; try by hand" in str(failed.value)
    assert failed.value.last_lines == ("no licence",)


async def test_a_command_that_is_not_there_is_told_before_anything_begins(bench):
    part = bench.part(start=bench.behind)
    words: dict[str, tuple[str, ...]] = {"start": ("/bin/true",), "kill": ("no-such-program",)}
    with pytest.raises(StartFailed, match=r"no program 'no-such-program' in PATH; .* bridge\.commands\.kill"):
        await part.start(Resolved((), {}, words), {"grpc": (HOST, bench.port)})
    assert not bench.pid_file.exists()


async def test_killed_and_started_again_it_is_another(bench):
    part = bench.part(start=bench.behind, kill=KILL.format(bench))
    one = await bench.start(part)
    assert [argv[-1] for argv, _ in bench.janitor.promised.values()] == [KILL.format(bench)]
    proof = await one.kill()
    assert proof.endswith(f"pid {one.identity} ended")
    two = await bench.start(part)
    assert two.identity != one.identity
    assert bench.exits == [(one.identity, "ended", True)]
    await part.close()
    assert bench.janitor.promised == {}


@pytest.mark.parametrize(("kill", "why"), {"exit 3": "exited 3", "true": "still lives"}.items())
async def test_a_kill_that_kills_nobody_did_not_land(bench, monkeypatch, kill, why):
    monkeypatch.setattr("harness.runtimes.commanded.GONE_WITHIN_S", 0.2)
    running = await bench.start(bench.part(start=bench.behind, kill=kill))
    with pytest.raises(FaultDidNotLand, match=why):
        await running.kill()
    assert running.alive()
    assert not running.by_us


async def test_it_can_do_what_there_are_commands_for(bench):
    running = await bench.start(bench.part(start=bench.behind, stop="true", pause="true"))
    assert running.why_not(Stoppable) is None
    assert running.why_not(Killable) == "runs as commands without kill"
    assert running.why_not(Pausable) == "runs as commands without resume"
    assert running.why_not(Restartable) == "runs as commands without restart"
    with pytest.raises(FaultNotSupported):
        await running.kill()


async def test_what_is_supervised_is_waited_for_and_not_started(bench):
    begun = bench.path / "begun"
    script = f"while true; do {bench.listen} & echo $! > {bench.pid_file}; wait; done"
    start = f"echo x >> {begun}; ({script}) </dev/null >/dev/null 2>&1 &"
    part = bench.part(start=start, kill=KILL.format(bench), supervised=True)
    one = await bench.start(part)
    await one.kill()
    two = await bench.start(part)
    assert two.identity == bench.pid_file.read_text().strip() != one.identity
    assert begun.read_text() == "x\n"


async def test_what_is_not_started_again_is_told(bench):
    part = bench.part(start=bench.behind, kill=KILL.format(bench), supervised=True, within_s=0.3)
    running = await bench.start(part)
    await running.kill()
    with pytest.raises(StartFailed, match=r"whoever supervises it did not start it again within 0.3 s"):
        await bench.start(part)


async def test_a_restart_is_taken_over(bench):
    part = bench.part(start=bench.behind, restart=f"kill $(cat {bench.pid_file}); {bench.behind}")
    one = await bench.start(part)
    assert f"pid {one.identity} is gone" in await one.restart()
    two = await bench.start(part)
    assert two.identity == bench.pid_file.read_text().strip() != one.identity
    assert two.alive()


async def test_the_pid_that_is_printed_counts(bench):
    sleeper = bench.path / "sleeper"
    start = f"sleep 60 >/dev/null 2>&1 & echo $! > {sleeper}; {bench.behind}"
    running = await bench.start(bench.part(start=start, pid=f"echo pid:; cat {sleeper}"))
    assert running.identity == sleeper.read_text().strip()


async def test_paused_is_proven_by_its_state(bench):
    pid = f"$(cat {bench.pid_file})"
    part = bench.part(start=bench.behind, pause=f"kill -STOP {pid}", resume=f"kill -CONT {pid}")
    running = await bench.start(part)
    assert "(state T)" in await running.pause()
    assert [argv[-1] for argv, _ in bench.janitor.promised.values()] == [f"kill -CONT {pid}"]
    await running.resume()
    assert bench.janitor.promised == {}
    assert there(int(running.identity)).state != "T"


async def test_a_log_command_fills_the_log(bench):
    part = bench.part(start=bench.behind, logs="echo from elsewhere; sleep 60")
    running = await bench.start(part)
    await until(lambda: running.find_line("from elsewhere") or NotYet("silent"), what="its log", within_s=2)
    assert running.find_line("listening") is None


async def test_somebody_elses_part_is_used_as_it_stands_and_left(bench):
    stranger = await bench.stranger()
    part = bench.part(external=HOST)
    running = await bench.start(part)
    assert running.why_not(Killable) == "is external, without kill"
    assert bench.janitor.pids == []
    await part.close()
    assert stranger.returncode is None
    stranger.kill()
    await stranger.wait()


async def test_somebody_elses_part_is_watched(bench):
    stranger = await bench.stranger()
    running = await bench.start(bench.part(external=HOST))
    stranger.kill()
    await stranger.wait()
    assert await asyncio.wait_for(running.wait_exit(), 3) == f"stopped answering at {HOST}:{bench.port}"
    assert not running.by_us


async def test_where_nothing_answers_there_is_no_part(bench, monkeypatch):
    monkeypatch.setattr("harness.runtimes.commands.THERE_WITHIN_S", 0.1)
    with pytest.raises(StartFailed, match=rf"nothing answers at {HOST}:{bench.port} .*; start it, or mend bridge.ext"):
        await bench.start(bench.part(external=HOST))


async def test_somebody_elses_part_that_a_fault_ended_is_brought_back(bench):
    stranger = await bench.stranger()
    bench.pid_file.write_text(str(stranger.pid))
    part = bench.part(external=HOST, start=bench.behind, kill=KILL.format(bench))
    running = await bench.start(part)
    await running.kill()
    await stranger.wait()
    assert [argv[-1] for argv, _ in bench.janitor.promised.values()] == [bench.behind]
    await part.close()
    back = int(bench.pid_file.read_text())
    assert look_at(back) is not None
    assert bench.janitor.promised == {}
    assert not carries(there(back).parent, "run-1")
    os.kill(back, signal.SIGKILL)


async def taken_over(bench, **verbs):
    """Somebody else's part, started here, that may be ended by these commands."""
    stranger = await bench.stranger()
    bench.pid_file.write_text(str(stranger.pid))
    part = bench.part(external=HOST, start=bench.behind, **verbs)
    return part, await bench.start(part), stranger


async def test_somebody_elses_part_that_stands_paused_goes_on_at_the_end(bench):
    pid = f"$(cat {bench.pid_file})"
    part, running, stranger = await taken_over(bench, pause=f"kill -STOP {pid}", resume=f"kill -CONT {pid}")
    await running.pause()
    assert bench.janitor.stays
    await part.close()
    assert there(stranger.pid).state != "T"
    stranger.kill()
    await stranger.wait()


async def test_who_brings_it_back_is_known_before_it_is_ended(bench, monkeypatch):
    monkeypatch.setattr("harness.runtimes.commanded.GONE_WITHIN_S", 0.2)
    part, running, stranger = await taken_over(bench, kill=f"(sleep 0.6; {KILL.format(bench)}) >/dev/null 2>&1 &")
    kill = asyncio.create_task(running.kill())
    await until(lambda: bool(bench.janitor.promised) or NotYet("no promise"), what="the promise", within_s=1)
    assert [argv[-1] for argv, _ in bench.janitor.promised.values()] == [bench.behind]
    assert bench.janitor.stays
    with pytest.raises(FaultDidNotLand, match="still lives"):
        await kill
    assert bench.janitor.promised == {}  # it lives
    await stranger.wait()
    await asyncio.wait_for(running.wait_exit(), 2)
    assert [argv[-1] for argv, _ in bench.janitor.promised.values()] == [bench.behind]
    bench.pid_file.unlink()
    await part.close()
    back = int(bench.pid_file.read_text())
    os.kill(there(back).pid, signal.SIGKILL)


async def test_each_start_has_a_log_of_its_own_though_one_command_follows(bench):
    followed = bench.path / "followed"
    followed.write_text("old panic\n")
    part = bench.part(start=bench.behind, kill=KILL.format(bench), logs=f"exec tail -n +1 -f {followed}")
    one = await bench.start(part)
    await until(lambda: one.find_line("old panic") or NotYet("silent"), what="its log", within_s=2)
    await one.kill()
    two = await bench.start(part)
    assert two.find_line("old panic") is None
    assert two.last_lines() == ()
    with followed.open("a") as file:
        file.write("new line\n")
    await until(lambda: two.find_line("new line") or NotYet("silent"), what="its log", within_s=2)


async def test_a_log_that_is_not_followed_any_more_is_noted(bench, monkeypatch):
    monkeypatch.setattr("harness.runtimes.followed.ENDS_TOGETHER_S", 0.05)
    await bench.start(bench.part(start=bench.behind, logs="sleep 0.1; exit 3"))
    notes = bench.path / "events" / "rig.jsonl"

    def probe():
        text = notes.read_text() if notes.exists() else ""
        return "commands.logs exited 3" in text or NotYet(text)

    await until(probe, what="the note", within_s=2)


async def test_what_any_log_command_left_is_ended(bench):
    left = bench.path / "left"
    logs = f"sleep 61 >/dev/null 2>&1 & echo $! >> {left}"
    part = bench.part(start=bench.behind, kill=KILL.format(bench), logs=logs)
    for _ in range(2):
        running = await bench.start(part)
        await asyncio.wait_for(asyncio.shield(part.followers[-1].exited), 2)
        await running.kill()
    await part.close()
    pids = [int(line) for line in left.read_text().split()]
    assert len(pids) == len(part.followers) >= 2
    assert [pid for pid in pids if look_at(pid) is not None] == []


async def test_commands_begin_with_no_signal_ignored(bench):
    told = bench.path / "told"
    await bench.start(bench.part(start=f"grep SigIgn /proc/self/status > {told}; {bench.behind}"))
    plain = (1 << 31) - 1  # of 32 and 33, its own, glibc's posix_spawn leaves an "ignore" behind
    assert int(told.read_text().split()[1], 16) & plain == 0


async def test_where_nothing_tells_its_end_its_stop_is_believed(bench):
    def part(**verbs):
        written: dict[str, tuple[str, ...]] = {verb: ("/bin/sh", "-c", script) for verb, script in verbs.items()}
        around = Surroundings("run-1", bench.path, bench.recorder, janitor=bench.janitor)
        return Commands(Component("bridge", commands=written), around), Resolved((), {}, written)

    stops, resolved = part(start="true", stop="true")
    await stops.start(resolved, {})
    await stops.close()
    for verbs, why in (({"stop": "exit 3"}, "exited 3"), ({}, r"give bridge\.commands\.stop")):
        other, resolved = part(start="true", **verbs)
        await other.start(resolved, {})
        with pytest.raises(ComponentError, match=why):
            await other.close()


async def test_a_full_disk_keeps_no_part_alive(bench, monkeypatch):
    part = bench.part(start=bench.behind, stop="true")
    await bench.start(part)

    opens = Path.open

    def full(path, *how, **more):
        if path.suffix == ".log":
            raise OSError(errno.ENOSPC, "no space left")
        return opens(path, *how, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        patch.setattr("harness.spare._write", lambda *_: 0)
        await part.close()
    assert look_at(int(bench.pid_file.read_text())) is None


async def test_what_fails_at_the_end_keeps_no_part_alive(bench, monkeypatch):
    part = bench.part(start=bench.behind, stop="true")
    await bench.start(part)

    async def fails(*_, **__):
        raise OSError(errno.EMFILE, "too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("harness.runtimes.commands.run_once", fails)
        with pytest.raises(OSError, match="too many"):
            await part.close()
    assert look_at(int(bench.pid_file.read_text())) is None


async def test_a_port_is_not_watched_while_a_fault_of_ours_holds_the_part(bench, monkeypatch):
    asked = []

    async def nobody(_):
        return None

    async def silent(_, paused):
        asked.append(paused)
        await asyncio.Event().wait()

    monkeypatch.setattr("harness.runtimes.commands.listener", nobody)
    monkeypatch.setattr("harness.runtimes.commanded.silent", silent)
    gone = f"kill -9 $(cat {bench.pid_file}); while kill -0 $(cat {bench.pid_file}) 2>&-; do sleep 0.01; done"
    running = await bench.start(bench.part(start=bench.behind, pause=gone, resume="true"))
    await until(lambda: bool(asked) or NotYet("not watched"), what="the watch", within_s=1)
    assert not asked[0]()
    await running.pause()
    assert asked[0]()
    await running.resume()
    assert not asked[0]()
    monkeypatch.setattr(running, "ends_within", lambda _: asyncio.sleep(0, result=True))
