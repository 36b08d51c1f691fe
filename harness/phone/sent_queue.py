"""When a packet leaves the data channel: SCTP queues what it may not send yet, so handing over is not sending."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from aiortc import RTCDataChannel
from aiortc.rtcsctptransport import SCTP_DATA_LAST_FRAG, RTCSctpTransport


class SentQueue:
    """Calls back for each packet of one channel, in order, once all of it was handed to the transport below SCTP.

    aiortc 1.16 tells only of ``bufferedAmount``, which is short of what waits in SCTP's own outbound queue; so this
    looks at both queues after each transmission. A packet that SCTP abandons (no retransmits) counts as sent.
    """

    def __init__(self, transport: RTCSctpTransport, channel: RTCDataChannel) -> None:
        """Watch ``channel`` on ``transport``."""
        self._transport, self._channel = transport, channel
        self._waiting: deque[Callable[[], None]] = deque()
        self._transmit = transport._transmit  # noqa: SLF001
        transport._transmit = self._transmit_and_look  # type: ignore[method-assign]  # noqa: SLF001

    def expect(self, on_sent: Callable[[], None]) -> None:
        """Announce the packet that is sent next."""
        self._waiting.append(on_sent)

    async def _transmit_and_look(self) -> None:
        await self._transmit()
        transport, channel = self._transport, self._channel
        queued = sum(1 for owner, _, _ in transport._data_channel_queue if owner is channel)  # noqa: SLF001
        queued += sum(
            1
            for chunk in transport._outbound_queue  # noqa: SLF001
            if chunk.stream_id == channel.id and chunk.flags & SCTP_DATA_LAST_FRAG
        )
        while len(self._waiting) > queued:
            self._waiting.popleft()()
