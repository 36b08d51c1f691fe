"""The programs that runs use: the LiveKit server or a Go to build it, npm, and what container rules need."""

from __future__ import annotations

import os
import shutil

from harness import livekit_server
from harness.doctor.values import CONTAINER_NETWORK_FAULTS, PM2_SCENARIOS, Check, Group, Status

RULES_NEED = ("nsenter", "iptables")


async def livekit() -> Check:
    """Look for the LiveKit server, else for what builds it."""
    version = livekit_server.VERSION
    server = await livekit_server.found()
    if server is not None:
        return Check(Group.MUST, "LiveKit server", Status.OK, f"{server.version} at {server.path}")
    go = await livekit_server.go_on_path()
    needed = ".".join(map(str, livekit_server.GO_NEEDED))
    shown = f"Go {'.'.join(map(str, go))}" if go else "no Go"
    if go >= livekit_server.GO_NEEDED or livekit_server.uvs():
        by = shown if go >= livekit_server.GO_NEEDED else f"{shown}; uv fetches one"
        return Check(
            Group.MUST, "LiveKit server", Status.INFO, f"none yet; {by}",
            f"the first run waits for its build, about two minutes, for which Go modules are fetched ({version})",
            "aftershock run baseline",
        )  # fmt: skip
    return Check(
        Group.MUST, "LiveKit server", Status.LACK, f"no livekit-server {version} on PATH or in the cache, {shown}",
        "any run that starts LiveKit itself", f"install Go {needed} or uv, or put livekit-server {version} on PATH",
    )  # fmt: skip


def npm() -> Check:
    """Look for npm, which fetches pm2."""
    found = shutil.which("npm")
    if found and shutil.which("node"):
        return Check(Group.EXTRAS, "npm", Status.OK, found)
    return Check(
        Group.EXTRAS, "npm", Status.LACK, "no npm, or no node, on PATH", "pm2 scenarios: they are skipped",
        "install Node.js with npm (Debian: apt-get install npm)", bars=(PM2_SCENARIOS,),
    )  # fmt: skip


def root() -> Check:
    """Say whether we are root, and what that adds."""
    missing = [name for name in RULES_NEED if shutil.which(name) is None]
    adds = "network rules in a container's own namespace (NetDrop; faults of links and packets need no root)"
    if os.geteuid() == 0 and not missing:
        return Check(Group.EXTRAS, "root", Status.OK, f"yes; {' and '.join(RULES_NEED)} are here: {adds} can be set")
    seen = "not root" if os.geteuid() else "root"
    seen += f"; no {' and no '.join(missing)} on PATH" if missing else ""
    return Check(
        Group.EXTRAS, "root", Status.LACK, seen, f"{adds}: those scenarios are skipped",
        f"install {' and '.join(missing)}" if missing else "run as root, where that is wanted",
        bars=(CONTAINER_NETWORK_FAULTS,),
    )  # fmt: skip
