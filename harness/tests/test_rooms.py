"""LiveKit's room API: what its answers, good and bad, become."""

from typing import Any

import pytest
from aiohttp import web

from harness.errors import MachineError
from harness.rooms import RoomKeys, RoomsUnreadable, check_keys, participants

KEYS = RoomKeys("key", "s" * 32)
TOKEN = KEYS.token("somebody")


@pytest.fixture
async def livekit():
    """Give a server that answers each call with what ``answer`` says: status and text."""
    answer: dict[str, Any] = {"status": 200, "text": "{}"}

    async def answered(_request: web.Request) -> web.Response:
        return web.Response(status=answer["status"], text=answer["text"])

    app = web.Application()
    app.router.add_post("/twirp/livekit.RoomService/{method}", answered)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"127.0.0.1:{runner.addresses[0][1]}", answer
    await runner.cleanup()


async def test_our_listener_and_the_hidden_are_no_participants(livekit):
    address, answer = livekit
    answer["text"] = (
        '{"participants": [{"identity": "b"}, {"identity": "a"}, {"identity": "aftershock-ear:r"},'
        ' {"identity": "x", "permission": {"hidden": true}}]}'
    )
    assert await participants(address, KEYS, "r") == ("a", "b")
    answer["status"] = 404
    assert await participants(address, KEYS, "r") == ()


@pytest.mark.parametrize(
    ("status", "text", "told"),
    [
        (401, "invalid API key: k\n", "401 invalid API key: k"),
        (401, f"invalid token: {TOKEN}", "401 invalid token: ***"),
        (502, "<html>\nbad gateway</html>", "502 <html> bad gateway</html>"),
        (200, "no JSON", "200 no JSON"),
        (200, "[]", "200 []"),
    ],
)
async def test_another_answer_is_told_as_status_and_text(livekit, status, text, told):
    address, answer = livekit
    answer.update(status=status, text=text)
    with pytest.raises(RoomsUnreadable) as raised:
        await participants(address, KEYS, "r")
    assert str(raised.value) == f"LiveKit at {address} answered ListParticipants with {told}"


async def test_a_key_or_secret_that_is_refused_is_one_sentence(livekit):
    address, answer = livekit
    await check_keys(address, KEYS)
    answer.update(status=401, text=f"invalid token: {TOKEN}")
    with pytest.raises(MachineError) as raised:
        await check_keys(address, KEYS)
    assert raised.value.exit_code == 3
    assert str(raised.value).startswith(
        f"expected secrets.livekit.key and secrets.livekit.secret to be those of the LiveKit at {address}; saw 401 "
    )
    assert TOKEN not in str(raised.value)
    answer.update(status=503, text="busy")
    with pytest.raises(RoomsUnreadable, match="ListRooms with 503 busy"):
        await check_keys(address, KEYS)


async def test_no_answer_is_told_in_words():
    with pytest.raises(RoomsUnreadable, match=r"did not answer ListRooms: Cannot connect to host 127\.0\.0\.1:1"):
        await check_keys("127.0.0.1:1", KEYS)
