"""Reading this machine's packet filter: which of its rules name something of a run. Never changes any."""

from __future__ import annotations

import shutil
import subprocess

SAVES = (("iptables-save",), ("iptables-legacy-save",), ("nft", "list", "ruleset"))
ANSWERS_WITHIN_S = 2.0


def rules_naming(*words: str) -> list[str]:
    """Return each rule in which one of ``words`` stands (an interface, a run id), as the tools print it.

    Without root, or without those tools, nothing can be read, and so nothing is returned.
    """
    wanted = [word for word in words if word]
    if not wanted:
        return []
    found = dict.fromkeys(line for line in _rules() if any(word in line for word in wanted))
    return list(found)


def _rules() -> list[str]:
    lines: list[str] = []
    for argv in SAVES:
        program = shutil.which(argv[0]) or shutil.which(argv[0], path="/usr/sbin:/sbin")
        if program is None:
            continue
        try:
            said = subprocess.run(
                [program, *argv[1:]], capture_output=True, text=True, timeout=ANSWERS_WITHIN_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        lines += [line.strip() for line in said.stdout.splitlines() if line.strip() and not line.startswith("#")]
    return lines
