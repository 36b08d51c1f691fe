"""The audio manager: what comes in as PCM, from the bridge or from the phone's socket, goes to apps and to STT."""

from __future__ import annotations

from array import array
from collections.abc import Callable

from harness.reference.cloud.log import Log

CHUNKS_PER_LINE = 100


class AudioManager:
    """Cut chunks to whole samples (PCM16LE mono 16 kHz) and hand them on, in order, with no buffer."""

    def __init__(self, log: Log, listeners: tuple[Callable[[bytes], None], ...], *, swap_endian: bool = False) -> None:
        """Give every chunk to each of `listeners`, in that order."""
        self._log = log
        self._listeners = listeners
        self._swap_endian = swap_endian
        self._odd_byte = b""
        self._chunks = 0

    def receive(self, pcm: bytes) -> None:
        """Take one chunk of any length; an odd last byte waits for the next chunk."""
        self._chunks += 1
        if self._chunks % CHUNKS_PER_LINE == 0:
            self._log.debug("AudioManager received PCM chunk", chunks=self._chunks, bytes=len(pcm))
        if self._odd_byte:
            pcm = self._odd_byte + pcm
        cut = len(pcm) & ~1
        self._odd_byte, pcm = pcm[cut:], pcm[:cut]
        if not pcm:
            return
        if self._swap_endian:
            samples = array("h", pcm)
            samples.byteswap()
            pcm = samples.tobytes()
        for listener in self._listeners:
            listener(pcm)
