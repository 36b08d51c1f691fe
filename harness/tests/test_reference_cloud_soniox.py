"""What the reference cloud tells of audio that its STT does not take."""

import asyncio

from harness.reference.cloud import soniox
from harness.reference.cloud.log import Log
from harness.reference.cloud.outbox import Outbox


async def test_drops_are_told_and_counted_from_ready_on(capsys, monkeypatch):
    monkeypatch.setattr(soniox, "CHUNKS_QUEUED", 3)
    stream = object.__new__(soniox.SonioxStream)
    stream._audio, stream._log, stream._configured, stream._dropped = Outbox(2), Log(), False, 0
    for _ in range(2 + 7):
        stream.feed(b"pcm")
    assert capsys.readouterr().out == ""
    stream._configured = True
    for told in (["1"], [], [], ["4"]):
        stream.feed(b"pcm")
        await asyncio.sleep(0)
        lines = capsys.readouterr().out.splitlines()
        assert [line.rpartition(" ")[2].rstrip("}") for line in lines] == told
