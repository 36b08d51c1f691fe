"""What the phone does and sees."""

from __future__ import annotations

from harness.events.base import Event


class PhoneDialing(Event, frozen=True, tag="phone-dialing"):
    """The phone dials the cloud."""

    person: str
    attempt: int
    user: str = ""
    """Who it says it is: one user may have several phones."""


class PhoneDialFailed(Event, frozen=True, tag="phone-dial-failed"):
    """A dial to the cloud failed."""

    person: str
    attempt: int
    reason: str


class PhoneSocketOpen(Event, frozen=True, tag="phone-socket-open"):
    """The phone's WebSocket to the cloud is open (HTTP 101 seen)."""

    person: str
    attempt: int


class PhoneSocketClosed(Event, frozen=True, tag="phone-socket-closed"):
    """The phone's WebSocket ended; ``by`` is phone, cloud (a close frame) or network (none); code 1006 then."""

    person: str
    code: int
    reason: str
    by: str


class OldSocketClosed(Event, frozen=True, tag="old-socket-closed"):
    """A socket of the phone's ended that was not its newest: another one had opened beside it."""

    person: str
    code: int


class PhoneMessage(Event, frozen=True, tag="phone-message"):
    """A text message of the cloud as it reached the phone; ``body`` is its JSON with secrets masked."""

    person: str
    type: str
    body: str


class RoomDialing(Event, frozen=True, tag="room-dialing"):
    """The phone dials LiveKit (through its link), with the room named by the token."""

    person: str
    attempt: int
    url: str
    advertised_url: str = ""


class RoomConnected(Event, frozen=True, tag="room-connected"):
    """The phone is in its room and its lossy channel is open."""

    person: str
    room: str
    attempt: int


class RoomDialFailed(Event, frozen=True, tag="room-dial-failed"):
    """A dial to LiveKit or the REST token before it failed."""

    person: str
    attempt: int
    reason: str


class RoomLost(Event, frozen=True, tag="room-lost"):
    """The phone's room ended without the phone wanting it."""

    person: str
    reason: str


class RoomReconnecting(Event, frozen=True, tag="room-reconnecting"):
    """The phone's media library lost the room and tries by itself to get it back; no audio goes out meanwhile."""

    person: str


class RoomReconnected(Event, frozen=True, tag="room-reconnected"):
    """The phone's media library got the room back, by a resume or by a full reconnect."""

    person: str


class RoomLeft(Event, frozen=True, tag="room-left"):
    """The phone left its room."""

    person: str


class Talking(Event, frozen=True, tag="talking"):
    """The person starts (or stops) talking; the first frame index that will be spoken."""

    person: str
    speaker: int
    on: bool
    first_index: int


class MicState(Event, frozen=True, tag="mic-state"):
    """The phone's microphone was switched by the cloud."""

    person: str
    on: bool
