"""The reference cloud's own environment, read once at start into a frozen value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from harness.reference.cloud.errors import BadSetting
from harness.reference.cloud.timers import Timers, parse_timers

DEFAULT_BRIDGE = "livekit-bridge:9090"
"""Where the real cloud looks for its bridge when nothing is said."""
HIGHEST_PORT = 65535
LARGE_WINDOW_BYTES = 4 * 1024 * 1024
"""A reader two minutes of speech behind; the real cloud's gRPC library (grpc-js) has 64 KB, two seconds of it."""


@dataclass(frozen=True)
class AppDocument:
    """A captions app as the database keeps it; the key is known by the caller only as long as the settings live."""

    package_name: str
    public_url: str
    api_key: str = field(repr=False)
    name: str = ""
    may_hear: bool = True
    """Whether it has the permission MICROPHONE or ALL."""


@dataclass(frozen=True)
class LiveKitKeys:
    """The SFU's address as others are told, and what signs its tokens."""

    url: str
    key: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Settings:
    """Everything the cloud is told from outside."""

    port: int
    auth_secret: str = field(repr=False)
    bind_address: str = "127.0.0.1"
    livekit: LiveKitKeys | None = None
    bridge_address: str = DEFAULT_BRIDGE
    """A gRPC target: `unix:<path>` or `host:port`."""
    swap_endian: bool = False
    stt_endpoint: str = ""
    stt_key: str = field(default="", repr=False)
    database_path: str = ":memory:"
    apps: tuple[AppDocument, ...] = ()
    app_ws_url: str = ""
    room_template: str = "{user}"
    dashboard: str = "system.augmentos.dashboard"
    grpc_window_bytes: int = LARGE_WINDOW_BYTES
    """How much of a stream the bridge may send ahead of its reader."""
    timers: Timers = field(default_factory=Timers)
    defect_names: tuple[str, ...] = ()

    def room_of(self, user_id: str) -> str:
        """Name a user's room."""
        return self.room_template.replace("{user}", user_id)


def read_settings(env: Mapping[str, str], port: int | None = None, defects: tuple[str, ...] = ()) -> Settings:
    """Read the environment; `port` and `defects` come from the command line (the port wins, defects add up).

    Raises BadSetting with one sentence.
    """
    secret = env.get("AUGMENTOS_AUTH_JWT_SECRET", "")
    if not secret:
        raise BadSetting(
            "AUGMENTOS_AUTH_JWT_SECRET: expected the secret that signs core tokens, seen nothing;"
            " set it in the environment"
        )
    template = env.get("ROOM_TEMPLATE") or "{user}"
    if "{user}" not in template:
        raise BadSetting(f"ROOM_TEMPLATE: expected a text with {{user}} in it, seen {template!r}")
    bound_port = port if port is not None else _port(env.get("PORT", "80"))
    address = env.get("BIND_ADDRESS") or "127.0.0.1"
    named = tuple(name.strip() for name in env.get("REFERENCE_DEFECTS", "").split(",") if name.strip())
    return Settings(
        port=bound_port,
        auth_secret=secret,
        bind_address=address,
        livekit=_livekit(env),
        bridge_address=_bridge(env),
        swap_endian=_swap(env.get("LIVEKIT_PCM_ENDIAN", "off")),
        stt_endpoint=env.get("SONIOX_ENDPOINT", ""),
        stt_key=env.get("SONIOX_API_KEY", ""),
        database_path=env.get("DATABASE_PATH") or ":memory:",
        apps=parse_apps(env.get("REFERENCE_APPS", "")),
        app_ws_url=env.get("APP_WS_URL") or f"ws://{address}:{bound_port}/app-ws",
        room_template=template,
        dashboard=env.get("SYSTEM_DASHBOARD_PACKAGE_NAME") or Settings.dashboard,
        grpc_window_bytes=_window(env.get("REFERENCE_GRPC_WINDOW_BYTES", "")),
        timers=_timers(env),
        defect_names=named + defects,
    )


def parse_apps(text: str) -> tuple[AppDocument, ...]:
    """Read a JSON list of `{"packageName","publicUrl","apiKey","name"?,"permissions"?}`. Raises BadSetting."""
    if not text.strip():
        return ()
    try:
        found = json.loads(text)
    except json.JSONDecodeError as problem:
        raise BadSetting(
            f"REFERENCE_APPS: expected a JSON list of apps, seen text that is not JSON ({problem})"
        ) from None
    if not isinstance(found, list):
        raise BadSetting("REFERENCE_APPS: expected a JSON list of apps, seen something else")
    return tuple(_app(entry) for entry in found)


def _app(entry: object) -> AppDocument:
    if not isinstance(entry, dict):
        raise BadSetting("REFERENCE_APPS: expected an object for each app, seen something else")
    for key in ("packageName", "publicUrl", "apiKey"):
        if not isinstance(entry.get(key), str) or not entry[key]:
            raise BadSetting(f'REFERENCE_APPS: expected a text "{key}" in each app, seen the keys {sorted(entry)}')
    unknown = set(entry) - {"packageName", "publicUrl", "apiKey", "name", "permissions"}
    if unknown:
        raise BadSetting(f"REFERENCE_APPS: unknown keys {sorted(unknown)} in the app {entry['packageName']!r}")
    permissions = entry.get("permissions", ["MICROPHONE"])
    types = {item.get("type") if isinstance(item, dict) else item for item in permissions}
    return AppDocument(
        package_name=entry["packageName"],
        public_url=entry["publicUrl"].rstrip("/"),
        api_key=entry["apiKey"],
        name=str(entry.get("name") or entry["packageName"]),
        may_hear=bool(types & {"MICROPHONE", "ALL"}),
    )


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > HIGHEST_PORT:
        raise BadSetting(f"PORT: expected a number from 0 to {HIGHEST_PORT}, seen {text!r}")
    return int(text)


def _window(text: str) -> int:
    if text and not (text.isascii() and text.isdigit() and int(text) > 0):
        raise BadSetting(f"REFERENCE_GRPC_WINDOW_BYTES: expected a number of bytes above 0, seen {text!r}")
    return int(text or LARGE_WINDOW_BYTES)


def _livekit(env: Mapping[str, str]) -> LiveKitKeys | None:
    url, key, secret = (env.get(name, "") for name in ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"))
    return LiveKitKeys(url, key, secret) if url and key and secret else None


def _bridge(env: Mapping[str, str]) -> str:
    if path := env.get("LIVEKIT_GRPC_SOCKET"):
        return f"unix:{path}"
    return env.get("LIVEKIT_GRPC_BRIDGE_URL") or DEFAULT_BRIDGE


def _swap(text: str) -> bool:
    if text not in ("off", "swap", ""):
        raise BadSetting(f'LIVEKIT_PCM_ENDIAN: expected "off" or "swap", seen {text!r}')
    return text == "swap"


def _timers(env: Mapping[str, str]) -> Timers:
    timers = parse_timers(env.get("REFERENCE_TIMERS", ""))
    backoff_ms = env.get("LIVEKIT_REJOIN_BACKOFF_MS")
    if backoff_ms is None or "rejoin_backoff_s" in env.get("REFERENCE_TIMERS", ""):
        return timers
    if not backoff_ms.isdigit():
        raise BadSetting(f"LIVEKIT_REJOIN_BACKOFF_MS: expected milliseconds, seen {backoff_ms!r}")
    return replace(timers, rejoin_backoff_s=int(backoff_ms) / 1000)
