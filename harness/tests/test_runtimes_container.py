"""Containers without an engine: what is asked of it, and what becomes of its answers."""

import asyncio
import json
import threading
from typing import Any

import docker.errors
import pytest

from harness import events as ev
from harness.errors import ComponentError, FaultDidNotLand, FaultNotSupported, HarnessError, StartFailed
from harness.history import History, Recorder
from harness.redact import know_secret
from harness.remains import Remain, read_remains
from harness.rig import stack as rig_stack
from harness.runtimes import (
    Detachable,
    Droppable,
    Killable,
    Loggable,
    Pausable,
    Restartable,
    Running,
    Stoppable,
)
from harness.runtimes.container import containers
from harness.system import Component, Places, load_system, resolve
from harness.system.values import Limits
from harness.tests.container_world import NETWORK, MadeUpEngine, api_error, running_containers


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Give a maker of running made-up containers; what it made ends with the test."""
    with running_containers(tmp_path, monkeypatch) as make:
        yield make


async def test_a_container_has_every_capability(made):
    one, _ = made()
    every = (Running, Killable, Pausable, Stoppable, Loggable, Restartable, Detachable, Droppable)
    for capability in every:
        assert isinstance(one, capability)


async def test_a_kill_is_proven_by_the_end(made):
    one, container = made()
    assert await one.kill() == "container c0ffee123456 (pid 4711) exited 137"
    assert container.asked == ["SIGKILL"]
    assert (one.by_us, one.by_machine, one.alive(), one.exits) == (True, False, False, [""])
    with pytest.raises(FaultDidNotLand, match="was not running: it exited 137"):
        await one.kill()


async def test_an_ignored_signal_did_not_land(made):
    one, _ = made(deaf=True)
    with pytest.raises(FaultDidNotLand, match="ignored SIGTERM"):
        await one.kill("TERM")
    assert one.alive()
    assert one.by_us, "should it end later, that was still our signal"
    with pytest.raises(FaultNotSupported, match="TREM"):
        await one.kill("TREM")


async def test_what_the_engine_refuses_did_not_land(made):
    one, container = made()

    def refuses(_):
        raise docker.errors.APIError("Conflict", explanation="no such container")

    container.kill = refuses
    with pytest.raises(FaultDidNotLand, match=r"docker kill --signal SIGKILL of bridge: no such container"):
        await one.kill()
    assert not one.by_us


async def test_stop_says_how_it_went_and_may_be_repeated(made):
    one, container = made(deaf=True)
    assert await one.stop(1.2) == "container c0ffee123456 (pid 4711) exited 137 after 2 s to end by itself"
    assert container.asked == ["stop 2"]
    assert "it exited 137 before" in await one.stop(1)


async def test_a_container_that_outlives_stop_is_an_error(made):
    one, container = made()
    container.stop = lambda timeout: None
    with pytest.raises(ComponentError, match="docker stop did not end it"):
        await one.stop(1)


async def test_freezing_is_proven_by_the_engine(made):
    one, _ = made()
    assert "is paused" in await one.pause()
    assert "is running" in await one.resume()
    stubborn, _ = made(frozen=True)
    with pytest.raises(FaultDidNotLand, match="is running, not paused"):
        await stubborn.pause()


async def test_a_restart_is_proven_by_another_pid(made):
    one, container = made()
    assert await one.restart() == "container c0ffee123456: pid 4711 exited 143, then pid 4712 was started"
    assert container.asked == ["restart 5"]
    assert one.by_us
    stubborn, _ = made(keeps=4711)
    with pytest.raises(FaultDidNotLand, match="its pid is 4711, and was 4711"):
        await stubborn.restart()


async def test_a_restart_that_ends_nothing_did_not_land(made):
    one, container = made()
    container.restart = lambda timeout: None
    with pytest.raises(FaultDidNotLand, match="docker restart of bridge did not end pid 4711"):
        await one.restart()
    assert not one.by_us


SMALL = Component("bridge", limits=Limits(memory_mb=64, cpus=0.5))


async def test_want_of_memory_is_the_machines_doing(made):
    one, container = made(SMALL)
    container.ends(137, OOMKilled=True)
    assert await one.wait_exit() == (
        "exited 137, killed for want of memory (limit 64 MiB); raise bridge.limits.memory_mb"
    )
    assert one.by_machine
    assert not one.by_us


async def test_want_of_memory_without_a_limit_is_the_whole_machines(made):
    one, container = made()
    container.ends(1, OOMKilled=True)
    assert await one.wait_exit() == (
        "exited 1, after something in it was killed for want of memory (it has no limit of its own); "
        "free memory on this machine"
    )


async def test_a_kill_of_ours_is_ours_though_a_child_had_starved_before(made):
    one, container = made(SMALL)
    container.attrs["State"]["OOMKilled"] = True
    await one.kill()
    assert (one.exit_text(), one.by_machine) == ("exited 137", False)


async def test_a_dead_engine_is_an_end_of_unknown_kind_and_nobodys_fault(made):
    one, container = made()
    container.lines.put(None)
    container.status.put(docker.errors.DockerException("connection aborted"))
    assert await one.wait_exit() == "was lost sight of, for the Docker engine is gone (connection aborted)"
    assert (one.by_machine, one.by_us) == (True, False)


@pytest.mark.parametrize(
    ("verb", "error"), [("pause", FaultDidNotLand), ("kill", FaultDidNotLand), ("stop", ComponentError)]
)
async def test_an_engine_that_hangs_is_not_asked_again(made, verb, error):
    one, container = made()
    container.silent = docker.errors.DockerException("read timed out")
    container.pause = container.kill = container.stop = lambda *_, **__: pytest.fail("it was asked")
    words = {"stop": [1]}.get(verb, [])
    with pytest.raises(error, match=rf"docker {verb}.*the Docker engine is gone \(read timed out\)"):
        await getattr(one, verb)(*words)
    assert (one.alive(), one.by_us) == (False, False)
    lost = await asyncio.wait_for(one.wait_exit(), 1)  # the rest of its log is not waited for
    assert lost == "was lost sight of, for the Docker engine is gone (read timed out)"
    assert one.by_machine


def test_limits_are_the_engines_and_leave_no_swap():
    assert containers._limits(SMALL) == {
        "mem_limit": 64 * 1024 * 1024, "memswap_limit": 64 * 1024 * 1024, "nano_cpus": 500_000_000
    }  # fmt: skip
    assert containers._limits(Component("bridge")) == {}


async def test_the_log_is_whole_and_masked_before_the_exit_is_told(made, tmp_path):
    know_secret("hunter2hunter2")
    one, container = made()
    container.lines.put(b"first\nkey hunter2hunter2\nlas")
    container.lines.put(b"t\n")
    container.ends(3)
    assert await one.wait_exit() == "exited 3"
    assert one.exits == ["first\nkey ***\nlast\n"]
    assert one.last_lines(1) == ("last",)
    assert one.find_line("^fir") == "first"
    lines = History.load(tmp_path).all(ev.LogLine)
    assert [line.text for line in lines] == ["first", "key ***", "last"]


# -- a run's containers ------------------------------------------------------------------------------------------------


@pytest.fixture
def fleet(tmp_path):
    recorder = Recorder(tmp_path, "run-1", "rig")
    one = containers.Containers("run-1", tmp_path, recorder, ["livekit", "bridge"])
    one._network, one._images = NETWORK, {"livekit": "l:1", "bridge": "b:1"}
    yield one
    recorder.close()


async def test_a_start_that_the_engine_refuses_is_said_in_its_words(fleet, monkeypatch):
    def refuses(component, resolved):
        raise api_error('exec: "/nope":\n no such file')

    monkeypatch.setattr(fleet, "_make", refuses)
    system = load_system("containers")
    with pytest.raises(StartFailed, match=r'bridge did not start: .*b:1: exec: "/nope": no such file'):
        await fleet.start(system.components["bridge"], None)
    await fleet.close()


async def test_everything_of_the_run_is_removed(fleet):
    fleet._engine = one = MadeUpEngine("a", "b", "the-network")
    await fleet.close()
    assert (one.held, one.order[-1]) == ([], "closed")
    assert read_remains(fleet.run_dir) == []


async def test_what_stays_after_teardown_is_named_and_listed(fleet):
    fleet._engine = MadeUpEngine("a", "the-network", stuck=["the-network"])
    with pytest.raises(HarnessError, match="left over after teardown: network the-network"):
        await fleet.close()
    assert read_remains(fleet.run_dir) == [
        Remain("network", "the-network", "id-of-the-network", interface="br-id-of-the-ne"),
    ]


async def test_a_dead_engine_ends_the_teardown_with_a_list_of_all_that_was_made(fleet, made):
    one, container = made()
    fleet._running, fleet._made, fleet._wrapped = [one], {"bridge": container}, {"bridge": Any}
    fleet._engine = MadeUpEngine(gone="connection refused")
    fleet._let_go = lambda engine, within_s: engine.close()
    with pytest.raises(
        HarnessError, match=r"engine is gone \(connection refused\), and perhaps left over: .*aftershock-run-1-bridge"
    ):
        await asyncio.wait_for(fleet.close(), 5)
    assert read_remains(fleet.run_dir) == [
        Remain("container", "aftershock-run-1-bridge", container.id),
        NETWORK.remain(),
    ]
    assert one.exit_text() == "was lost sight of, for the Docker engine is gone (connection refused)"


async def test_a_call_that_hangs_does_not_hold_up_a_teardown_without_an_engine(fleet):
    go = threading.Event()
    task = asyncio.create_task(fleet.call(lambda: go.wait(5)))
    await asyncio.sleep(0)
    fleet._engine = MadeUpEngine(gone="no answer")
    with pytest.raises(HarnessError, match="no answer"):
        await asyncio.wait_for(fleet.close(), 1)
    go.set()
    await task


async def test_close_waits_for_a_start_that_was_cancelled(fleet):
    go = threading.Event()
    fleet._engine = one = MadeUpEngine()

    def slow():
        go.wait(5)
        one.order.append("started")

    task = asyncio.create_task(fleet.call(slow))
    await asyncio.sleep(0)
    task.cancel()
    closing = asyncio.create_task(fleet.close())
    await asyncio.sleep(0.02)
    go.set()
    await closing
    assert one.order[0] == "started"


async def test_a_part_that_somebody_restarted_is_taken_over_not_started(fleet):
    asked = []

    class Restarted:
        def __init__(self):
            self.attrs = {"State": {"Running": True, "FinishedAt": "2026-01-31T12:00:00.5Z", "Pid": 12}}

        def reload(self):
            asked.append("reload")

        def start(self):
            asked.append("start")
            self.attrs["State"]["Running"] = True

    one: Any = Restarted()
    assert containers._again(one) == (one, 1769860800.5)
    assert asked == ["reload"]
    one.attrs["State"]["Running"] = False
    containers._again(one)
    assert asked == ["reload", "reload", "start", "reload"]


# -- where everything is -----------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    """Keep the scratch directories of these runs among the test's own files."""
    monkeypatch.setattr(rig_stack, "scratch_dir", lambda run: tmp_path / f"scratch-{run}")


def stack_of(tmp_path, *sets, system="reference"):
    one = rig_stack.Stack(
        load_system(system, sets=sets), "run-1", tmp_path, Recorder(tmp_path, "run-1", "rig"), None, print
    )
    fleet = containers.Containers("run-1", tmp_path, one.recorder, one.in_containers)
    fleet._network = NETWORK
    one.containers = fleet if one.in_containers else None
    one._plan()
    return one


async def test_who_dials_from_a_container_finds_the_front_on_the_gateway(tmp_path):
    one = stack_of(tmp_path, system="containers")
    hosts = {name: front[0] for name, front in one.fronts.items()}
    assert {hosts[name] for name in ("cloud->bridge", "bridge->livekit", "cloud->stt", "cloud->app")} == {"172.31.7.1"}
    assert {hosts[name] for name in ("phone->cloud", "phone->livekit", "app->cloud")} == {one.host}
    assert one.address("livekit", "signal") == ("172.31.7.10", 7880)
    assert one.address("cloud", "http") == ("172.31.7.12", 80)
    assert one.address("stt", "ws")[0] == one.host
    assert one.media_host == "172.31.7.1"
    await one.stop()
    one.recorder.close()


async def test_livekit_on_this_machine_sends_media_where_a_container_gets_it(tmp_path):
    one = stack_of(tmp_path, "bridge.image=theirs:1")
    config = json.loads(one.livekit_config().read_text())
    assert config["rtc"]["node_ip"] == "172.31.7.1"
    assert config["rtc"]["interfaces"] == {"includes": ["tap2887714560"]}
    assert config["bind_addresses"] == [one.host]
    await one.stop()
    one.recorder.close()


async def test_livekit_in_a_container_finds_its_configuration_there(tmp_path):
    one = stack_of(tmp_path, "livekit.image=theirs:1")
    path = one.livekit_config()
    config = json.loads(path.read_text())
    assert (config["rtc"]["node_ip"], config["bind_addresses"]) == ("172.31.7.10", ["0.0.0.0"])
    assert "interfaces" not in config["rtc"]
    assert path.stat().st_mode & 0o777 == 0o644
    assert path.parent.stat().st_mode & 0o777 == 0o700
    livekit = one.system.components["livekit"]
    places = Places(one.fronts, {"livekit": "0.0.0.0"}, one.ports, {"livekit.config": str(path)})
    resolved = resolve(one.system, livekit, places)
    assert resolved.argv == ("--config", "/etc/livekit.yaml")
    assert resolved.mounts == {"/etc/livekit.yaml": str(path)}
    await one.stop()
    one.recorder.close()


async def test_without_containers_nothing_changes(tmp_path):
    one = stack_of(tmp_path)
    assert one.media_host == "127.0.0.1"
    assert {host for host, _ in one.fronts.values()} == {one.host}
    assert json.loads(one.livekit_config().read_text())["rtc"]["interfaces"] == {"includes": ["lo"]}
    await one.stop()
    one.recorder.close()


def test_one_error_of_side_by_side_work_is_raised_bare():
    failed = StartFailed("bridge", "it ended at once")
    with pytest.raises(StartFailed), rig_stack.bare_errors():
        raise BaseExceptionGroup("outer", [BaseExceptionGroup("inner", [failed])])
    with pytest.raises(ExceptionGroup), rig_stack.bare_errors():
        raise ExceptionGroup("two", [failed, ValueError("a bug")])
