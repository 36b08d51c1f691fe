"""Phones as a process: ``python -m harness.phone``, driven over the control channel; end of file means exit.

One process holds one phone where force quit or sleep matters, and many where only their load does. A request names its
phone by ``phone`` (the person); without it the only one is meant.
"""

from __future__ import annotations

import asyncio
import importlib
from types import ModuleType
from typing import Any

from harness.control import Child, run_child
from harness.errors import UsageError
from harness.phone.app_behaviour import Phone, stop_task
from harness.phone.configuration import PhoneConfiguration, read_configuration
from harness.phone.engine import MediaEngine, OnNews
from harness.phone.packets import read_hurt
from harness.phone.rest_token import RoomGrant, fetch_token
from harness.redact import know_secret

VERBS = (
    "ready", "configure", "connect", "connect-twice", "close", "close-older", "drop", "talk", "state",
    "leave", "say", "hurt", "heal", "token", "simulate",
)  # fmt: skip
ENGINES = {"aiortc": "harness.phone.aiortc_engine", "livekit": "harness.phone.livekit_engine"}


class PhoneProcess:
    """Answers the requests of the rig.

    A media engine takes most of a second to import, so a thread does it, at ``ready`` or else while the phone already
    dials the cloud. ``ready`` answers once that is done: a phone started ahead of its story costs the story nothing.
    """

    def __init__(self, child: Child) -> None:
        """Hold no phone yet."""
        self._child = child
        self._phones: dict[str, Phone] = {}
        self._running: list[asyncio.Task[None]] = []
        self._imports: dict[str, asyncio.Task[ModuleType]] = {}

    async def handle(self, request: dict[str, Any]) -> Any:
        """Answer one request.

        Raises:
            UsageError: unknown verb or engine, or the phone is not configured (or is already).
            SettingsError: a wrong configuration.
        """
        verb, name = request.pop("verb"), request.pop("phone", None)
        if verb == "configure":
            return self._configure(read_configuration(request))
        if verb == "ready":
            await asyncio.shield(self._engine(str(request.get("engine", "aiortc"))))
            return {}
        if verb == "hurt":
            return self._named(name, verb).packets.hurt(read_hurt(request))
        if verb == "heal":
            return await self._named(name, verb).packets.heal(str(request["name"]))
        if verb not in VERBS:
            raise UsageError(f"one of {', '.join(VERBS)}", repr(verb), "send a verb a phone knows")
        phone = self._named(name, verb)
        if verb in {"say", "token", "simulate"}:
            return await _do_once(phone, verb, request)
        return await self._do(phone, verb, request)

    def _named(self, name: str | None, verb: str) -> Phone:
        if not self._phones:
            raise UsageError("configure before anything else", repr(verb), "send configure first")
        if name is None and len(self._phones) == 1:
            return next(iter(self._phones.values()))
        if name not in self._phones:
            known = ", ".join(self._phones)
            raise UsageError(f"one of {known}", repr(name), "name the person whose phone is meant")
        return self._phones[name]

    async def _do(self, phone: Phone, verb: str, request: dict[str, Any]) -> Any:
        match verb:
            case "close":
                return await phone.cloud.close(int(request.get("code", 1000)), str(request.get("reason", "")))
            case "connect-twice":
                return await phone.cloud.connect_twice(float(request["after_ms"]), float(request["both_within_s"]))
            case "close-older":
                return await phone.cloud.close_older(int(request.get("code", 1001)))
            case "drop":
                return await phone.cloud.drop()
            case "talk":
                return await phone.talk(on=bool(request["on"]))
            case "connect":
                phone.cloud.connect()
            case "leave":
                await phone.room.leave()
        return phone.state() | {"imported": self._engine(phone.configuration.engine).done()}

    def _engine(self, name: str) -> asyncio.Task[ModuleType]:
        """Return the import of this engine's module, begun now at the latest."""
        if name not in ENGINES:
            raise UsageError(f"one of {', '.join(ENGINES)}", repr(name), "name a media engine that a phone has")
        if name not in self._imports:
            work = asyncio.to_thread(importlib.import_module, ENGINES[name])
            self._imports[name] = asyncio.create_task(work, name=f"import of {name}")
        return self._imports[name]

    def _configure(self, configuration: PhoneConfiguration) -> dict[str, Any]:
        if configuration.person in self._phones:
            raise UsageError("configure once", "a second one", "start another phone process")
        imports = self._engine(configuration.engine)

        async def make_engine(on_news: OnNews) -> MediaEngine:
            module = await asyncio.shield(imports)
            if configuration.engine == "livekit":
                sdk: MediaEngine = module.LivekitEngine(on_news)
                return sdk
            module.media_leaves_from(configuration.media_host)
            engine: MediaEngine = module.AiortcEngine(on_news)
            return engine

        async def fetch() -> RoomGrant:
            return await fetch_token(configuration.rest_url, configuration.core_token, configuration.dial_timeout_s)

        phone = Phone(configuration, self._child.recorder, make_engine, fetch)
        self._phones[configuration.person] = phone
        self._running.append(asyncio.create_task(phone.run(), name=f"phone of {configuration.person}"))
        return {}

    async def stop(self) -> None:
        """Stop what runs."""
        for phone in self._phones.values():
            await phone.microphone.stop()
        for task in self._running:
            await stop_task(task)


async def _do_once(phone: Phone, verb: str, request: dict[str, Any]) -> dict[str, bool]:
    if verb == "say":
        return {"said": phone.cloud.send_text(dict(request["message"]))}
    if verb == "token":
        know_secret(str(request["token"]))
        return {"taken": phone.room.take_token(str(request["token"]))}
    return {"simulated": await phone.room.simulate(str(request["kind"]))}


async def main(child: Child) -> None:
    """Serve requests until the parent is gone."""
    process = PhoneProcess(child)
    try:
        await child.serve(process.handle)
    finally:
        await process.stop()


if __name__ == "__main__":
    run_child(main)
