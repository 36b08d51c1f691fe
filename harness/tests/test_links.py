"""A link passes what TCP passes, as it came; and holds back what a fault says."""

import asyncio
import contextlib
import errno
import os
import random
import resource
import socket
import time
from pathlib import Path

import pytest

from harness import events as ev
from harness.control import ControlError
from harness.errors import MachineError
from harness.history import read_new_events
from harness.links import Links
from harness.links.kernel import undelivered_bytes
from harness.tests.links_world import HOST, Bench, Side, free_address, listener
from harness.waiting import NotYet, until


@pytest.fixture
async def bench():
    made = Bench()
    yield made
    made.close()


@pytest.fixture(params=["dialer first", "target first"])
async def ends(request, bench):
    """(who acts, who sees it), both ways round."""
    dialer, target = await bench.pair()
    return (dialer, target) if request.param == "dialer first" else (target, dialer)


async def test_a_reset_passes_as_a_reset(ends, bench):
    one, other = ends
    await one.send(b"last words")
    assert await other.get() == b"last words"
    one.reset()
    with pytest.raises(ConnectionResetError):
        await other.get()
    closed = await bench.event(ev.LinkClosed)
    assert (closed.how, closed.first) == ("reset", "dialer" if one is bench.sides[0] else "target")
    assert closed.to_target_bytes + closed.to_dialer_bytes == 10


def delivered_of(sock, sent, more_than=65536, within_s=2.0):
    """Wait until the other end's kernel has more than so many of the bytes sent; this loop stands still meanwhile."""
    limit = time.monotonic() + within_s
    while time.monotonic() < limit:
        delivered = sent - undelivered_bytes(sock)
        if delivered > more_than:
            return delivered
        time.sleep(0.001)  # the kernel may deliver a little later, on another core
    pytest.fail(f"the kernel delivered {delivered} of {sent} bytes: this test would test nothing")


async def test_what_was_sent_before_a_reset_arrives(ends):
    one, other = ends
    other.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)  # has room for all that comes below
    wide = 4_000_000  # the kernel widens the window as we go, to more than one chunk
    sending = asyncio.create_task(one.send(bytes(wide)))
    while wide:
        wide -= len(await other.get())
    await sending
    sent = one.sock.send(bytes(150_000))  # before the link has its turn
    delivered = delivered_of(one.sock, sent)
    one.reset()
    found = 0
    with contextlib.suppress(ConnectionResetError):
        while True:
            found += len(await other.get())
    assert found >= delivered, "a reset does not take back what was delivered"


async def test_a_fin_is_a_half_close_and_the_other_direction_goes_on(ends, bench):
    one, other = ends
    await one.send(b"question")
    one.finish()
    assert await other.get_all() == b"question"
    for part in (b"an", b"swer"):
        await other.send(part)
        assert await one.get() == part
    assert bench.front.state().open == 1
    other.finish()
    assert await one.get() == b""
    closed = await bench.event(ev.LinkClosed)
    assert (closed.how, closed.first) == ("fin", "dialer" if one is bench.sides[0] else "target")
    assert bench.front.state().open == 0


async def test_a_reset_after_a_half_close_passes(ends):
    one, other = ends
    one.finish()
    assert await other.get() == b""
    one.reset()
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        await until_broken(other)


async def until_broken(side):
    """Write until the kernel says that the connection is gone."""
    for _ in range(200):
        await side.send(b"x")
        await asyncio.sleep(0.01)
    pytest.fail("still open after 2 s")


async def test_a_million_random_bytes_pass_unchanged_both_ways(bench):
    dialer, target = await bench.pair()
    dice = random.Random(7)
    data = [dice.randbytes(1_000_000) for _ in range(2)]

    async def talk(side, text):
        at = 0
        while at < len(text):
            size = dice.choice([1, 7, 640, 4096, 65536, 200_000])
            await side.send(text[at : at + size])
            at += size
            if not dice.randrange(8):
                await asyncio.sleep(0)
        side.finish()

    async with asyncio.TaskGroup() as tasks:
        heard = [tasks.create_task(side.get_all()) for side in (target, dialer)]
        tasks.create_task(talk(dialer, data[0]))
        tasks.create_task(talk(target, data[1]))
    assert [task.result() for task in heard] == data
    state = bench.front.state()
    assert (state.to_target_bytes, state.to_dialer_bytes) == (1_000_000, 1_000_000)


def kernel_limit(way):
    return int(Path(f"/proc/sys/net/ipv4/tcp_{way}").read_text().split()[2])


async def fill_up(bench, one, other):
    """Send from ``one`` until nothing moves any more, while ``other`` does not read; return what was taken."""
    for end in (one, other):
        end.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        end.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    taken, still = 0, 0
    while still < 3:
        more = one.fill()
        still = 0 if more else still + 1
        taken += more
        await asyncio.sleep(0.01)
    return taken


async def test_a_reader_that_stops_makes_the_sender_block(ends, bench):
    one, other = ends
    taken = await fill_up(bench, one, other)
    state = bench.front.state()
    carried = state.to_target_bytes + state.to_dialer_bytes
    # the kernel's own limits at the link's two sockets, 64 kB of ours, and what the two ends hold
    assert taken < kernel_limit("rmem") + kernel_limit("wmem") + 65536 + 4 * 131072, "the link buffers without bound"
    assert carried < taken
    found = 0
    while found < taken:
        found += len(await other.get())
    await one.send(b"on")
    assert await other.get() == b"on", "it goes on when the reader does"


async def test_a_reset_while_blocked_passes_at_once(ends, bench):
    """The sender resets while the link waits for a reader; no read or write could tell."""
    one, other = ends
    await fill_up(bench, one, other)
    one.reset()
    assert (await bench.event(ev.LinkClosed)).how == "reset"
    with pytest.raises(ConnectionResetError):
        while await other.get():
            pass


async def test_a_reader_that_resets_while_we_are_blocked_resets_the_sender(ends, bench):
    one, other = ends
    await fill_up(bench, one, other)
    other.reset()
    with pytest.raises(ConnectionError):
        await until_broken(one)


async def test_silence_holds_over_the_death_of_the_dialer(bench):
    pairs = [await bench.pair() for _ in range(2)]
    for dialer, target in pairs:
        await dialer.send(b"hello")
        assert await target.get() == b"hello"
    assert bench.front.silence() == 2
    for dialer, target in pairs:
        await target.send(b"to nobody")
        await dialer.send(b"from nobody")
    pairs[0][0].reset()
    pairs[1][0].sock.close()
    new_dialer, new_target = await bench.pair()
    await new_dialer.send(b"new")
    assert await new_target.get() == b"new"
    targets = [target for _, target in pairs]
    heard = await asyncio.gather(*(target.get(within_s=1) for target in targets), return_exceptions=True)
    assert [type(error) for error in heard] == [TimeoutError, TimeoutError]
    for target in targets:
        await target.send(b"still open")
    assert (bench.front.state().silent, bench.front.state().open) == (2, 1)
    assert (await bench.event(ev.LinkClosed)).how == "vanished"
    assert bench.front.reset() == 1, "the silent one is left out"
    assert bench.front.release() == 2
    for target in targets:
        with pytest.raises(ConnectionResetError):
            await target.get()
    with pytest.raises(ConnectionResetError):
        await new_target.get()


async def test_a_silent_peer_stops_to_take_data(bench):
    dialer, target = await bench.pair()
    bench.front.silence()
    taken = await fill_up(bench, target, dialer)
    assert 0 < taken < 8_000_000
    with pytest.raises(TimeoutError):
        await dialer.get(within_s=0.05)


async def test_a_closed_front_refuses_and_opens_again(bench):
    dialer, target = await bench.pair()
    silent, _ = await bench.pair()
    bench.front.close()
    with pytest.raises(ConnectionRefusedError):
        await bench.dial()
    await dialer.send(b"goes on")
    assert await target.get() == b"goes on"
    dialer.sock.close()
    bench.front.listen()
    again, _ = await bench.pair()
    assert again.sock.getpeername() == silent.sock.getpeername()


async def test_a_target_that_refuses_resets_the_dialer(bench):
    bench.front.target = free_address()
    dialer = await bench.dial()
    with pytest.raises(ConnectionResetError):
        await dialer.get()
    refused = await bench.event(ev.LinkRefused)
    assert refused.reason == f"target {HOST}:{bench.front.target[1]}: Connection refused"
    assert bench.front.state().open == 0
    assert not [event for event in bench.events if isinstance(event, ev.LinkOpened | ev.LinkClosed)]


async def test_the_next_connection_goes_to_the_new_target(bench):
    dialer, target = await bench.pair()
    with listener() as other:
        bench.front.target = other.getsockname()
        second = await bench.dial()
        sock, _ = await asyncio.wait_for(bench.loop.sock_accept(other), 2)
        await second.send(b"new")
        assert await Side(sock).get() == b"new"
        sock.close()
    await dialer.send(b"old")
    assert await target.get() == b"old"


async def test_a_thousand_connections_in_a_row(bench):
    async def one(number):
        dialer = await bench.dial()
        await dialer.send(number.to_bytes(2, "big"))
        dialer.sock.close()

    async def greet():
        seen = set()
        for _ in range(1000):
            sock, _ = await bench.loop.sock_accept(bench.listener)
            side = Side(sock)
            seen.add(int.from_bytes(await side.get_all(), "big"))
            sock.close()
        return seen

    greeter = asyncio.create_task(greet())
    for base in range(0, 1000, 50):
        await asyncio.gather(*(one(base + i) for i in range(50)))
    assert await asyncio.wait_for(greeter, 10) == set(range(1000))
    await until(lambda: bench.front.state().open == 0 or NotYet("some open"), what="all closed", within_s=2)
    assert bench.front.state().accepted == 1000


async def test_without_descriptors_new_dialers_wait_and_are_served_later(bench):
    first_dialer, first_target = await bench.pair()
    waiting = socket.socket()
    waiting.setblocking(False)
    spare = os.open("/dev/null", os.O_RDONLY)  # the lowest free descriptor: the limit goes right there
    os.close(spare)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare, hard))
    try:
        assert waiting.connect_ex(tuple(bench.front.addresses[0])) == errno.EINPROGRESS
        note = await bench.event(ev.Note)
        await first_dialer.send(b"others go on")
        assert await first_target.get() == b"others go on"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert note.text == f"link a->b cannot accept (Too many open files; limit {spare}): new dialers wait"
    with waiting:
        sock, _ = await asyncio.wait_for(bench.loop.sock_accept(bench.listener), 2)
        sock.close()
    assert sum(isinstance(event, ev.Note) for event in bench.events) == 1


async def test_the_process_opens_acts_counts_and_records(tmp_path):
    links = Links("r1", tmp_path)
    await links.start()
    try:
        with listener() as target, listener() as taken:
            fronts = [free_address(), free_address()]
            with pytest.raises(MachineError, match=rf"{taken.getsockname()[1]} of .* free; saw port taken by pid"):
                await links.open("a->b", [fronts[0], taken.getsockname()], target.getsockname())
            await links.open("a->b", fronts, target.getsockname())
            with pytest.raises(ControlError, match="is open already"):
                await links.open("a->b", fronts, target.getsockname())
            with pytest.raises(ControlError, match="no link named 'b->a'; there are a->b"):
                await links.state("b->a")
            loop = asyncio.get_running_loop()
            dialers = [socket.create_connection(front) for front in fronts]
            accepted = [(await loop.sock_accept(target))[0] for _ in dialers]
            dialers[0].sendall(b"hello")
            await links.close_front("a->b")
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(fronts[1])
            state = await links.state("a->b")
            assert (state.open, state.silent, state.listening, state.accepted) == (2, 0, False, 2)
            assert state.to_target_bytes == 5
            assert await links.silence("a->b") == 2
            await links.open_front("a->b")
            await links.retarget("a->b", free_address())
            dialers.append(socket.create_connection(fronts[0]))
            with pytest.raises(ConnectionResetError):
                await Side(dialers[2]).get()
            assert await links.reset("a->b") == 0
            assert await links.release("a->b") == 2
            for sock in (*dialers, *accepted):
                sock.close()
    finally:
        await links.stop()
    events, _ = read_new_events(tmp_path / "events" / "links.jsonl", 0)
    kinds = [type(event) for event in events if not isinstance(event, ev.Lag | ev.WireUnreadable)]
    assert kinds == [ev.LinkOpened, ev.LinkOpened, ev.LinkClosed, ev.LinkClosed, ev.LinkRefused]
    assert {event.proc for event in events} == {"links"}
