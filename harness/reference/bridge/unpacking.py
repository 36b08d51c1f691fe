"""From a phone's data packet to the PCM in it: the sequence byte goes, and no packet changes another."""

from harness.reference.defects import Defects

SEQUENCES = 256


class Unpacking:
    """Takes the PCM out of packets, one after the other."""

    def __init__(self, defects: Defects) -> None:
        """Begin with no packet seen."""
        self._keeps_odd_byte = defects.has("keep-odd-byte")
        self._drops_after_gap = defects.has("drop-after-gap")
        self._kept = b""
        self._last_sequence: int | None = None

    def pcm_of(self, payload: bytes) -> bytes:
        """Give the PCM, of even length; nothing when the packet is not to be used.

        A packet of odd length begins with the phone's sequence byte. One of even length has none that could be told
        from audio, and is passed on as it is: wrong in itself perhaps, but the next one is right again.
        """
        if self._drops_after_gap and self._follows_a_gap(payload):
            return b""
        if self._keeps_odd_byte:
            pcm = self._kept + payload[1:]
            even = len(pcm) & ~1
            self._kept = pcm[even:]
            return pcm[:even]
        return payload[1:] if len(payload) % 2 else payload

    def _follows_a_gap(self, payload: bytes) -> bool:
        before, self._last_sequence = self._last_sequence, payload[0] if payload else None
        return before is not None and self._last_sequence != (before + 1) % SEQUENCES
