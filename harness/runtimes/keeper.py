"""Keeps a user's command: ``python keeper.py NAMES COMMAND...``; by path, standard library alone, to start fast.

It becomes the parent of whatever the command leaves behind (a daemon, a process in the background), so that the run
finds all of it as kin. It carries the run id; the command does not: NAMES (joined by commas) leave its environment.
With no NAMES it keeps nothing: what is left behind is nobody's of ours. On descriptor 3 it writes ``started PID``,
``exited CODE`` or ``cannot REASON``. It lives as long as anything below it does.
"""

import contextlib
import ctypes
import os
import signal
import sys

TELL = 3
PR_SET_CHILD_SUBREAPER = 36
"""linux/prctl.h"""
IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
OWN = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
"""What a command begins with at its default. Python ignores SIGPIPE and SIGXFSZ, a script's background job SIGINT and
SIGQUIT: a program that reckons with them would not end."""


def main() -> None:
    """Start the command, collect what ends below, and end with the last of it."""
    names, command = [name for name in sys.argv[1].split(",") if name], sys.argv[2:]
    if names:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.set_inheritable(TELL, False)
    for number in IGNORED:
        signal.signal(number, lambda *_: None)  # a handler, which does not pass to the command as "ignore" would
    environment = {name: value for name, value in os.environ.items() if name not in names}
    try:
        # A session of its own: a script that kills its own group must not hit its keeper.
        pid = os.posix_spawn(command[0], command, environment, setsid=True, setsigdef=OWN)
    except OSError as refused:
        tell(f"cannot {refused.strerror}")
        return
    tell(f"started {pid}")
    nothing = os.open(os.devnull, os.O_RDWR)
    for own in (0, 1, 2):  # else the log would have a writer for as long as this lives
        os.dup2(nothing, own)
    os.close(nothing)
    while True:
        try:
            ended, status = os.wait()
        except ChildProcessError:
            return
        if ended == pid:
            tell(f"exited {os.waitstatus_to_exitcode(status)}")


def tell(words: str) -> None:
    """Write a line to whoever started this, who may be gone."""
    with contextlib.suppress(OSError):
        os.write(TELL, f"{words}\n".encode())


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    main()
