"""The machine itself: Python, descriptors, processors, memory, clock, disk, user, addresses, ports, UDP."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from harness.addresses import FIRST_PORT, FIRST_SECOND_OCTET, LAST_PORT, LAST_SECOND_OCTET
from harness.doctor.values import Check, Group, Status
from harness.settings import PROJECT_ROOT

PYTHON_NEEDED = (3, 11)
DESCRIPTORS_NEEDED = 128
"""The soft limit of each process: the busiest one held 45 in a run with one phone and a killed cloud."""
DESCRIPTORS_ADVISED = 1024
PORTS_NEEDED = 100
"""A run of the reference system leases 13; several stand side by side."""
CORES_ADVISED = 2
MEMORY_NEEDED_MB, MEMORY_ADVISED_MB = 600, 1500
"""A process run with one phone takes 415 MB (measured, each page counted once)."""
DISK_NEEDED_MB, DISK_ADVISED_MB = 50, 500
"""A short run's directory takes 0.2 MB, and 1 MB more while it lasts (measured)."""
CLOCK_TICK_S = 1e-3
"""A coarser clock could not tell the frames of 20 ms apart."""
CLOCKS_APART_S = 0.001
DATAGRAM_WITHIN_S = 0.5
MB = 2**20


def python() -> Check:
    """Look at the interpreter that runs this."""
    seen = f"{platform.python_version()} ({platform.system()}, {sys.executable})"
    if sys.version_info[:2] < PYTHON_NEEDED:
        return Check(
            Group.MUST, "Python", Status.LACK, seen, "anything", "uv venv --python '>=3.11' .venv"
        )  # fmt: skip
    if platform.system() != "Linux":
        return Check(Group.MUST, "Python", Status.LACK, seen, "anything: runs need Linux", "run in a Linux machine")
    return Check(Group.MUST, "Python", Status.OK, seen)


def installer() -> Check:
    """Look for what installs packages."""
    local = PROJECT_ROOT / ".uv" / "bin" / "uv"
    found = shutil.which("uv") or (str(local) if local.exists() else None)
    if found:
        return Check(Group.EXTRAS, "uv", Status.OK, found)
    return Check(
        Group.EXTRAS, "uv", Status.INFO, "none; pip does for the harness itself",
        "a Go toolchain is not fetched by itself when LiveKit must be built", "python3 -m pip install uv",
    )  # fmt: skip


def descriptors() -> Check:
    """Look at the soft limit on open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    shown = "unlimited" if soft == resource.RLIM_INFINITY else str(soft)
    mend = f"ulimit -n {DESCRIPTORS_ADVISED}"
    if soft == resource.RLIM_INFINITY or soft >= DESCRIPTORS_ADVISED:
        return Check(Group.MUST, "file descriptors", Status.OK, f"{shown} per process")
    seen = f"{shown} per process (at most {hard})"
    if soft < DESCRIPTORS_NEEDED:
        return Check(Group.MUST, "file descriptors", Status.LACK, seen, "a stack of one phone", mend)
    return Check(Group.MUST, "file descriptors", Status.INFO, seen, "many phones in one run", mend)


def processors() -> Check:
    """Look at cores and load."""
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    seen = f"{cores} cores, load {load:.1f}"
    if load > cores:
        mend = "let other work end first"
        return Check(Group.MUST, "cores", Status.INFO, seen, "runs may come out UNKNOWN for lag", mend)
    if cores < CORES_ADVISED:
        return Check(Group.MUST, "cores", Status.INFO, seen, "runs may come out UNKNOWN for lag", "give it two cores")
    return Check(Group.MUST, "cores", Status.OK, seen)


def memory() -> Check:
    """Look at the memory that is free or can be made so."""
    free_mb = psutil.virtual_memory().available // MB
    seen, mend = f"{free_mb} MB available", "end other programs"
    if free_mb < MEMORY_NEEDED_MB:
        return Check(Group.MUST, "memory", Status.LACK, seen, "a stack of one phone", mend)
    if free_mb < MEMORY_ADVISED_MB:
        return Check(Group.MUST, "memory", Status.INFO, seen, "building LiveKit, or several stacks side by side", mend)
    return Check(Group.MUST, "memory", Status.OK, seen)


def clock() -> Check:
    """Look at CLOCK_MONOTONIC: fine enough, and the same in another process."""
    tick_s = time.get_clock_info("monotonic").resolution
    before_ns = time.monotonic_ns()
    told = subprocess.run(
        [sys.executable, "-I", "-S", "-c", "import time; print(time.monotonic_ns())"],
        capture_output=True, text=True, timeout=5, check=False,
    ).stdout.strip()  # fmt: skip
    after_ns = time.monotonic_ns()
    same = told.isdecimal() and before_ns - CLOCKS_APART_S * 1e9 <= int(told) <= after_ns + CLOCKS_APART_S * 1e9
    seen = f"monotonic, ticks of {tick_s * 1e9:.0f} ns, {'the same' if same else 'NOT the same'} in every process"
    if same and tick_s <= CLOCK_TICK_S:
        return Check(Group.MUST, "clock", Status.OK, seen)
    return Check(Group.MUST, "clock", Status.LACK, seen, "judging: frames are ordered by it", "use another machine")


def disk(what: str, path: Path) -> Check:
    """Look at the room for ``what``, in the nearest directory that exists."""
    there = path
    while not there.exists():
        there = there.parent
    name = f"disk for {what}"
    if not there.is_dir():
        return Check(Group.MUST, name, Status.LACK, f"{there} is no directory", "any run", _elsewhere(what))
    free_mb = shutil.disk_usage(there).free // MB
    seen = f"{free_mb} MB free in {there}"
    if not os.access(there, os.W_OK):
        return Check(
            Group.MUST, name, Status.LACK, f"{there} may not be written", "any run", _elsewhere(what)
        )  # fmt: skip
    if free_mb < DISK_NEEDED_MB:
        return Check(Group.MUST, name, Status.LACK, seen, "any run", f"free space there, or {_elsewhere(what)}")
    if free_mb < DISK_ADVISED_MB:
        return Check(Group.MUST, name, Status.INFO, seen, "keeping many runs", "free space there")
    return Check(Group.MUST, name, Status.OK, seen)


def _elsewhere(what: str) -> str:
    return "name another by --runs DIR" if what == "runs" else "name another by TMPDIR"


def temp_disk() -> Check:
    """Look at the room where secrets, databases and locks are kept while a run lasts."""
    return disk("temporary files", Path(tempfile.gettempdir()))


def loopback() -> Check:
    """Bind the first and the last loopback address that runs lease."""
    tried = (f"127.{FIRST_SECOND_OCTET}.0.1", f"127.{LAST_SECOND_OCTET}.63.1")
    for address in tried:
        try:
            with socket.socket() as probe:
                probe.bind((address, 0))
        except OSError as error:
            return Check(
                Group.MUST, "loopback addresses", Status.LACK, f"{address} cannot be bound ({error.strerror})",
                "any run: each has an address of its own", "ip address add 127.0.0.1/8 dev lo",
            )  # fmt: skip
    return Check(Group.MUST, "loopback addresses", Status.OK, f"{tried[0]} to {tried[1]} can be bound")


def ports() -> Check:
    """Count the ports of the leasable range on which nothing is bound."""
    taken = {
        one.laddr.port for one in psutil.net_connections("inet")
        if one.laddr and FIRST_PORT <= one.laddr.port <= LAST_PORT
    }  # fmt: skip
    free = LAST_PORT - FIRST_PORT + 1 - len(taken)
    seen = f"{free} of {LAST_PORT - FIRST_PORT + 1} free between {FIRST_PORT} and {LAST_PORT}"
    if free < PORTS_NEEDED:
        return Check(Group.MUST, "ports", Status.LACK, seen, "any run", "end what listens there: ss -tulpn")
    return Check(Group.MUST, "ports", Status.OK, seen)


def udp() -> Check:
    """Send a datagram over loopback."""
    why_not = datagram("127.0.0.1")
    if why_not:
        mend = "let UDP pass on lo: iptables -I INPUT -i lo -j ACCEPT"
        return Check(Group.MUST, "UDP", Status.LACK, f"over loopback: {why_not}", "media: any run", mend)
    return Check(Group.MUST, "UDP", Status.OK, "a datagram came over loopback")


def datagram(address: str) -> str:
    """Send a datagram from an address of this machine to itself; return why it did not come, empty when it did."""
    try:
        with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as one:
            one.settimeout(DATAGRAM_WITHIN_S)
            one.bind((address, 0))
            one.sendto(b"aftershock", one.getsockname())
            one.recv(64)
    except TimeoutError:
        return f"it did not come within {DATAGRAM_WITHIN_S} s"
    except OSError as error:
        return str(error.strerror)
    return ""
