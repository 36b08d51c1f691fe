"""Reading this machine's packet filter: which of its rules name something of a run. Never changes any."""

from __future__ import annotations

import re
import shutil
import subprocess

SAVES = (("iptables-save",), ("iptables-legacy-save",), ("nft", "list", "ruleset"))
ANSWERS_WITHIN_S = 2.0
COUNTED = re.compile(r"packets \d+ bytes \d+")


def rules_naming(*words: str) -> list[str]:
    """Return each rule in which one of ``words`` stands (an interface, a run id), as the tools print it.

    Without root, or without those tools, nothing can be read, and so nothing is returned.
    """
    wanted = [word for word in words if word]
    if not wanted:
        return []
    found = dict.fromkeys(line for line in _rules() or () if any(word in line for word in wanted))
    return list(found)


def is_there(rule: str) -> bool | None:
    """Tell whether a rule that ``rules_naming`` once returned is still there; None when no rule can be read."""
    rules = _rules()
    return None if rules is None else _still(rule) in map(_still, rules)


def _still(rule: str) -> str:
    """Return a rule without what it has counted, which nft prints."""
    return COUNTED.sub("", rule)


def _rules() -> list[str] | None:
    lines: list[str] | None = None
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
        if said.returncode == 0:
            lines = lines or []
            lines += [line.strip() for line in said.stdout.splitlines() if line.strip() and not line.startswith("#")]
    return lines
