"""The STT stand-in speaks the Soniox protocol."""

import asyncio
import json

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from harness import events as ev
from harness.ears.stt import SttStandIn
from harness.frames import Hop
from harness.history import History, Recorder
from harness.speech import encode, parse_words
from harness.waiting import NotYet, until

CONFIG = {"api_key": "x", "model": "stt-rt-v3-preview", "audio_format": "pcm_s16le", "sample_rate": 16000,
          "num_channels": 1, "language_hints": ["en"]}  # fmt: skip


@pytest.fixture
async def stt(tmp_path):
    recorder = Recorder(tmp_path, "r1", "ears")
    recorder.emit(ev.Note(text="so that there is an event"))
    stand_in = SttStandIn(recorder, idle_s=0.3)
    await stand_in.open("127.0.0.1", 0)
    yield stand_in
    await stand_in.close()
    recorder.close()


async def dial(stt, config=CONFIG):
    ws = await connect(f"ws://127.0.0.1:{stt.port}/transcribe-websocket", proxy=None)
    await ws.send(json.dumps(config))
    return ws


async def answers(ws):
    got = []
    try:
        async for message in ws:
            got.append(json.loads(message))  # noqa: PERF401  what came before the end counts
    except ConnectionClosed:
        pass
    return got


async def test_an_utterance_becomes_interims_a_final_and_a_finished(stt, tmp_path):
    ws = await dial(stt)
    audio = encode(7, 70, 70)
    for at in range(0, len(audio), 1500):
        await ws.send(audio[at : at + 1500])
    await ws.send(b"")
    got = await answers(ws)
    assert ws.close_code == 1000
    assert got[-1]["finished"] is True
    assert got[-1]["total_audio_proc_ms"] == 1400
    finals = [a for a in got if any(t["is_final"] for t in a["tokens"])]
    (final,) = finals
    assert final["tokens"][-1]["text"] == "<end>"
    text = "".join(t["text"] for t in final["tokens"])
    assert parse_words(text) == [(7, w) for w in (5, 6, 7, 8, 9)]
    assert [(t["start_ms"], t["end_ms"]) for t in final["tokens"][:2]] == [(0, 200), (200, 400)]
    interims = [parse_words("".join(t["text"] for t in a["tokens"])) for a in got if a["tokens"] and a is not final]
    assert [len(i) for i in interims] == [1, 2, 3, 4, 5]
    history = History.load(tmp_path)
    assert history.at_hop(Hop.STT_IN, 7)["index"].tolist() == list(range(70, 140))
    assert [c.words for c in history.captions("stt-out", final=True)] == [(5, 6, 7, 8, 9)]
    assert len(history.captions("stt-out", final=False)) == 5
    await closed(tmp_path, ("cloud", 1000))


async def closed(tmp_path, *expected):
    def there():
        got = tuple((e.by, e.code) for e in History.load(tmp_path).all(ev.SttClosed))
        return True if got == expected else NotYet(f"{got}")

    await until(there, what=f"SttClosed {expected}", within_s=2)


async def test_no_data_is_an_error_408_and_keepalives_prevent_it(stt, tmp_path):
    ws = await dial(stt)
    for _ in range(4):
        await asyncio.sleep(0.1)
        await ws.send(json.dumps({"type": "keepalive"}))
    assert ws.close_code is None
    got = await answers(ws)
    assert got[-1]["error_code"] == 408
    assert len(History.load(tmp_path).all(ev.SttKeepalive)) == 4
    await closed(tmp_path, ("stt", 1000))


async def test_a_wrong_configuration_is_refused_with_a_reason(stt):
    got = await answers(await dial(stt, CONFIG | {"sample_rate": 8000}))
    assert got[0]["error_code"] == 400
    assert "sample_rate" in got[0]["error_message"]
    assert "8000" in got[0]["error_message"]


async def test_dropping_refusing_and_accepting(stt, tmp_path):
    ws = await dial(stt)
    await ws.send(encode(7, 0, 2))
    await until(lambda: stt.state()["open"] == 1 or NotYet("not open"), what="a connection", within_s=2)
    assert stt.drop(abort=True) == 1
    assert await answers(ws) == []
    assert ws.close_code == 1006
    await closed(tmp_path, ("stt", 1006))
    stt.refuse(on=True)
    with pytest.raises(InvalidStatus, match="503"):
        await dial(stt)
    stt.refuse(on=False)
    ws = await dial(stt)
    await until(lambda: stt.state()["open"] == 1 or NotYet("not open"), what="a connection", within_s=2)
    stt.drop(abort=False, error=503)
    assert (await answers(ws))[0]["error_code"] == 503
    assert stt.state()["total"] == 2


async def test_who_ended_a_connection_is_told_apart(stt, tmp_path):
    ws = await dial(stt)
    await ws.close(1000, "Stream closed normally")
    await closed(tmp_path, ("cloud", 1000))
    ws = await dial(stt)
    ws.transport.abort()
    await closed(tmp_path, ("cloud", 1000), ("network", 1006))


async def test_a_finalize_and_two_speakers_in_one_stream(stt):
    ws = await dial(stt)
    for first in range(0, 30, 2):
        await ws.send(encode(7, first, 2) + encode(8, first + 70, 2))
    await ws.send(json.dumps({"type": "finalize"}))
    await ws.send(b"")
    got = await answers(ws)
    finals = ["".join(t["text"] for t in a["tokens"]) for a in got if a["tokens"] and a["tokens"][-1]["is_final"]]
    assert [parse_words(text) for text in finals] == [[(7, 0), (7, 1), (7, 2)], [(8, 5), (8, 6), (8, 7)]]
