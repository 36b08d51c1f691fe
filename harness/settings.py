"""The only reader of the environment: where caches and runs live, and what the surroundings say (CI)."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from harness.errors import SettingsError

RUN_ID_VARIABLE = "AFTERSHOCK_RUN"
PART_VARIABLE = "AFTERSHOCK_PART"
PROJECT_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Settings:
    """What the harness takes from the environment; everything else comes from the command line or TOML."""

    cache_dir: Path
    """Where the LiveKit server binary is kept."""
    lock_dir: Path
    """Where machine-wide lock files (ports, addresses) live."""
    in_ci: bool
    """True when CI is set: what is skipped elsewhere fails here."""
    keep_runs: int
    """How many runs that hold are kept in the runs directory."""
    docker_host: str
    """The engine that DOCKER_HOST names; empty for the one that `docker` uses without it."""


def settings() -> Settings:
    """Read the environment once more and return what matters of it."""
    cache = os.environ.get("AFTERSHOCK_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Settings(
        cache_dir=Path(cache) if cache else base / "aftershock",
        lock_dir=Path(tempfile.gettempdir()) / "aftershock-locks",
        in_ci=os.environ.get("CI", "") not in {"", "0", "false"},
        keep_runs=_whole_number("AFTERSHOCK_KEEP_RUNS", 50),
        docker_host=os.environ.get("DOCKER_HOST", ""),
    )


def scratch_dir(run: str) -> Path:
    """Return where a run keeps what nobody reads later (secrets, databases): gone with the run, however that ends."""
    return Path(tempfile.gettempdir()) / f"aftershock-{run}"


def environment_secret(name: str) -> str:
    """Return what the variable ``name``, which the user's file gives for a secret, holds; empty when it is not set."""
    return os.environ.get(name, "")


def _whole_number(name: str, otherwise: int) -> int:
    text = os.environ.get(name, str(otherwise))
    if not text.isdecimal():
        raise SettingsError(f"a whole number in {name}", repr(text), "write one, or unset it")
    return int(text)


def child_environment(run: str, part: str, extra: dict[str, str]) -> dict[str, str]:
    """Return the environment of a process of run ``run``: ours, less proxies and Python leftovers, plus ``extra``."""
    drop = {"http_proxy", "https_proxy", "all_proxy", "pythonstartup", "pytest_current_test"}
    env = {k: v for k, v in os.environ.items() if k.lower() not in drop}
    env.update(extra)
    env[RUN_ID_VARIABLE] = run
    env[PART_VARIABLE] = part
    return env
