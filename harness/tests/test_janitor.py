"""When the rig is killed, nothing of its run is left; nothing else is touched."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time

import pytest

from harness import events as ev
from harness.errors import DiedUnexpectedly
from harness.history import History
from harness.janitor import Janitor
from harness.janitor.__main__ import Registered, clean_up, listen
from harness.janitor.ending import Known
from harness.janitor.sweep import Sweeping, end_sweep
from harness.janitor.undoing import Undo, run_undos
from harness.processes import look_at, processes_of
from harness.redact import know_secret, mask
from harness.remains import Remain, read_remains
from harness.settings import child_environment, scratch_dir
from harness.waiting import NotYet, until

SLEEPS = "import time, signal; signal.signal(15, signal.SIG_IGN); time.sleep(60)"

# A rig: one child that ignores SIGTERM and has a child of its own, one that is re-parented in a session of its own and
# is stopped, and a user's command that does not carry the run id, whose daemonised child has lost its parent.
RIG = f"""
import asyncio, os, signal, subprocess, sys
from pathlib import Path
from harness.settings import child_environment
from harness.janitor import Janitor
from harness.redact import know_secret

SLEEPS = {SLEEPS!r}
RUN, RUN_DIR = sys.argv[1], Path(sys.argv[2])
CARRYING, BARE = child_environment(RUN, "part", {{}}), {{"PATH": os.environ["PATH"]}}
TWO = "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', sys.argv[1]], start_new_session=%s)"

def python(*argv, env):
    return subprocess.Popen([sys.executable, "-c", *argv], env=env, start_new_session=True, stdout=subprocess.PIPE)

async def main():
    janitor = Janitor(RUN, RUN_DIR)
    await janitor.start()
    parts = [
        python((TWO % False) + ";print(p.pid, flush=True);" + SLEEPS, SLEEPS, env=CARRYING),
        python((TWO % True) + ";import os;os.kill(p.pid, 19);print(p.pid, flush=True)", SLEEPS, env=CARRYING),
        python((TWO % False) + ";print(p.pid, flush=True);" + SLEEPS, SLEEPS, env=BARE),
    ]
    janitor.register(parts[2].pid)
    told = dict(WHERE=str(RUN_DIR), WORD="s3cret-word", PATH=os.environ["PATH"])
    know_secret("s3cret-word")
    done = "echo $WORD; echo $(ps -o pid= -p %d) $WORD > $WHERE/undone; sleep 60 & echo $! > $WHERE/left" % parts[0].pid
    janitor.run_if_rig_dies(["sh", "-c", done + "; setsid sleep 61 &"], told)
    back = "sleep 63 & echo $! > $WHERE/back; grep SigIgn /proc/self/status >> $WHERE/back"
    janitor.run_if_rig_dies(["sh", "-c", back], told, stays=True)
    janitor.forget(janitor.run_if_rig_dies(["sh", "-c", "echo no > $WHERE/forgotten"], told))
    for part in parts:
        print(part.pid, int(part.stdout.readline()), flush=True)
    print("janitor", janitor.pid, flush=True)
    if len(sys.argv) > 3:
        await janitor.stop()
        print("stopped", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def bystander(run):
    return subprocess.Popen(
        [sys.executable, "-c", "print('up', flush=True);" + SLEEPS],
        env=child_environment(run, "part", {}),
        stdout=subprocess.PIPE,
    )


def end(process):
    process.kill()
    process.wait()
    if process.stdout:
        process.stdout.close()


def living(pids):
    return [pid for pid in pids if look_at(pid) is not None]


def start_rig(run, tmp_path, *more):
    rig = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(RIG), run, str(tmp_path), *more], stdout=subprocess.PIPE, text=True
    )
    assert rig.stdout is not None
    pids = [int(word) for _ in range(3) for word in rig.stdout.readline().split()]
    return rig, pids, int(rig.stdout.readline().split()[1])


async def left(pids, count, within_s=2):
    def probe():
        alive = living(pids)
        return NotYet(f"{alive} live") if len(alive) > count else len(alive)

    assert await until(probe, what=f"all but {count} of the run's processes to end", within_s=within_s) == count


async def test_a_killed_rig_leaves_nothing_and_harms_nobody_else(tmp_path):
    run, other = f"test-{os.getpid()}-kill", bystander(f"test-{os.getpid()}-kill2")
    (scratch_dir(run) / "database").mkdir(parents=True)
    rig, pids, janitor = start_rig(run, tmp_path)
    try:
        await left(pids, 5)  # the second part has ended, its re-parented child has not
        assert janitor not in {pid for pid, _ in processes_of(run)}
        for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(janitor, ignored)
        end(rig)
        began = time.monotonic()
        await left([*pids, janitor], 0)
        assert time.monotonic() - began < 2
        assert look_at(other.pid) is not None
        assert processes_of(run) == []
        assert not scratch_dir(run).exists()
        assert (tmp_path / "undone").read_text() == f"{pids[0]} s3cret-word\n"  # it ran before the killing
        assert not (tmp_path / "forgotten").exists()
        assert look_at(int((tmp_path / "left").read_text())) is None
        assert "s3cret" not in (tmp_path / "logs" / "janitor.log").read_text()
        assert not (tmp_path / "remains.json").exists()
        notes = [event.text for event in History.load(tmp_path).events if isinstance(event, ev.Note)]
        assert len(notes) == 3
        assert notes[0].startswith("ran `sh -c echo $WORD")
        assert notes[0].endswith("exit 0")
        assert "killed 7 processes" in notes[1]  # with the two that the command left
        assert f"{pids[0]} " in notes[1]
        assert notes[2].startswith("ran `sh -c sleep 63 &")
        back, _, ignored = (tmp_path / "back").read_text().split()
        assert look_at(int(back)) is not None  # what it brought back is not the run's
        os.kill(int(back), signal.SIGKILL)
        assert int(ignored, 16) & ((1 << 31) - 1) == 0  # 32 and 33 are glibc's own
    finally:
        end(other)
        for pid in living(pids):
            os.kill(pid, signal.SIGKILL)


async def test_after_bye_nothing_is_touched(tmp_path):
    rig, pids, janitor = start_rig(f"test-{os.getpid()}-bye", tmp_path, "stop")
    assert rig.stdout.readline() == "stopped\n"
    try:
        await left(pids, 5)
        end(rig)
        await left([janitor], 0)
        assert len(living(pids)) == 5
        assert not (tmp_path / "events" / "janitor.jsonl").exists()
    finally:
        for pid in living(pids):
            os.kill(pid, signal.SIGKILL)


async def test_a_daemon_that_lost_its_kin_before_the_rig_died_is_still_known(tmp_path):
    """Its parent, a user's command, ends a second before the rig: from then on nothing but memory says whose it is."""
    janitor = Janitor(f"test-{os.getpid()}-daemon", tmp_path)
    await janitor.start()
    code = "import subprocess, sys, time; p = subprocess.Popen(['sleep', '60'], start_new_session=True, stdout=2);"
    command = subprocess.Popen(  # noqa: ASYNC220  instant
        [sys.executable, "-c", code + "print(p.pid, flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert command.stdout is not None
    daemon = int(command.stdout.readline())
    try:
        janitor.register(command.pid)
        await asyncio.sleep(1.1)  # it looks once a second
        command.communicate()
        assert look_at(daemon) is not None
        await janitor.stop(sweep=True)
        assert look_at(daemon) is None
    finally:
        if look_at(daemon) is not None:
            os.kill(daemon, signal.SIGKILL)


def test_hears_what_the_rig_names():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b'containers livekit cloud\nown 12 345\nknow ["hunter2-of-the-janitor"]\nown 13 3')
        ours.close()
        named = listen(theirs, Known("run-1"))
    assert named == Registered(("livekit", "cloud"))
    assert mask("it is hunter2-of-the-janitor") == "it is ***"


def test_whether_the_rig_asked_for_it_is_told_apart():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"sweep\n")
        ours.close()
        named = listen(theirs, Known("run-1"))
    assert named == Registered(asked=True)


def cleaned_up(tmp_path, monkeypatch, registered):
    """Let the janitor clean up after a run of which it knows this; return its notes."""
    monkeypatch.setattr("harness.janitor.__main__.drop_dead", lambda run: tmp_path.joinpath("dropped").touch())
    monkeypatch.setattr("harness.janitor.__main__.disown_orphans", lambda: None)
    monkeypatch.setattr("harness.janitor.__main__.know_children", lambda *_: None)
    run = f"test-{os.getpid()}-cleaned"
    clean_up(run, tmp_path, registered, Known(run))
    return [event.text for event in History.load(tmp_path).events if isinstance(event, ev.Note)]


def test_a_command_that_failed_remains(tmp_path, monkeypatch):
    know_secret("hunter3-hunter3")
    undos = {1: Undo(["false", "hunter3-hunter3"], os.environ), 2: Undo(["true"], os.environ)}
    notes = cleaned_up(tmp_path, monkeypatch, Registered(undos=undos))
    assert read_remains(tmp_path) == [Remain("command", "false ***")]
    assert "the rig ended without a word" in notes[2]
    assert "could not do (see `aftershock clean`): command false ***" in notes[3]
    assert not (tmp_path / "dropped").exists()


def test_a_sweep_that_the_rig_asked_for_does_not_tell_of_its_death(tmp_path, monkeypatch):
    (note,) = cleaned_up(tmp_path, monkeypatch, Registered(asked=True))
    assert note.startswith("the rig asked for what its teardown left; killed 0 processes")
    assert read_remains(tmp_path) == []
    assert (tmp_path / "dropped").exists()


async def test_it_tells_the_rig_who_lives_of_the_run(tmp_path):
    """Also who lost its parent, which the rig never saw."""
    janitor = Janitor(f"test-{os.getpid()}-who", tmp_path)
    await janitor.start()
    command = bystander(f"test-{os.getpid()}-elsewhere")
    try:
        janitor.register(command.pid)
        assert await asyncio.to_thread(janitor.living) == [command.pid]
        await asyncio.to_thread(end, command)
        assert await asyncio.to_thread(janitor.living) == []
    finally:
        await janitor.stop()


async def test_it_masks_what_the_rig_knows(tmp_path):
    know_secret("hunter4-hunter4")
    run = f"test-{os.getpid()}-mask"
    part = subprocess.Popen(  # noqa: ASYNC220  instant
        [sys.executable, "-c", "print(1, flush=True);" + SLEEPS, "--api-secret", "hunter4-hunter4"],
        env=child_environment(run, "part", {}), stdout=subprocess.PIPE,
    )  # fmt: skip
    assert part.stdout is not None
    part.stdout.readline()
    janitor = Janitor(run, tmp_path)
    await janitor.start()
    janitor.know()
    await janitor.stop(sweep=True)
    end(part)
    told = (tmp_path / "events" / "janitor.jsonl").read_text()
    assert "killed 1 processes" in told
    assert "hunter4" not in told


def test_a_command_that_hangs_or_is_missing_costs_only_its_limit():
    began = time.monotonic()
    said = run_undos([Undo(["sleep", "60"], {}), Undo(["/nope", "it"], {}), Undo(["false"], os.environ)], within_s=0.3)
    assert time.monotonic() - began < 1.5
    assert [one.well for one in said] == [False, False, False]
    assert [one.text for one in said] == [
        "`sleep 60` took longer than 0.3 s and was killed",
        "could not run `/nope it`: No such file or directory",
        "ran `false`: exit 1",
    ]


@pytest.mark.filterwarnings("ignore:subprocess:ResourceWarning")
def test_a_command_whose_work_stays_is_not_killed_at_its_limit(tmp_path):
    pid = tmp_path / "pid"
    script = f"echo $$ > {pid}; exec sleep 62"
    said = run_undos([Undo(["sh", "-c", script], os.environ, stays=True)], within_s=0.3)
    assert [(one.text, one.well) for one in said] == [(f"ran `sh -c {script}`: it goes on", True)]
    assert look_at(int(pid.read_text())) is not None
    os.kill(int(pid.read_text()), signal.SIGKILL)


def told(**swept):
    return f"print({json.dumps(swept)!r})"


def sweep_that(code, limit_s=5):
    process = subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return end_sweep(Sweeping(process, (Remain("network", "n"),), time.monotonic_ns() + int(limit_s * 1e9)))


def test_what_a_sweep_did_becomes_a_sentence_and_a_list():
    expected = [Remain("network", "n")]
    done = 'print(\'{"removed": ["container a"], "left": [{"kind": "rule", "name": "r"}], "problem": ""}\')'
    assert sweep_that(done) == ("removed 1 containers and networks of this run: container a", [Remain("rule", "r")])
    mute = 'print(\'{"removed": [], "left": [], "problem": "refused"}\')'
    assert sweep_that(mute) == ("the engine did not answer (refused); listed what it may still have", expected)
    assert sweep_that("raise SystemExit(3)")[1] == expected
    assert sweep_that("import time; time.sleep(60)", 0.1)[1] == expected


async def test_says_so_when_it_was_killed_itself(tmp_path):
    janitor = Janitor("test-dead", tmp_path)
    await janitor.start()
    pid = janitor.pid
    os.kill(pid, signal.SIGKILL)
    await left([pid], 0)
    with pytest.raises(DiedUnexpectedly, match=f"janitor died outside any fault: pid {pid} was not there"):
        await janitor.stop()


async def test_a_pid_that_came_again_is_left_alone(tmp_path):
    """The janitor is told a start time that is not the process's: that pid now belongs to somebody else."""
    other = bystander("test-bystander")
    janitor = Janitor("test-again", tmp_path)
    await janitor.start()
    try:
        assert janitor._line is not None
        assert janitor._process is not None
        janitor._line.send(f"own {other.pid} 1\n".encode())
        janitor._line.close()  # as if the rig had died
        await asyncio.wait_for(janitor._process.wait(), 2)
        assert look_at(other.pid) is not None
        assert "killed 0 processes" in (tmp_path / "events" / "janitor.jsonl").read_text()
    finally:
        end(other)


def test_the_janitor_starts_light():
    heavy = "{'asyncio', 'numpy', 'msgspec'}"
    code = f"import sys, harness.janitor.__main__; print(sorted({heavy} & set(sys.modules)))"
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert got.stdout.strip() == "[]"


def test_an_empty_run_id_finds_nobody():
    with pytest.raises(ValueError, match="names no run"):
        processes_of("")


def test_finds_a_part_by_its_name(tmp_path):
    run = f"test-{os.getpid()}-part"
    part = bystander(run)
    part.stdout.readline()  # it is past its exec
    try:
        assert [pid for pid, _ in processes_of(run)] == [part.pid]
        assert [pid for pid, _ in processes_of(run, "part")] == [part.pid]
        assert processes_of(run, "other") == []
    finally:
        end(part)
