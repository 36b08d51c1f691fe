"""A LiveKit room as the bridge sees it: who is in it, what it says, and how it ends.

The bridge knows only the three protocols below; `dial_livekit` is the one place that touches LiveKit's SDK, and it
loads the SDK on first use because that takes longer than everything else at start.
"""

import asyncio
from typing import Any, Final, Protocol

from harness.reference.bridge import log

FINAL_REASONS: Final = frozenset(
    {
        "CLIENT_INITIATED",
        "DUPLICATE_IDENTITY",
        "PARTICIPANT_REMOVED",
        "ROOM_DELETED",
        "ROOM_CLOSED",
        "USER_REJECTED",
        "USER_UNAVAILABLE",
    },
)
"""Ends that somebody wanted (names of LiveKit's DisconnectReason): dialling again would undo their wish."""


class DialFailed(Exception):
    """The room could not be entered; the text is the SDK's reason."""


class RoomListener(Protocol):
    """Who is told what happens in a room. Called from the event loop; must return at once."""

    def packet(self, payload: bytes, sender: str) -> None:
        """Take one data packet; `sender` is empty while the SDK does not know the sender yet."""

    def mending(self) -> None:
        """Hear that the connection is lost and that the SDK tries to get it back."""

    def mended(self) -> None:
        """Hear that the SDK got the connection back."""

    def gone(self, reason: str) -> None:
        """Hear that the room is over for this participant; `reason` is a name of DisconnectReason."""


class Room(Protocol):
    """A room that was entered."""

    @property
    def participant_id(self) -> str:
        """Our own identity."""

    @property
    def participant_count(self) -> int:
        """Everybody in the room that the SDK knows of, we included."""

    async def close(self) -> None:
        """Leave the room; nothing is told to the listener that matters afterwards."""


class Dial(Protocol):
    """Enters a room. Raises `DialFailed`."""

    async def __call__(self, url: str, token: str, listener: RoomListener) -> Room:
        """Connect to `url` with `token` and report to `listener` from then on."""


class LiveKitRoom:
    """A room held through LiveKit's Python SDK. An SDK room cannot be entered twice: one object per dial."""

    def __init__(self, room: Any) -> None:
        """Wrap a connected `livekit.rtc.Room`."""
        self._room = room

    @property
    def participant_id(self) -> str:
        """Our own identity in the room."""
        return str(self._room.local_participant.identity)

    @property
    def participant_count(self) -> int:
        """Remote participants known to the SDK, plus one."""
        return len(self._room.remote_participants) + 1

    async def close(self) -> None:
        """Leave the room."""
        await self._room.disconnect()


def preload() -> None:
    """Load the SDK and its native library now, so that the first JoinRoom does not wait for it."""
    from livekit.rtc._ffi_client import FfiClient  # noqa: PLC0415 - late on purpose, see the module's docstring

    _ = FfiClient.instance


async def dial_livekit(url: str, token: str, listener: RoomListener) -> Room:
    """Enter a LiveKit room without subscribing to tracks. Raises `DialFailed`."""
    from livekit import rtc  # noqa: PLC0415 - late on purpose, see the module's docstring

    room = rtc.Room()
    _listen(room, listener)
    # The SDK goes on connecting after a cancellation and would leave a participant nobody knows of.
    connecting = asyncio.create_task(room.connect(url, token, rtc.RoomOptions(auto_subscribe=False)))
    try:
        await asyncio.shield(connecting)
    except asyncio.CancelledError:
        connecting.add_done_callback(lambda done: _leave_after(room, done))
        raise
    except rtc.ConnectError as refused:
        raise DialFailed(log.without_secrets(refused.message)) from refused
    return LiveKitRoom(room)


_leaving: Final[set[asyncio.Task[None]]] = set()


def _leave_after(room: Any, connecting: "asyncio.Task[None]") -> None:
    if connecting.cancelled() or connecting.exception() is not None:
        return
    leaving = asyncio.create_task(room.disconnect())
    _leaving.add(leaving)
    leaving.add_done_callback(_leaving.discard)
    leaving.add_done_callback(log.failure("Leaving a room entered too late"))


def _listen(room: Any, listener: RoomListener) -> None:
    from livekit import rtc  # noqa: PLC0415 - late on purpose, see the module's docstring

    def on_data(packet: Any) -> None:
        sender = packet.participant
        listener.packet(packet.data, sender.identity if sender is not None else "")

    def on_disconnected(reason: Any) -> None:
        listener.gone(rtc.DisconnectReason.Name(reason))

    room.on("data_received", on_data)
    room.on("reconnecting", listener.mending)
    room.on("reconnected", listener.mended)
    room.on("disconnected", on_disconnected)
