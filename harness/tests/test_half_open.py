"""What is there and does not answer: the reference cloud's mends and their switches, our ears, faults and families."""

import asyncio
import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from harness import events as ev
from harness.checkers import judge
from harness.checkers.families_half_open import captions_lag_after_burst
from harness.clock import SECOND_NS
from harness.ears.app import CaptionsApp
from harness.ears.app_session import AppSetup
from harness.ears.stt import SttStandIn
from harness.errors import FaultDidNotLand
from harness.faults import SttEndsEarly, WebhookHangs
from harness.frames import FRAME, Hop
from harness.history import Recorder
from harness.tests.histories import ack, at, green
from harness.tests.reference_cloud_world import BRISK, PACKAGE, USER, eventually, world
from harness.tests.test_ears_stt import CONFIG

IMPATIENT = replace(BRISK, ping_s=0.05, pong_s=0.15, close_s=0.05)


@pytest.mark.parametrize(("defects", "given_up"), [((), True), (("no-pong-timeout",), False)])
async def test_a_phone_without_pongs_is_given_up(defects, given_up):
    async with world(*defects, timers=IMPATIENT) as w:
        phone = await w.phone()
        phone.pongs = False
        await phone.acknowledged()
        await asyncio.sleep(0.4)
        assert (phone.close_code == 1001) is given_up


@pytest.mark.parametrize(("defects", "waited"), [((), False), (("apps-before-ack",), True)])
async def test_an_ack_waits_for_no_webhook(defects, waited):
    async with world(*defects, timers=replace(BRISK, webhook_s=5)) as w:
        w.app.answers.clear()
        w.cloud.ctx.users.add_running(USER, PACKAGE)
        phone = await w.phone()
        await eventually(lambda: w.stt.configurations, "an app that connected before its webhook was answered")
        await asyncio.sleep(0.1)
        assert (phone.of("connection_ack") == []) is waited
        w.app.answers.set()
        await phone.acknowledged()


async def test_an_app_that_connected_runs_though_its_webhook_is_never_answered():
    async with world(timers=replace(BRISK, webhook_s=0.1)) as w:
        w.app.answers.clear()
        w.cloud.ctx.users.add_running(USER, PACKAGE)
        phone = await w.phone()
        await eventually(lambda: phone.of("app_started"), "app_started")
        assert len(w.app.webhooks) == 1
        w.app.answers.set()


@pytest.mark.parametrize(("defects", "again"), [((), True), (("stt-init-hang",), False)])
async def test_an_stt_that_closed_before_it_was_ready_is_dialed_again(defects, again):
    async with world(*defects, timers=replace(BRISK, stt_ready_s=0.1)) as w:
        w.stt.ends_early = True
        await w.captions_running()
        await asyncio.sleep(0.2)
        assert (len(w.stt.configurations) > 1) is again
        (stt,) = [session.stt for session in w.cloud.sessions()]
        assert not stt.available


@pytest.mark.parametrize(("defects", "paced"), [((), False), (("unbounded-backlog",), True)])
async def test_a_burst_goes_to_the_stt_at_once(defects, paced):
    async with world(*defects) as w:
        await w.captions_running()
        for _ in range(20):
            w.bridge.say(bytes(1280))  # 40 ms each
        await eventually(lambda: w.stt.audio, "audio")
        await asyncio.sleep(0.3)
        assert (len(b"".join(w.stt.audio)) < 20 * 1280) is paced


async def test_our_stt_closes_what_is_new_until_told_otherwise(tmp_path):
    recorder = Recorder(tmp_path, "r1", "ears")
    stt = SttStandIn(recorder)
    await stt.open("127.0.0.1", 0)
    stt.end_early(on=True)
    ws = await connect(f"ws://127.0.0.1:{stt.port}/", proxy=None)
    await ws.send(json.dumps(CONFIG))
    with pytest.raises(ConnectionClosed):
        await ws.recv()
    assert (ws.close_code, stt.end_early(on=False)) == (1011, 1)
    ws = await connect(f"ws://127.0.0.1:{stt.port}/", proxy=None)
    await ws.send(json.dumps(CONFIG))
    await ws.send(b"")
    assert json.loads(await ws.recv())["finished"]
    await stt.close()
    recorder.close()


async def test_our_app_leaves_its_webhook_unanswered_until_told_otherwise(tmp_path):
    recorder = Recorder(tmp_path, "r1", "ears")
    app = CaptionsApp(recorder, AppSetup(package="a.b", api_key="k", cloud_ws_url="ws://127.0.0.1:1"))
    await app.open("127.0.0.1", 0)
    app.hang(on=True)
    reader, writer = await asyncio.open_connection("127.0.0.1", app.port)
    body = b'{"type": "other", "sessionId": "s"}'
    writer.write(b"POST /webhook HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(reading := asyncio.ensure_future(reader.readline())), 0.1)
    assert app.hang(on=False) == 1
    assert (await reading).startswith(b"HTTP/1.1 200")
    writer.close()
    await app.close()
    recorder.close()


@pytest.mark.parametrize(("fault", "ear"), [(WebhookHangs(), "app"), (SttEndsEarly(), "stt")])
async def test_a_fault_of_our_ears_landed_when_somebody_met_it(fault, ear):
    met = 1

    class EarScene:
        def why_no_ear(self, name: str) -> str | None:
            return None if name == ear else f"no {name}"

        async def ask_ears(self, _verb: str, *, on: bool) -> int:
            return 0 if on else met

    scene: Any = EarScene()
    assert fault.missing(scene) is None
    await fault.inject(scene)
    assert (await fault.heal(scene)).startswith("1 ")
    met = 0
    with pytest.raises(FaultDidNotLand, match="nobody"):
        await fault.heal(scene)


def incidents(draft):
    return [d.incident for d in judge(draft.history()).diagnosis]


def shut(fault="Blackhole(link='phone->cloud', way='both')"):
    """Give a run in which a link was shut for 5 s; nobody's socket ended, and captions never came back."""
    since: list[type[ev.Event]] = [ev.Injecting, ev.Injected, ev.ComponentExited, ev.PhoneSocketClosed, ev.Gate]
    draft = green().never_recovers("stt-in")
    for kind in since:
        draft.drop(kind)
    draft.drop(ev.PhoneDialing, lambda e: e.attempt == 2).drop(ev.PhoneSocketOpen, lambda e: e.attempt == 2)
    return draft.add(
        at(6.05, ev.Injecting(number=1, fault=fault, target="phone->cloud", blast=("phone->cloud",), held=True)),
        at(6.1, ev.Injected(number=1, fault=fault, proof="nothing passes either way")),
        at(11.0, ev.Healing(number=1)),
        at(11.1, ev.Healed(number=1, fault=fault, proof="2167 bytes had waited")),
    )


def test_a_phone_that_nobody_gave_up():
    assert "phone-half-open" in incidents(shut())


@pytest.mark.parametrize(
    "event",
    [
        at(11.2, ev.PhoneSocketClosed(person="alice", code=1001, reason="Ping timeout", by="cloud"), "phone-alice-1"),
        at(9.2, ev.WireSaid(link="phone->cloud", conn=1, way="to-dialer", what="close", name="1001"), "links"),
    ],
    ids=["told", "on the wire"],
)
def test_a_phone_that_was_given_up_was_not_half_open(event):
    assert "phone-half-open" not in incidents(shut().add(event))


def test_a_slow_line_leaves_no_phone_half_open():
    assert "phone-half-open" not in incidents(shut("Delay(link='phone->cloud', ms=50)"))


def waiting(acked_s):
    """Give a run whose second socket had its ACK only then, and never captions again."""
    draft = green().never_recovers("sfu").drop(ev.Gate)
    return draft.drop(ev.PhoneMessage, lambda e: e.t_ns > at(6, ev.Note(text="")).t_ns).add(ack(acked_s))


def webhook(what, t_s, *, conn=1):
    way = "to-target" if what == "request" else "to-dialer"
    return at(t_s, ev.WireSaid(link="cloud->app", conn=conn, way=way, what=what, name="POST /webhook"), "links")


@pytest.mark.parametrize(("acked_s", "named"), [(13.0, True), (8.7, False)])
def test_an_ack_that_waited_for_a_webhook(acked_s, named):
    assert ("ack-late-slow-webhook" in incidents(waiting(acked_s).add(webhook("request", 8.74)))) is named


@pytest.mark.parametrize(("replied_s", "conn", "named"), [(8.76, 1, False), (12.9, 1, True), (8.76, 2, True)])
def test_only_a_webhook_that_was_not_answered_keeps_an_ack(replied_s, conn, named):
    draft = waiting(13.0).add(webhook("request", 8.74), webhook("reply", replied_s, conn=conn))
    assert ("ack-late-slow-webhook" in incidents(draft)) is named


def test_an_app_that_is_slow_to_take_its_webhook_keeps_the_ack_too():
    assert "ack-late-slow-webhook" in incidents(waiting(13.0).add(webhook("request", 7.5)))


def test_a_webhook_that_is_not_on_the_wire_kept_no_ack():
    assert "ack-late-slow-webhook" not in incidents(waiting(13.0))


def test_an_stt_that_closed_before_it_took_audio():
    draft = green().never_recovers("stt-in").drop(ev.Gate).drop(ev.SttOpened)
    draft.silent["cloud-in"] = []
    draft.add(at(8.8, ev.SttClosed(conn=2, code=1000, by="stt", reason=""), "ears"))
    assert incidents(draft)[0] == "stt-closes-during-init"
    draft.add(at(8.7, ev.SttOpened(conn=2), "ears"))
    assert incidents(draft)[0] == "stt-close-not-recreated"


@pytest.mark.parametrize(("waited_s", "named"), [(6.0, True), (0.5, False)])
def test_audio_that_waits_in_the_cloud_long_after_the_fault(waited_s, named):
    history = green().history()
    cloud = np.zeros(50, FRAME)
    cloud["index"] = np.arange(50)
    cloud["speaker"] = 7
    cloud["t_ns"] = history.end_ns + np.arange(50) * 20_000_000
    stt = cloud.copy()
    stt["t_ns"] += np.uint64(waited_s * SECOND_NS)
    heard = {Hop.CLOUD_IN: cloud, Hop.STT_IN: stt}
    scene: Any = SimpleNamespace(
        broken=lambda *_: True,
        history=SimpleNamespace(all=history.all, at_hop=heard.__getitem__, seconds=history.seconds),
        from_ns=history.start_ns, hop_proof=lambda: at(1, ev.Note(text="")),
    )  # fmt: skip
    found = captions_lag_after_burst(scene)
    assert (found is not None) is named
