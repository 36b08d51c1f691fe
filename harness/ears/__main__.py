"""The ears process: opens and drives the STT stand-in, the captions app and the hidden SFU listener."""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING, Any, TypeVar

from harness.clock import now_ns
from harness.control import Child, run_child
from harness.ears.app import CaptionsApp
from harness.ears.app_session import RETRY_S, AppSetup
from harness.ears.hearing import Hearing
from harness.ears.owners import Owners
from harness.ears.stt import IDLE_S, SttStandIn
from harness.errors import SettingsError
from harness.redact import know_secret

if TYPE_CHECKING:
    from harness.ears.sfu_listener import RoomListener

LISTEN_WITHIN_S = 8.0
Request = dict[str, Any]
T = TypeVar("T")


class Ears:
    """What the verbs act on; each ``verb_X`` answers the request ``X``."""

    def __init__(self, child: Child) -> None:
        """Begin with nothing open."""
        self.recorder = child.recorder
        self.epoch_ns = 0
        self.stt: SttStandIn | None = None
        self.app: CaptionsApp | None = None
        self.rooms: dict[str, RoomListener] = {}
        self.hearing = Hearing(self.recorder, "sfu")
        self.owners = Owners(self.recorder)
        self._sdk: asyncio.Future[Any] | None = None

    async def handle(self, request: Request) -> Any:
        """Answer one request."""
        verb = getattr(self, f"verb_{request.get('verb')}", None)
        if verb is None:
            known = sorted(name.removeprefix("verb_") for name in dir(self) if name.startswith("verb_"))
            raise SettingsError(f"one of {', '.join(known)}", repr(request.get("verb")), "use one of these verbs")
        return await verb(request)

    async def close(self) -> None:
        """Leave the rooms and close both servers."""
        await asyncio.gather(*(listener.stop() for listener in self.rooms.values()))
        if self.app is not None:
            await self.app.close()
        if self.stt is not None:
            await self.stt.close()

    async def verb_configure(self, request: Request) -> None:
        """Take the run's epoch and begin to load the LiveKit SDK beside the rest."""
        self.epoch_ns = int(request["epoch_ns"])
        self._load_sdk()

    async def verb_stt(self, request: Request) -> dict[str, int]:
        """Open the STT stand-in (``idle_s``: how long it waits for audio or keepalive); answered when it listens."""
        _once(self.stt, "stt")
        idle_s = float(request.get("idle_s", IDLE_S))
        self.stt = SttStandIn(
            self.recorder, interim=bool(request.get("interim", True)), idle_s=idle_s, owners=self.owners
        )
        return {"port": await self.stt.open(str(request["host"]), int(request["port"]))}

    async def verb_app(self, request: Request) -> dict[str, int]:
        """Open the captions app; answered when its webhook listens."""
        _once(self.app, "app")
        auth = str(request.get("auth", "headers"))
        if auth not in {"headers", "init"}:
            raise SettingsError("auth 'headers' or 'init'", repr(auth), "choose how the app shows who it is")
        setup = AppSetup(
            package=str(request["package"]),
            api_key=str(request["api_key"]),
            cloud_ws_url=str(request["cloud_ws_url"]),
            auth=auth,
            jwt_secret=str(request.get("jwt_secret", "")),
            subscriptions=tuple(request.get("subscriptions", AppSetup.subscriptions)),
            display=bool(request.get("display", True)),
            retry_s=tuple(request.get("retry_s", RETRY_S)),
        )
        self.app = CaptionsApp(self.recorder, setup, self.owners)
        return {"port": await self.app.open(str(request["host"]), int(request["port"]))}

    async def verb_listen(self, request: Request) -> dict[str, float]:
        """Join the hidden listener to a room; answered when it is really in.

        ``user`` and ``speaker`` say whose room it is, and with what voice that user speaks on the phone that comes.
        """
        room, token, user = str(request["room"]), str(request["token"]), str(request.get("user", ""))
        if user:
            self.owners.tell(user, int(request["speaker"]))
        know_secret(token)
        begun_ns = now_ns()
        if room in self.rooms:
            await self.rooms.pop(room).stop("joining anew")
        sdk = await self._load_sdk()
        url = str(request["url"])
        listener = sdk.RoomListener(self.recorder, self.hearing, room, url, token, self.owners, user)
        self.rooms[room] = listener
        try:
            await listener.start(float(request.get("join_within_s", LISTEN_WITHIN_S)))
        except BaseException:
            self.rooms.pop(room, None)
            raise
        return {"took_s": (now_ns() - begun_ns) / 1e9}

    async def verb_unlisten(self, request: Request) -> None:
        """Leave a room; leaving one where nobody listens is no mistake."""
        listener = self.rooms.pop(str(request["room"]), None)
        if listener is not None:
            await listener.stop()

    async def verb_stt_count(self, request: Request) -> dict[str, Any]:
        """Return how many STT connections are open, and how many there ever were."""
        del request
        return _needed(self.stt, "stt").state()

    async def verb_stt_drop(self, request: Request) -> int:
        """End every STT connection: by reset (``abort``), with an ``error`` code, or with close code 1011."""
        error = int(request.get("error", 0))
        return _needed(self.stt, "stt").drop(abort=bool(request.get("abort", True)) and not error, error=error)

    async def verb_stt_refuse(self, request: Request) -> None:
        """Refuse new STT connections with HTTP 503 (``on``), or accept them again."""
        _needed(self.stt, "stt").refuse(on=bool(request.get("on", True)))

    async def verb_stt_end_early(self, request: Request) -> int:
        """Close new STT connections before they take audio (``on``), or stop; return how many it did that to."""
        return _needed(self.stt, "stt").end_early(on=bool(request.get("on", True)))

    async def verb_app_hang(self, request: Request) -> int:
        """Leave the app's webhooks unanswered (``on``), or answer them; return how many it did that to."""
        return _needed(self.app, "app").hang(on=bool(request.get("on", True)))

    async def verb_app_drop(self, request: Request) -> int:
        """Lose every socket of the captions app; it reconnects as the SDK does."""
        return _needed(self.app, "app").drop(abort=bool(request.get("abort", True)))

    async def verb_app_crash(self, request: Request) -> int:
        """Lose every socket of the captions app and forget its sessions: only its webhook brings them back."""
        del request
        return _needed(self.app, "app").crash()

    async def verb_state(self, request: Request) -> dict[str, Any]:
        """Return what is open and who hears."""
        del request
        return {
            "stt": self.stt.state() if self.stt else None,
            "app": self.app.state() if self.app else None,
            "rooms": {room: listener.last_reason for room, listener in self.rooms.items()},
            "in": list(self.hearing.up),
        }

    def _load_sdk(self) -> asyncio.Future[Any]:
        """Import the listener (0.2 s for the SDK) in a thread, once."""
        if self._sdk is None:
            self._sdk = asyncio.ensure_future(asyncio.to_thread(importlib.import_module, "harness.ears.sfu_listener"))
        return self._sdk


def _once(part: object | None, name: str) -> None:
    if part is not None:
        raise SettingsError(f"one request {name!r}", "a second one", f"the {name} is open already")


def _needed(part: T | None, name: str) -> T:
    if part is None:
        raise SettingsError(f"a request {name!r} before", "none", f"open the {name} first")
    return part


async def main(child: Child) -> None:
    """Serve the parent until it is gone."""
    ears = Ears(child)
    try:
        await child.serve(ears.handle)
    finally:
        await ears.close()


if __name__ == "__main__":
    run_child(main)
