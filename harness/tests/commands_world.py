"""What the tests of parts by commands use: a part at a leased port, and somebody who stands for the janitor."""

import asyncio
import shlex
import sys

from harness.history import Recorder
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

    def run_if_rig_dies(self, argv, env, *, stays=False):
        self.number += 1
        self.stays = stays
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
