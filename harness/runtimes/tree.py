"""Which processes belong to a part: its own session, whatever descends from it, and whatever carries its name.

A wrapper may fork, change its session, or let its children be adopted: the environment variables of the run still
mark them. Linux only (/proc).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.clock import now_ns
from harness.settings import PART_VARIABLE, RUN_ID_VARIABLE

START_VARIABLE = "AFTERSHOCK_START"
_PROC = Path("/proc")


@dataclass(frozen=True)
class Member:
    """One process as /proc shows it."""

    pid: int
    parent: int
    session: int
    state: str
    """One letter: R, S, D running or asleep, T stopped, Z ended and not yet collected."""
    started: int
    """Start time in clock ticks since boot: together with the pid it is unique."""


def read_member(pid: int) -> Member | None:
    """Return the process, or None when it is gone."""
    try:
        text = (_PROC / str(pid) / "stat").read_text("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may hold anything, so the fields are counted from the last one (proc(5): 3 state,
    # 4 ppid, 6 session, 22 starttime).
    fields = text.rpartition(")")[2].split()
    return Member(pid, int(fields[1]), int(fields[3]), fields[0], int(fields[19]))


def mark(run: str, part: str) -> dict[str, str]:
    """Return what ``child_environment`` and this start put into the environment of every process of ``part``.

    The last variable differs with each start: what an earlier start left behind is not taken for this one's.
    """
    return {RUN_ID_VARIABLE: run, PART_VARIABLE: part, START_VARIABLE: str(now_ns())}


def members(marked: Mapping[str, str], leader: int) -> dict[int, Member]:
    """Return the living processes of a start by pid; the one that called is never among them."""
    wanted = {f"{name}={value}".encode() for name, value in marked.items()}
    everyone = {pid: member for pid in _pids() if (member := read_member(pid)) is not None}
    found = {pid for pid, member in everyone.items() if leader in (pid, member.session)}
    found |= {pid for pid in everyone if pid not in found and _carries(pid, wanted)}
    grew = True
    while grew:
        below = {pid for pid, member in everyone.items() if member.parent in found} - found
        found |= below
        grew = bool(below)
    found.discard(os.getpid())
    return {pid: everyone[pid] for pid in found if everyone[pid].state not in "ZX"}


def send(member: Member, number: signal.Signals) -> bool:
    """Signal exactly this process, never a later one with its pid; tell whether it was there."""
    try:
        handle = os.pidfd_open(member.pid)
    except ProcessLookupError:
        return False
    try:
        now = read_member(member.pid)
        if now is None or now.started != member.started:
            return False
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def _pids() -> list[int]:
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]


def _carries(pid: int, wanted: set[bytes]) -> bool:
    try:
        return wanted <= set((_PROC / str(pid) / "environ").read_bytes().split(b"\0"))
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False  # gone, or of another user: not ours
