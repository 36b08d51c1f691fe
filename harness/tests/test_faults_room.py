"""Faults of a person's room: what they do in LiveKit and to the phone, and what proves it."""

from types import SimpleNamespace
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web
from livekit.protocol.models import DisconnectReason
from livekit.protocol.rtc import JoinResponse, LeaveRequest, SignalRequest, SignalResponse

from harness.errors import FaultDidNotLand
from harness.faults import Kicked, OtherEnvironment, RoomDeleted, Simulated, TokenRunsOut, WentAway
from harness.phone.signalling import Signal
from harness.rig import strangers
from harness.rooms import LEEWAY_S, RoomKeys

KEYS = RoomKeys("key", "s" * 32)
USER = "alice@example.com"
AGENT = f"cloud-agent:{USER}"


class TinyLiveKit:
    """Its room API and its signalling, for one room: newcomers replace whoever has their identity."""

    def __init__(self):
        self.inside: dict[str, Any] = {USER: None, AGENT: None}
        self.asked: list[str] = []
        self.refuses = False
        self.left = 0

    async def twirp(self, request):
        method = request.match_info["method"]
        self.asked.append(method)
        if self.refuses and method != "ListParticipants":
            return web.json_response({"code": "unavailable"}, status=503)
        if method == "ListParticipants":
            return web.json_response({"participants": [{"identity": who} for who in self.inside]})
        return web.json_response({})

    async def join(self, request):
        token = request.headers["Authorization"].removeprefix("Bearer ")
        identity = jwt.decode(token, KEYS.secret, algorithms=["HS256"])["sub"]
        if self.refuses:
            return web.Response(status=401, text="no")
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        before, self.inside[identity] = self.inside.get(identity), socket
        if before is not None:
            kick = LeaveRequest(reason=DisconnectReason.DUPLICATE_IDENTITY, action=LeaveRequest.DISCONNECT)
            await before.send_bytes(SignalResponse(leave=kick).SerializeToString())
            await before.close()
        await socket.send_bytes(SignalResponse(join=JoinResponse()).SerializeToString())
        async for message in socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                self.left += SignalRequest.FromString(message.data).WhichOneof("message") == "leave"
        return socket


@pytest.fixture
async def livekit():
    """Give the server and a stack that has it."""
    server, app = TinyLiveKit(), web.Application()
    app.router.add_post("/twirp/livekit.RoomService/{method}", server.twirp)
    app.router.add_get("/rtc/v1", server.join)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    stack: Any = SimpleNamespace(
        address=lambda _part, _port: runner.addresses[0], keys=KEYS, strangers=[],
        system=SimpleNamespace(room_of=lambda user: user),
    )  # fmt: skip
    yield server, stack
    await strangers.leave_all(stack.strangers)
    await runner.cleanup()


async def test_an_administrator_removes_who_is_there(livekit):
    server, stack = livekit
    proof = await strangers.put_out(stack, USER, "agent", "remove")
    assert proof == f"RemoveParticipant of {AGENT} was answered: it is put out of room {USER}"
    assert server.asked == ["ListParticipants", "RemoveParticipant"]


async def test_another_of_the_same_identity_joins_and_leaves(livekit):
    server, stack = livekit
    proof = await strangers.put_out(stack, USER, "phone", "duplicate-identity")
    assert proof.startswith(f"another {USER} joined room {USER} and left")
    assert server.inside[USER] is not None
    assert (server.left, stack.strangers) == (1, [])


async def test_the_other_environments_agent_stays_until_it_is_put_out_in_turn(livekit):
    server, stack = livekit
    await strangers.other_agent_comes(stack, USER)
    (stranger,) = stack.strangers
    assert (stranger.ended_by, server.left) == ("", 0)
    await strangers.put_out(stack, USER, "agent", "duplicate-identity")
    await stranger.out.wait()
    assert stranger.ended_by == "leave DUPLICATE_IDENTITY"


async def test_a_room_is_ended_by_its_api(livekit):
    server, stack = livekit
    assert "DeleteRoom" in await strangers.end_room(stack, USER)
    assert server.asked == ["ListParticipants", "DeleteRoom"]


@pytest.mark.parametrize("by", ["remove", "duplicate-identity"])
async def test_who_is_not_there_cannot_be_put_out(livekit, by):
    server, stack = livekit
    del server.inside[AGENT]
    with pytest.raises(FaultDidNotLand, match=f"{AGENT} is not in room {USER}: {USER}"):
        await strangers.put_out(stack, USER, "agent", by)
    assert server.asked == ["ListParticipants"]


async def test_what_livekit_does_not_do_did_not_land(livekit):
    server, stack = livekit
    server.refuses = True
    with pytest.raises(FaultDidNotLand, match="answered RemoveParticipant with 503"):
        await strangers.put_out(stack, USER, "agent", "remove")
    with pytest.raises(FaultDidNotLand, match="HTTP 401"):
        await strangers.other_agent_comes(stack, USER)
    with pytest.raises(FaultDidNotLand, match="answered DeleteRoom with 503"):
        await strangers.end_room(stack, USER)
    assert stack.strangers == []


def test_a_token_that_runs_out_says_a_minute_less_and_is_valid_before():
    claims = jwt.decode(KEYS.phone_token(USER, "r", ttl_s=3), options={"verify_signature": False})
    assert claims["exp"] - claims["nbf"] > 0
    now = claims["nbf"] + 10 + LEEWAY_S - 3
    assert claims["exp"] == now + 3 - LEEWAY_S
    assert (claims["sub"], claims["video"]["room"]) == (USER, "r")


class MadeUpPhone:
    name, user_id, proc, engine = "alice", USER, "phone-1", "aiortc"

    def __init__(self, **answers):
        self.answers, self.asked = answers, []

    def is_there(self):
        return True

    async def ask(self, verb, **fields):
        self.asked.append(verb)
        return self.answers.get(verb, {})

    async def socket_opens(self, *, after_ns):
        return f"open after {after_ns > 0}"


def scene_of(phone, *, comes=True):
    async def other(person):
        if not comes:
            raise FaultDidNotLand("not let in")
        return f"the other agent of {person} came"

    async def done(*asked):
        return f"did {asked}"

    return SimpleNamespace(
        person=lambda _name: phone, has=lambda _part: True, other_agent_comes=other, put_out=done, end_room=done,
        phone_token=lambda _person, ttl_s: f"token for {ttl_s} s",
    )  # fmt: skip


async def test_the_other_environment_has_the_phone_until_it_is_healed():
    phone = MadeUpPhone(close={"was_open": True})
    scene: Any = scene_of(phone)
    landed = await OtherEnvironment("alice").inject(scene)
    assert landed.proof.endswith("the other agent of alice came")
    assert await OtherEnvironment("alice").heal(scene) == "open after True"
    assert phone.asked == ["close", "connect"]


@pytest.mark.parametrize(("was_open", "comes"), [(False, True), (True, False)])
async def test_an_environment_that_did_not_get_the_phone_lets_it_dial_on(was_open, comes):
    phone = MadeUpPhone(close={"was_open": was_open})
    scene: Any = scene_of(phone, comes=comes)
    with pytest.raises(FaultDidNotLand):
        await OtherEnvironment("alice").inject(scene)
    assert phone.asked == ["close", "connect"]


@pytest.mark.parametrize("taken", [True, False])
async def test_a_token_can_only_run_out_where_there_is_one(taken):
    scene: Any = scene_of(MadeUpPhone(token={"taken": taken}))
    if taken:
        assert "takes for 3 s" in (await TokenRunsOut("alice").inject(scene)).proof
    else:
        with pytest.raises(FaultDidNotLand, match="no token"):
            await TokenRunsOut("alice").inject(scene)


async def test_only_the_sdk_can_simulate():
    phone = MadeUpPhone(simulate={"simulated": True})
    scene: Any = scene_of(phone)
    assert Simulated("alice").missing(scene) == "the phone of alice has the engine aiortc, which cannot"
    phone.engine = "livekit"
    assert Simulated("alice").missing(scene) is None
    assert "SIGNAL_RECONNECT simulated" in (await Simulated("alice").inject(scene)).proof
    phone.answers["simulate"] = {"simulated": False}
    with pytest.raises(FaultDidNotLand, match="in no room"):
        await Simulated("alice").inject(scene)


async def test_who_is_put_out_is_named():
    scene: Any = scene_of(MadeUpPhone())
    assert (await Kicked("alice", who="phone", by="remove").inject(scene)).proof == "did ('alice', 'phone', 'remove')"
    assert (await RoomDeleted("alice").inject(scene)).proof == "did ('alice',)"
    assert Kicked("alice").blast == ("alice",)


async def test_a_signal_that_is_let_in_can_be_given_up(livekit):
    server, stack = livekit
    host, port = stack.address("livekit", "signal")
    signal = await Signal.dial(f"ws://{host}:{port}", KEYS.agent_token(USER, USER))
    signal.abort()
    assert server.left == 0


@pytest.mark.parametrize("was_open", [True, False])
async def test_who_went_away_left_the_room_and_the_cloud_for_good(was_open):
    phone = MadeUpPhone(close={"was_open": was_open})
    scene: Any = scene_of(phone)
    if was_open:
        assert "closed with 1001 for good" in (await WentAway("alice").inject(scene)).proof
        assert phone.asked == ["leave", "close"]
    else:
        with pytest.raises(FaultDidNotLand, match="no open socket"):
            await WentAway("alice").inject(scene)
