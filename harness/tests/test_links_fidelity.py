"""What an end sees through a link is what it sees without one: RST, FIN, half a close, a closed window."""

import asyncio
import contextlib
import random
import socket
from pathlib import Path

import pytest

from harness import events as ev
from harness.links.kernel import is_window_closed, undelivered_bytes
from harness.links.reading import Conversation
from harness.links.triggers import Trigger
from harness.moments import message
from harness.tests.links_world import Bench
from harness.waiting import NotYet, until

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@pytest.fixture
async def worlds(tmp_path):
    made = {"tcp": Bench(), "unix": Bench(tmp_path)}
    yield made
    for bench in made.values():
        bench.close()


async def pair(worlds, kind, through, first):
    """Return (who acts, who sees it) of a connection through the link, or straight to the target."""
    bench = worlds[kind]
    dialer, target = await bench.pair_at(bench.front.addresses[0] if through == "link" else bench.target)
    return (dialer, target) if first == "dialer" else (target, dialer)


async def seen(doing):
    """Return what an end sees: bytes, or the name of its error."""
    try:
        return await doing
    except OSError as error:
        return type(error).__name__


async def until_it_breaks(side):
    """Write until the kernel says how the connection ended."""

    async def write():
        got = await seen(side.send(b"x"))
        return got if got is not None else NotYet("still taken")

    return await until(write, what="a broken connection", within_s=2, every_s=0.005)


async def settle(side):
    """Wait until the other end's kernel has all that was written."""

    def left():
        count = undelivered_bytes(side.sock)
        return NotYet(f"{count} bytes under way") if count else True

    await until(left, what="delivery", within_s=2, every_s=0.002)


async def a_reset(one, other):
    await one.send(b"last words")
    heard = await other.get()
    one.reset()
    return heard, await seen(other.get()), await until_it_breaks(other)


async def a_reset_behind_bytes(one, other):
    await one.send(b"unread words")
    await settle(one)
    one.reset()
    return await seen(other.get()), await seen(other.get())


async def a_fin(one, other):
    await one.send(b"last words")
    one.sock.close()
    return await other.get_all(), await until_it_breaks(other)


async def half_a_close(one, other):
    await one.send(b"question")
    one.finish()
    question = await other.get_all()
    await other.send(b"answer")
    other.finish()
    return question, await one.get_all()


async def half_a_close_then_a_reset(one, other):
    one.finish()
    end = await other.get()
    other.reset()
    return end, await seen(one.get())


TCP_STORIES = [a_reset, a_reset_behind_bytes, a_fin, half_a_close, half_a_close_then_a_reset]
UNIX_STORIES = [a_fin, half_a_close]


@pytest.mark.parametrize("first", ["dialer", "target"])
@pytest.mark.parametrize(
    ("kind", "story"),
    [("tcp", story) for story in TCP_STORIES] + [("unix", story) for story in UNIX_STORIES],
    ids=lambda value: getattr(value, "__name__", value),
)
async def test_an_end_sees_the_same(worlds, kind, story, first):
    straight = await story(*await pair(worlds, kind, "straight", first))
    through = await story(*await pair(worlds, kind, "link", first))
    assert through == straight


@pytest.mark.parametrize("first", ["dialer", "target"])
@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_a_reader_that_stops_blocks_the_sender_and_loses_nothing(worlds, kind, first):
    """The window closes (a unix socket: its buffer is full), and opens again when it is read."""
    for through in ("straight", "link"):
        one, other = await pair(worlds, kind, through, first)
        for end in (one, other):
            end.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
            end.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sent = 0

        def blocked(one=one, other=other):
            nonlocal sent
            more = one.fill()
            sent += more
            shut = is_window_closed(other.sock)
            return NotYet(f"{more} bytes more") if more or shut is False else (shut, True)

        assert await until(blocked, what="a blocked sender", within_s=3) == (True if kind == "tcp" else None, True)
        got = 0
        while got < sent:
            got += len(await other.get())
        assert got == sent
        await one.send(b"on")
        assert await other.get() == b"on"


def mode_of(path):
    return Path(path).stat().st_mode & 0o777


async def test_a_front_that_is_a_file_is_its_owners_alone_and_made_anew(worlds):
    bench = worlds["unix"]
    path = bench.front.addresses[0][0]
    bench.front.close()
    with pytest.raises(ConnectionRefusedError):
        await bench.dial()
    bench.front.listen()
    await bench.pair()
    assert mode_of(path) == 0o600


async def test_a_target_file_that_is_gone_refuses_the_dialer(worlds, tmp_path):
    bench = worlds["unix"]
    (tmp_path / "target.sock").unlink()
    dialer = await bench.dial()
    assert await seen(dialer.get()) in {b"", "ConnectionResetError"}
    assert "target.sock: No such file" in (await bench.event(ev.LinkRefused)).reason


async def talked(one, other, beginning, seed, size=1_000_000):
    """Say so many random bytes both ways at once in random chunks; return what was said and heard, both ways."""
    dice = random.Random(seed)
    said = [beginning + dice.randbytes(size - len(beginning)), dice.randbytes(size)]

    async def talk(side, text):
        at = 0
        while at < len(text):
            step = dice.choice([1, 9, 640, 4096, 65536, 200_000])
            await side.send(text[at : at + step])
            at += step
            if not dice.randrange(8):
                await asyncio.sleep(0)
        side.finish()

    async with asyncio.TaskGroup() as tasks:
        heard = [tasks.create_task(side.get_all()) for side in (other, one)]
        tasks.create_task(talk(one, said[0]))
        tasks.create_task(talk(other, said[1]))
    return said, [task.result() for task in heard]


HOSTILE = {
    "neither": b"",
    "h2 that breaks": PREFACE,
    "h2 frame too long": PREFACE + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
    "gRPC joined in the middle": b"\x00\x00\x0a\x00\x00\x00\x00\x00\x05",
    "http that breaks": b"GET /glasses-ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n",
    "post without an end": b"POST /webhook HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
}


@pytest.mark.parametrize("is_armed", [False, True], ids=["", "armed"])
@pytest.mark.parametrize("beginning", HOSTILE.values(), ids=HOSTILE)
async def test_a_million_hostile_bytes_pass_a_reader_unchanged(worlds, beginning, is_armed):
    bench = worlds["tcp"]
    if is_armed:
        fired = bench.loop.create_future()
        bench.front.arm(Trigger(1, message("never said"), before=True, hold=True, act="tell", fired=fired))
    one, other = await bench.pair()
    said, heard = await talked(one, other, beginning, seed=len(beginning))
    assert [mine == yours for mine, yours in zip(said, heard, strict=True)] == [True, True]
    assert sum(isinstance(event, ev.WireUnreadable) for event in bench.events) == 1, "it is said once"


async def test_a_million_bytes_pass_a_file_unchanged(worlds):
    one, other = await worlds["unix"].pair()
    said, heard = await talked(one, other, b"", seed=3)
    assert [mine == yours for mine, yours in zip(said, heard, strict=True)] == [True, True]


async def test_a_reader_that_falls_over_never_stops_the_link(worlds, monkeypatch):
    bench = worlds["tcp"]

    def fall_over(self, way, data):
        raise RecursionError(data)

    monkeypatch.setattr(Conversation, "_sniff", fall_over)
    dialer, target = await bench.pair()
    for _ in range(3):
        await dialer.send(b"on")
        assert await target.get() == b"on"
    with contextlib.suppress(TimeoutError):
        await target.get(within_s=0.02)
    told = [event.reason for event in bench.events if isinstance(event, ev.WireUnreadable)]
    assert len(told) == 1
    assert "RecursionError" in told[0]
