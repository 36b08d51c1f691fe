"""Writes down what readers understood: an event for each thing said, frames at ``bridge-out`` for the audio in it."""

from __future__ import annotations

from harness import events as ev
from harness.frames import Hop
from harness.history import Recorder
from harness.links.reading import Said
from harness.pcm_ear import PcmEar


class WireRecord:
    """What one link's connections said, on disk."""

    def __init__(self, link: str, recorder: Recorder) -> None:
        """Record for ``link``."""
        self._link, self._recorder = link, recorder
        self._ears: dict[tuple[int, int], PcmEar] = {}
        self._unreadable: set[int] = set()

    @property
    def streams(self) -> int:
        """How many streams with audio are going on."""
        return len(self._ears)

    def write(self, conn: int, said: list[Said], unreadable: str, t_ns: int) -> None:
        """Write down what was said at ``t_ns`` on connection ``conn``, and once why it cannot be read any more."""
        for one in said:
            if one.pcm:
                key = (conn, one.stream)
                if key not in self._ears:
                    self._ears[key] = PcmEar(self._recorder, Hop.BRIDGE_OUT)
                self._ears[key].feed(one.pcm, t_ns=t_ns)
            if one.kind == "status" and (ended := self._ears.pop((conn, one.stream), None)) is not None:
                ended.finish(t_ns=t_ns)
            if not one.quiet:
                event = ev.WireSaid(
                    link=self._link, conn=conn, way=one.way, what=one.kind, name=one.name, stream=one.stream,
                    facts=dict(one.facts),
                )  # fmt: skip
                self._recorder.emit(event, t_ns=t_ns)
        if unreadable and conn not in self._unreadable:
            self._unreadable.add(conn)
            self._recorder.emit(ev.WireUnreadable(link=self._link, conn=conn, reason=unreadable), t_ns=t_ns)

    def forget(self, conn: int) -> None:
        """Settle what the audio streams of a connection that has ended still held."""
        for key in [key for key in self._ears if key[0] == conn]:
            self._ears.pop(key).finish()
        self._unreadable.discard(conn)
