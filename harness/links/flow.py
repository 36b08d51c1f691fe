"""What one direction of a connection stands on: two sockets, the reasons not to read, what the sink did not take."""

from __future__ import annotations

import asyncio
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

from harness.links.reading import Way
from harness.links.shaping import Shaping

Stop = Literal["full", "held", "shaped", "stalled", "hole", "reset"]
"""Why a source is not read: the sink is full, a trigger holds, a shaper is full, a fault of ours, its own reset."""


class Flow(ABC):
    """Reads when nothing speaks against it, writes what the sink takes."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, way: Way, source: socket.socket, sink: socket.socket,
        sink_broke: Callable[[], None],
    ) -> None:  # fmt: skip
        """Describe it; ``run`` starts."""
        self._loop, self.way, self.source, self._sink, self._sink_broke = loop, way, source, sink, sink_broke
        self._kept = b""
        """What the sink did not take."""
        self._stops: set[Stop] = set()
        self._is_running = self._is_reading = False
        self._source_ended = False
        self.shaper: Shaping | None = None
        self.carried_bytes = 0
        self.is_finished = False
        """True once a FIN was passed on: the source's, or ours."""

    # -- running -----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Begin to read."""
        self._is_running = True
        self._look_again()

    def halt(self) -> None:
        """Neither read nor write any more."""
        self._is_running = False
        self._look_again()
        self._loop.remove_writer(self._sink)
        if self.shaper is not None:
            self.shaper.close(flush=False)
            self.shaper = None

    def stop(self, why: Stop) -> None:
        """Do not read, for one more reason."""
        self._stops.add(why)
        self._look_again()
        if why == "hole" and self._kept:
            self._loop.remove_writer(self._sink)

    def go(self, why: Stop) -> None:
        """Read again, when there is no other reason not to."""
        self._stops.discard(why)
        if why == "hole" and self._kept and self._is_running:
            self._loop.add_writer(self._sink, self._writable)
        self._look_again()

    @property
    def is_done(self) -> bool:
        """Tell whether its end was passed on, and the source has nothing more to say."""
        return self.is_finished and self._source_ended

    def is_stopped(self, why: Stop) -> bool:
        """Tell whether this is a reason not to read."""
        return why in self._stops

    def is_stopped_beside(self, why: Stop) -> bool:
        """Tell whether there is another reason not to read than this."""
        return bool(self._stops - {why})

    @property
    def has_read_end(self) -> bool:
        """Tell whether the source's FIN was read: it does not wait in the kernel any more."""
        return self._source_ended

    def _look_again(self) -> None:
        want = self._is_running and not self._stops and not self._source_ended
        if want and not self._is_reading:
            self._loop.add_reader(self.source, self._readable)
        elif self._is_reading and not want:
            self._loop.remove_reader(self.source)
        self._is_reading = want

    # -- writing -----------------------------------------------------------------------------------------------------

    def _write(self, chunk: memoryview) -> None:
        """Send, and keep what the sink does not take.

        Raises:
            OSError: the sink broke.
        """
        if self._kept:
            self._kept += bytes(chunk)
            return
        sent = self._send(chunk)
        if sent < len(chunk):
            self._kept = bytes(chunk[sent:])
            self.stop("full")
            if "hole" not in self._stops:
                self._loop.add_writer(self._sink, self._writable)

    def _writable(self) -> None:
        try:
            self._kept = self._kept[self._send(memoryview(self._kept)) :]
            if not self._kept:
                self._loop.remove_writer(self._sink)
                self.go("full")
                self._finish()
        except OSError:
            self._sink_broke()

    def _send(self, chunk: memoryview) -> int:
        try:
            sent = self._sink.send(chunk) if "hole" not in self._stops else 0
        except (BlockingIOError, InterruptedError):
            return 0
        self.carried_bytes += sent
        return sent

    @abstractmethod
    def _readable(self) -> None:
        """Read, and pass on."""

    @abstractmethod
    def _finish(self) -> None:
        """Pass the end on, once everything before it has gone."""
