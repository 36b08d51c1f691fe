"""The phone as a process: ``python -m harness.phone``, driven over the control channel; end of file means exit."""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

from harness.control import Child, run_child
from harness.errors import UsageError
from harness.phone.app_behaviour import Phone, stop_task
from harness.phone.configuration import PhoneConfiguration, read_configuration
from harness.phone.engine import MediaEngine, OnLost
from harness.phone.rest_token import RoomGrant, fetch_token

VERBS = ("ready", "configure", "connect", "connect-twice", "close", "close-older", "drop", "talk", "state", "leave")


class PhoneProcess:
    """Answers the requests of the rig.

    The media engine (aiortc) takes most of a second to import, so a thread does it while the phone already dials the
    cloud. ``ready`` answers once that is done: a phone started ahead of its story costs the story nothing.
    """

    def __init__(self, child: Child) -> None:
        """Begin to import what a room needs."""
        self._child = child
        self._phone: Phone | None = None
        self._running: asyncio.Task[None] | None = None
        self._imports = asyncio.create_task(
            asyncio.to_thread(importlib.import_module, "harness.phone.aiortc_engine"), name="imports"
        )

    async def handle(self, request: dict[str, Any]) -> Any:
        """Answer one request.

        Raises:
            UsageError: unknown verb, or the phone is not configured (or is already).
            SettingsError: a wrong configuration.
        """
        verb = request.pop("verb")
        if verb == "configure":
            return self._configure(read_configuration(request))
        if verb == "ready":
            await asyncio.shield(self._imports)
            return {}
        phone = self._phone
        if verb not in VERBS:
            raise UsageError(f"one of {', '.join(VERBS)}", repr(verb), "send a verb a phone knows")
        if phone is None:
            raise UsageError("configure before anything else", repr(verb), "send configure first")
        return await self._do(phone, verb, request)

    async def _do(self, phone: Phone, verb: str, request: dict[str, Any]) -> Any:
        match verb:
            case "close":
                return await phone.cloud.close(int(request.get("code", 1000)), str(request.get("reason", "")))
            case "connect-twice":
                return await phone.cloud.connect_twice(float(request["after_ms"]))
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
        return phone.state() | {"imported": self._imports.done()}

    def _configure(self, configuration: PhoneConfiguration) -> dict[str, Any]:
        if self._phone is not None:
            raise UsageError("configure once", "a second one", "start another phone process")

        async def make_engine(on_lost: OnLost) -> MediaEngine:
            module = await asyncio.shield(self._imports)
            module.media_leaves_from(configuration.media_host)
            engine: MediaEngine = module.AiortcEngine(on_lost)
            return engine

        async def fetch() -> RoomGrant:
            return await fetch_token(configuration.rest_url, configuration.core_token, configuration.dial_timeout_s)

        self._phone = Phone(configuration, self._child.recorder, make_engine, fetch)
        self._running = asyncio.create_task(self._phone.run(), name="phone")
        return {}

    async def stop(self) -> None:
        """Stop what runs."""
        if self._phone is not None:
            await self._phone.microphone.stop()
        if self._running is not None:
            await stop_task(self._running)


async def main(child: Child) -> None:
    """Serve requests until the parent is gone."""
    process = PhoneProcess(child)
    try:
        await child.serve(process.handle)
    finally:
        await process.stop()


if __name__ == "__main__":
    run_child(main)
