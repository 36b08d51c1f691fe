"""A component as a process: its log, its death, its whole tree, and when it is ready."""

import asyncio
import os
import signal
import socket
import sys
import textwrap
from pathlib import Path

import grpc
import pytest

from harness.errors import FaultDidNotLand, FaultNotSupported, StartFailed
from harness.events import LogLine
from harness.history import History, Recorder
from harness.redact import know_secret
from harness.reference.proto import health_pb2
from harness.runtimes import Killable, Loggable, Pausable, Running, Stoppable, process
from harness.runtimes.log import CUT, LINE_BYTES
from harness.runtimes.process import ProcessRunning
from harness.runtimes.readiness import ready
from harness.runtimes.tree import read_member
from harness.system import Component, Ready, Resolved
from harness.waiting import NotYet, until


class Bench:
    """Starts small scripts as components and ends them after the test."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.recorder = Recorder(run_dir, "run-1", "rig")
        self.started: list[ProcessRunning] = []
        self.exits: list[tuple[str | None, bool]] = []

    async def sh(self, script: str, **fields) -> ProcessRunning:
        return await self.start(Component("part", process=("sh",), **fields), "/bin/sh", "-c", script)

    async def py(self, script: str, **fields) -> ProcessRunning:
        return await self.start(
            Component("part", process=("python",), **fields), sys.executable, "-c", textwrap.dedent(script)
        )

    async def start(self, component: Component, *argv: str) -> ProcessRunning:
        running = await process.start(
            component, Resolved(argv, {"EXTRA": "42"}), run="run-1", run_dir=self.run_dir, recorder=self.recorder,
            alarm=("panic:",), on_exit=lambda running: self.exits.append((running.exit_text(), running.by_us)),
        )  # fmt: skip
        self.started.append(running)
        return running

    def log(self) -> str:
        return (self.run_dir / "logs" / "part.log").read_text()

    def lines(self) -> list[tuple[int, str]]:
        return [(event.line, event.text) for event in History.load(self.run_dir).events if isinstance(event, LogLine)]


@pytest.fixture
async def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    for running in bench.started:
        await running.stop(0.0)
    bench.recorder.close()


async def pids_in(bench: Bench, count: int) -> list[int]:
    """Wait until the component has written ``count`` pids, one a line."""

    def probe() -> list[int] | NotYet:
        found = [int(line) for line in bench.log().split() if line.isdigit()]
        return found if len(found) >= count else NotYet(f"{len(found)} of {count} pids")

    return await until(probe, what="the component's children", within_s=5)


def environment_of(running: ProcessRunning) -> list[bytes]:
    return Path(f"/proc/{running.identity}/environ").read_bytes().split(b"\0")


def standard_input_of(running: ProcessRunning) -> Path:
    return Path(f"/proc/{running.identity}/fd/0")


def gone(pid: int) -> bool:
    member = read_member(pid)
    return member is None or member.state in "ZX"


async def test_output_is_masked_numbered_and_told(bench):
    know_secret("hunter2-hunter2")
    running = await bench.sh(
        "echo one $EXTRA; echo token=abc hunter2-hunter2 >&2; printf '\\033[31mred\\033[0m\\r\\nend'"
    )
    assert await running.wait_exit() == "exited 0"
    assert running.last_lines() == ("one 42", "token=*** ***", "red", "end")
    assert bench.log() == "one 42\ntoken=*** ***\nred\nend\n"
    assert bench.lines()[0] == (1, "one 42")
    assert bench.exits == [("exited 0", False)]


async def test_a_quiet_component_tells_alarm_lines_only(bench):
    running = await bench.sh("echo fine; echo 'panic: nil map'", events=False)
    await running.wait_exit()
    assert bench.lines() == [(2, "panic: nil map")]


async def test_a_second_start_appends_to_the_log_and_keeps_counting(bench):
    first = await bench.sh("echo first; sleep 60")
    await until(lambda: first.find_line("first") or NotYet("silent"), what="a line", within_s=5)
    await first.kill()
    second = await bench.sh("echo second")
    await second.wait_exit()
    assert bench.log() == f"first\n--- started again, pid {second.identity}\nsecond\n"
    assert second.find_line("first") is None
    assert bench.lines()[-1] == (3, "second")
    assert first.identity != second.identity


async def test_odd_bytes_and_endless_lines_do_no_harm(bench):
    running = await bench.py(
        f"""
        import os
        os.write(1, b"\\xff\\xfe bad\\n" + b"x" * {LINE_BYTES * 3})
        os.write(1, b"y" * 1000 + b"\\nnext\\n" + b"z" * {LINE_BYTES + 5} + b"\\nlast\\n")
        """
    )
    await running.wait_exit()
    bad, long, after, cut, last = bench.log().splitlines()
    assert bad.endswith(" bad")
    assert long.endswith(CUT)
    assert len(cut) == LINE_BYTES + len(CUT)
    assert (after, last) == ("next", "last")


async def test_it_has_the_capabilities_of_a_process(bench):
    running = await bench.sh("sleep 60")
    for capability in (Running, Killable, Pausable, Stoppable, Loggable):
        assert isinstance(running, capability)


async def test_a_killed_part_is_dead_with_all_its_children(bench):
    """A wrapper that ignores SIGTERM, a child in a session of its own, and an orphan are all gone after a kill."""
    running = await bench.sh(
        "trap '' TERM; echo $$; sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done' & "
        "setsid sh -c 'echo $$; sleep 60' & (setsid sh -c 'echo $$; sleep 60' &) ; while :; do sleep 1; done"
    )
    pids = await pids_in(bench, 4)
    proof = await running.kill()
    assert proof.startswith(f"pid {running.identity} exited -9, ")
    assert int(proof.split(", ")[1].split()[0]) >= 4
    assert all(gone(pid) for pid in pids)
    assert bench.exits == [("exited -9", True)]
    with pytest.raises(FaultDidNotLand, match="was not running"):
        await running.kill()


async def test_a_child_that_cleared_its_environment_is_found_by_its_session(bench):
    running = await bench.sh("env -i sh -c 'echo $$; sleep 60' & sleep 60")
    (pid,) = await pids_in(bench, 1)
    await running.kill()
    assert gone(pid)


async def test_an_earlier_starts_orphans_are_not_taken_for_this_ones(bench):
    first = await bench.sh("setsid sh -c 'echo $$; sleep 60' & exit 3")
    (orphan,) = await pids_in(bench, 1)
    assert await first.wait_exit() == "exited 3"
    second = await bench.sh("sleep 60")
    await second.kill()
    assert not gone(orphan)
    await first.stop(1.0)
    assert gone(orphan)


async def test_an_ignored_signal_did_not_land(bench, monkeypatch):
    monkeypatch.setattr(process, "IGNORED_AFTER_S", 0.2)
    running = await bench.sh("trap '' TERM; echo 1; while :; do sleep 0.1; done")
    await pids_in(bench, 1)
    with pytest.raises(FaultDidNotLand, match=r"part ignored SIGTERM for 0\.2 s"):
        await running.kill("TERM")
    assert running.alive()
    assert running.by_us, "should it end later, that was still our signal"
    with pytest.raises(FaultNotSupported, match="no signal 'TREM'"):
        await running.kill("TREM")


async def test_stop_asks_first_and_then_insists(bench):
    polite = await bench.py(
        "import signal,time\nsignal.signal(15, lambda *_: exit(7))\nprint(1, flush=True)\ntime.sleep(60)"
    )
    await pids_in(bench, 1)
    assert await polite.stop(5.0) == f"pid {polite.identity} exited 7"
    assert polite.ignored_term_s is None
    rude = await bench.sh("trap '' TERM; echo 2; while :; do sleep 0.1; done")
    await pids_in(bench, 2)
    assert await rude.stop(0.2) == f"pid {rude.identity} exited -9 after it ignored SIGTERM for 0.2 s"
    assert rude.ignored_term_s == 0.2
    assert bench.exits == [("exited 7", True), ("exited -9", True)]


async def test_pause_stops_the_whole_tree_and_resume_lets_it_go_on(bench):
    running = await bench.sh("sh -c 'echo $$; sleep 60' & sleep 60")
    (child,) = await pids_in(bench, 1)
    proof = await running.pause()
    assert "stopped (state T)" in proof
    for pid in (child, int(running.identity)):
        member = read_member(pid)
        assert member is not None
        assert member.state == "T"
    assert "running again" in await running.resume()
    member = read_member(child)
    assert member is not None
    assert member.state != "T"
    await running.pause()
    assert (await running.kill()).startswith(f"pid {running.identity} exited -9")
    with pytest.raises(FaultDidNotLand, match="was not running"):
        await running.pause()


async def test_a_component_has_its_own_session_and_the_runs_mark(bench):
    running = await bench.sh("sleep 60")
    member = read_member(int(running.identity))
    assert member is not None
    assert member.session == member.pid
    environment = environment_of(running)
    assert b"AFTERSHOCK_RUN=run-1" in environment
    assert b"AFTERSHOCK_PART=part" in environment
    assert standard_input_of(running).samefile(os.devnull)


async def test_a_program_that_cannot_run_is_a_sentence(bench, tmp_path):
    plain, odd = tmp_path / "plain", tmp_path / "odd"
    plain.write_text("hello")
    odd.write_bytes(b"\x7fELF nonsense")
    odd.chmod(0o755)
    for program, says in [
        (str(tmp_path / "none"), f"there is no {tmp_path}/none; build it, or mend part.process"),
        (str(tmp_path), "is a directory"),
        (str(plain), "is not executable; chmod +x it"),
        (str(odd), "cannot be executed here"),
        ("no-such-program", "no program 'no-such-program' in PATH"),
    ]:
        with pytest.raises(StartFailed) as raised:
            await bench.start(Component("part", process=(program,)), program)
        assert says in str(raised.value)


async def test_a_death_before_readiness_ends_the_wait_at_once(bench):
    check = Ready("tcp", port="tcp", within_s=30)
    running = await bench.sh("echo 'address in use'; exit 3", ports={"tcp": 1}, ready=check)
    with pytest.raises(StartFailed) as raised:
        await asyncio.wait_for(ready(running.component, {"tcp": ("127.0.0.1", 1)}, running), 5)
    text = str(raised.value)
    assert "part did not start: it ended before port tcp takes connections; it exited 3" in text
    assert "address in use" in text
    assert "logs/part.log" in text


async def test_a_part_that_never_answers_gives_the_last_reason(bench):
    check = Ready("tcp", port="tcp", within_s=0.1)
    running = await bench.sh("sleep 60", ports={"tcp": 1}, ready=check)
    with pytest.raises(StartFailed, match=r"not ready within 0\.1 s: .*127\.0\.0\.1"):
        await ready(running.component, {"tcp": ("127.0.0.1", 1)}, running)


async def test_an_answer_of_somebody_else_is_not_readiness(bench):
    """The port answers, but the own process has died: an old server that drains must not pass for the new one."""
    stranger = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    address = stranger.sockets[0].getsockname()
    running = await bench.sh("exit 0", ports={"tcp": 1}, ready=Ready("tcp", port="tcp"))
    await running.wait_exit()
    with pytest.raises(StartFailed, match="it ended before"):
        await ready(running.component, {"tcp": address}, running)
    stranger.close()


async def test_http_and_log_readiness(bench):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    script = f"""
        import http.server
        class Answer(http.server.BaseHTTPRequestHandler):
            asked = 0
            def do_GET(self):
                Answer.asked += 1
                self.send_response(200 if self.path == "/health" and Answer.asked > 2 else 503)
                self.end_headers()
        server = http.server.HTTPServer(("127.0.0.1", {address[1]}), Answer)
        print("listening now", flush=True)
        server.serve_forever()
        """
    running = await bench.py(script, ports={"http": 1}, ready=Ready("http", port="http", path="/health"))
    assert await ready(running.component, {"http": address}, running) < 5
    by_log = Component("part", ready=Ready("log", pattern=r"listening \w+"))
    assert await ready(by_log, {}, running) < 1
    never = Component("part", ready=Ready("http", port="http", path="/none", within_s=0.1))
    with pytest.raises(StartFailed, match="503"):
        await ready(never, {"http": address}, running)


async def test_grpc_health_readiness(bench):
    asked = []

    async def check(request, _context):
        asked.append(request.service)
        statuses = health_pb2.HealthCheckResponse.ServingStatus
        return health_pb2.HealthCheckResponse(status=statuses.SERVING if len(asked) > 1 else statuses.NOT_SERVING)

    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(
        check,
        request_deserializer=health_pb2.HealthCheckRequest.FromString,
        response_serializer=health_pb2.HealthCheckResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    running = await bench.sh("sleep 60", ports={"grpc": 1}, ready=Ready("grpc_health", port="grpc", path="a.B"))
    assert await ready(running.component, {"grpc": ("127.0.0.1", port)}, running) < 5
    assert asked == ["a.B", "a.B"]
    await server.stop(None)


def test_signals_have_the_names_that_faults_use():
    assert process._signal("KILL") == process._signal("SIGKILL") == signal.SIGKILL
