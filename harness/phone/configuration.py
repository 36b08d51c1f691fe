"""What a phone is told before it does anything: who it is, where to dial, how it speaks."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from harness.clock import SECOND_NS
from harness.errors import SettingsError
from harness.redact import know_secret

Defect = Literal["no-room-retry", "redial-when-replaced", "keep-old-token"]
"""``no-room-retry``: after a failed connect the phone stays without a room until the next ACK (the real app).
``redial-when-replaced``: a phone whose place in the room another one took dials at once, and takes it back.
``keep-old-token``: the phone fetches one room token, and dials with it for ever."""

Engine = Literal["aiortc", "livekit"]
"""The media engine: every packet ours (aiortc), or LiveKit's own SDK with its resumes."""


class PhoneConfiguration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One phone; the ``configure`` request carries exactly these fields."""

    person: str
    """The person's name in the story and in every event."""
    user_id: str
    """The e-mail claim of the token; the identity in the room."""
    core_token: str
    cloud_url: str
    """``ws://host:port`` of the front of phone->cloud."""
    rest_url: str
    """``http://host:port`` for the REST token; usually the same front."""
    livekit_url: str
    """``ws://host:port`` of the front of phone->livekit; dialed instead of the advertised url. Empty: the latter."""
    media_host: str = "127.0.0.1"
    """The address of this machine from which media leaves, the only one offered to the room's server (aiortc only: the
    SDK takes each address of the machine that is not loopback, and pairs it with the server's)."""
    engine: Engine = "aiortc"
    speaker: int
    epoch_ns: int
    """Frame index i is fully spoken at ``epoch_ns + (i + 1) * 20 ms``."""
    packet_ms: Literal[10, 20, 40, 100] = 40
    fallback: bool = False
    """Without a room PCM goes out as WS binary messages (the real app does; it masks bridge faults)."""
    start_app: str | None = None
    """Package started by a WS message after the first ACK of this process."""
    retry_s: float = 5.0
    """From a closed or failed socket to the next dial (contract: 5000 ms)."""
    room_retry_s: float = 5.0
    redial_base_s: float = 0.3
    """Redial i of the media library waits ``base * i**2`` (livekit-client: 300 ms * i**2, at most 7 s, 10 times)."""
    redial_max_s: float = 7.0
    redial_attempts: int = 10
    seed: int = 0
    """The run's, for what is left to chance when packets are hurt."""
    dial_timeout_s: float = 10.0
    """A dial (socket, REST token, room) that takes longer has failed."""
    defects: tuple[Defect, ...] = ()

    def redial_delays_s(self) -> list[float]:
        """Return the waits before each redial of a lost signal."""
        return [min(self.redial_base_s * i * i, self.redial_max_s) for i in range(self.redial_attempts)]

    def spoken_ns(self, index: int) -> int:
        """Return when frame ``index`` is fully spoken."""
        return self.epoch_ns + (index + 1) * SECOND_NS // 50


def read_configuration(fields: dict[str, Any]) -> PhoneConfiguration:
    """Return the configuration in a ``configure`` request, and know its token as a secret.

    Raises:
        SettingsError: a field is missing, unknown or of the wrong kind.
    """
    know_secret(str(fields.get("core_token", "")))
    try:
        return msgspec.convert(fields, PhoneConfiguration)
    except msgspec.ValidationError as error:
        raise SettingsError(
            "the fields of a phone configuration", str(error), "correct that field of the configure request"
        ) from None
