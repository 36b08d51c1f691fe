"""A part by the user's own commands: who it is, how it ends, what is kept hold of, what is left alone."""

import asyncio
import os
import shlex
import signal
import sys
from pathlib import Path

import pytest

from harness.addresses import lease_ports
from harness.errors import FaultDidNotLand, FaultNotSupported, StartFailed
from harness.history import Recorder
from harness.processes import carries, look_at
from harness.runtimes import Killable, Pausable, Restartable, Stoppable
from harness.runtimes.commands import Commands, Surroundings
from harness.system import Component, Ready, Resolved
from harness.waiting import NotYet, until

HOST = "127.0.0.1"
LISTEN = """
import os, socket, sys, time
print("listening", os.getpid(), flush=True)
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listening:
    while True:
        listening.accept()[0].close()
"""


class Told:
    """Stands for the janitor, and remembers what it was told."""

    def __init__(self):
        self.pids, self.promised, self.number = [], {}, 0

    def register(self, pid):
        self.pids.append(pid)

    def run_if_rig_dies(self, argv, env):
        self.number += 1
        self.promised[self.number] = (list(argv), dict(env))
        return self.number

    def forget(self, number):
        del self.promised[number]


class Bench:
    """One part of commands at a leased port."""

    def __init__(self, path, port):
        self.path, self.port, self.janitor, self.exits = path, port, Told(), []
        self.recorder = Recorder(path, "run-1", "rig")
        self.commands = []
        (path / "listen.py").write_text(LISTEN)
        self.listen = shlex.join([sys.executable, "-S", "-E", str(path / "listen.py"), str(port)])
        self.pid_file = path / "pid"

    @property
    def behind(self):
        """A start command that leaves the part in the background."""
        return f"{self.listen} </dev/null & echo $! > {self.pid_file}"

    def part(self, *, supervised=False, external=None, within_s=5.0, **verbs):
        written: dict[str, tuple[str, ...]] = {verb: ("/bin/sh", "-c", script) for verb, script in verbs.items()}
        component = Component(
            "bridge", ports={"grpc": self.port}, commands=written or None, supervised=supervised, external=external,
            ready=Ready("tcp", "grpc", within_s=within_s),
        )  # fmt: skip
        around = Surroundings(
            "run-1", self.path, self.recorder, janitor=self.janitor,
            on_exit=lambda running: self.exits.append((running.identity, running.exit_text(), running.by_us)),
        )  # fmt: skip
        self.commands.append(Commands(component, around))
        return self.commands[-1]

    async def start(self, part):
        commands = part.component.commands or {}
        return await part.start(Resolved((), {"EXTRA": "42"}, dict(commands)), {"grpc": (HOST, self.port)})

    async def stranger(self):
        """Somebody else's server at the port."""
        process = await asyncio.create_subprocess_exec(
            *shlex.split(self.listen), stdout=asyncio.subprocess.DEVNULL, start_new_session=True
        )

        async def answers():
            try:
                _, writer = await asyncio.open_connection(HOST, self.port)
            except OSError as refused:
                return NotYet(str(refused))
            writer.close()
            return True

        await until(answers, what="the stranger", within_s=5)
        return process


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
