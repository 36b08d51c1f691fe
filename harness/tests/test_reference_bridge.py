"""The reference bridge answers as the contract says, over real gRPC, with a room that is made up."""

import asyncio
import json
import time

import grpc
import grpc.aio
import pytest

from harness.reference.bridge import session
from harness.reference.bridge.listening import Bridge, CannotListen
from harness.reference.bridge.options import Options
from harness.reference.proto import BRIDGE_SERVICE, bridge_method, bridge_pb2, health_method, health_pb2
from harness.tests.made_up_livekit import USER, Cloud, FakeLiveKit, attached, sessions, soon, talking


@pytest.fixture
async def livekit():
    return FakeLiveKit()


@pytest.fixture
async def cloud(livekit):
    async with talking(livekit) as cloud:
        yield cloud


def sink_lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


async def test_join_answers_the_agent_and_everybody(cloud):
    joined = await cloud.join_call()
    assert (joined.success, joined.participant_id, joined.participant_count) == (True, f"cloud-agent:{USER}", 2)
    status = await cloud.status()
    assert (status.connected, status.participant_id, status.server_version) == (True, f"cloud-agent:{USER}", "1.0.0")
    health = await cloud.health()
    assert (health.active_sessions, health.active_streams, health.uptime_seconds) == (1, 1, 0)


async def test_a_failed_join_is_an_answer_and_leaves_nothing(cloud, livekit):
    livekit.failures = 1
    joined = await cloud.join_call()
    assert (joined.success, joined.error) == (False, "failed to connect to room: no such host")
    assert await sessions(cloud) == 0


async def test_audio_comes_out_in_order_without_the_sequence_byte(cloud, livekit):
    await cloud.join_call()
    stream = await cloud.stream()
    livekit.room.says(b"\x01" + b"abcd")  # odd length: the first byte is the phone's sequence number
    livekit.room.says(b"efgh")
    first, second = await stream.read(), await stream.read()
    assert (first.pcm_data, second.pcm_data) == (b"abcd", b"efgh")
    assert (first.sample_rate, first.channels, first.timestamp_ms, first.user_id) == (16000, 1, 0, "")


async def test_strangers_are_dropped_and_unknown_senders_pass(cloud, livekit):
    await cloud.join_call()
    stream = await cloud.stream()
    livekit.room.says(b"no", sender="mallory@example.com")
    livekit.room.says(b"ok", sender="")
    assert (await stream.read()).pcm_data == b"ok"
    counted = (await cloud.health()).metadata
    assert (counted["packets_other_sender"], counted["packets_unknown_sender"]) == ("1", "1")


async def test_the_queue_holds_200_packets_and_drops_the_newest(cloud, livekit, capsys):
    await cloud.join_call()
    for i in range(300):
        livekit.room.says(i.to_bytes(2, "little"))
    stream = await cloud.stream()
    got = [int.from_bytes((await stream.read()).pcm_data, "little") for _ in range(200)]
    assert got == list(range(200))
    assert (await cloud.health()).metadata["packets_dropped_full"] == "100"
    assert capsys.readouterr().err.count(f"Dropping audio frames for {USER}") == 2


async def test_joining_again_replaces_the_session(cloud, livekit, capsys):
    await cloud.join_call()
    old = await cloud.stream()
    await attached(cloud)
    assert (await cloud.join_call()).success
    assert await old.read() is grpc.aio.EOF
    assert await old.code() == grpc.StatusCode.OK
    assert [room.closed for room in livekit.rooms] == [True, False]
    replaced = [entry for entry in sink_lines(capsys) if entry["message"] == "Replacing existing bridge session"]
    assert replaced[0]["extra"]["user_id"] == USER
    assert replaced[0]["service"] == "livekit-bridge"


async def test_two_joins_at_once_leave_one_session_and_one_room(cloud, livekit):
    livekit.gate.clear()
    joins = [asyncio.create_task(cloud.join_call()) for _ in range(3)]
    await livekit.dialled.wait()
    await cloud.health()  # by its answer all three have arrived
    assert livekit.dials == 1
    livekit.gate.set()
    answers = await asyncio.gather(*joins)
    assert all(answer.success for answer in answers)
    assert [room.closed for room in livekit.rooms] == [True, True, False]
    assert await sessions(cloud) == 1
    assert (await cloud.status()).connected


async def test_the_defect_refuses_an_existing_session(livekit, capsys):
    async with talking(livekit, "refuse-existing-session") as cloud:
        await cloud.join_call()
        again = await cloud.join_call()
        assert (again.success, again.error) == (False, "session already exists for this user")
        assert [entry["message"] for entry in sink_lines(capsys)] == ["Session already exists for user"]
        assert (await cloud.status()).connected


async def test_a_join_goes_on_when_its_caller_goes_away(cloud, livekit):
    livekit.gate.clear()
    caller = asyncio.create_task(cloud.join_call())
    await livekit.dialled.wait()
    caller.cancel()
    await asyncio.wait({caller})
    assert await sessions(cloud) == 0
    livekit.gate.set()
    await soon(lambda: sessions(cloud))
    assert (await cloud.status()).connected


async def test_a_broken_stream_drops_the_session(cloud, livekit, capsys):
    await cloud.join_call()
    stream = await cloud.stream()
    await attached(cloud)
    stream.cancel()

    async def gone():
        return await sessions(cloud) == 0 and livekit.room.closed

    await soon(gone)
    said = capsys.readouterr().err
    assert f"StreamAudio error for userId={USER}" in said
    assert f"Cleaning up session for {USER} due to stream error" in said


async def test_a_late_stream_error_spares_the_newer_session(cloud, livekit):
    await cloud.join_call()
    old = cloud.bridge.sessions.get(USER)
    await cloud.join_call()
    cloud.bridge.sessions.clean_up(old)
    livekit.rooms[0].listener.gone("DUPLICATE_IDENTITY")
    assert (await cloud.status()).connected
    assert not livekit.room.closed


async def test_the_defect_keeps_the_session_of_a_broken_stream(livekit, capsys):
    async with talking(livekit, "keep-session-on-stream-error") as cloud:
        await cloud.join_call()
        stream = await cloud.stream()
        await attached(cloud)
        stream.cancel()

        async def broke():
            return not cloud.bridge.sessions.get(USER).has_stream

        await soon(broke)
        assert await sessions(cloud) == 1
        assert (await cloud.status()).connected


async def test_a_half_closed_stream_stays_until_the_session_ends(cloud, livekit):
    await cloud.join_call()
    stream = await cloud.stream()
    await stream.done_writing()
    await attached(cloud)
    livekit.room.says(b"ok")
    assert (await stream.read()).pcm_data == b"ok"
    assert (await cloud.leave()).success
    assert await stream.code() == grpc.StatusCode.OK
    assert livekit.room.closed


async def test_leaving_without_a_session(cloud):
    left = await cloud.leave()
    assert (left.success, left.error) == (False, "session not found")


async def test_a_cloud_that_does_not_read_breaks_the_stream(livekit, capsys):
    async with talking(livekit, send_timeout_s=0.1) as cloud:
        await cloud.join_call()
        await cloud.stream()  # never read
        await attached(cloud)

        async def dropped():
            for _ in range(20):
                livekit.room.says(bytes(60_000))
            return await sessions(cloud) == 0

        await soon(dropped, within_s=4)
        said = capsys.readouterr().err
        assert f"StreamAudio send timeout for {USER} after 0.1s" in said
        assert f"Cleaning up session for {USER}" in said


@pytest.mark.parametrize(
    ("user", "code"),
    [("", grpc.StatusCode.INVALID_ARGUMENT), ("nobody@example.com", grpc.StatusCode.NOT_FOUND)],
)
async def test_a_stream_needs_a_user_with_a_session(cloud, user, code):
    stream = await cloud.stream(user)
    assert await stream.code() == code


async def test_a_stream_without_a_first_chunk_is_refused(cloud):
    stream = cloud.channel.stream_stream(bridge_method("StreamAudio"))()
    await stream.done_writing()
    assert await stream.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_second_stream_is_refused_and_harms_nothing(cloud, livekit):
    await cloud.join_call()
    first = await cloud.stream()
    await attached(cloud)
    assert await (await cloud.stream()).code() == grpc.StatusCode.ALREADY_EXISTS
    livekit.room.says(b"ok")
    assert (await first.read()).pcm_data == b"ok"


async def test_mute_passes_nothing_and_looks_healthy(livekit):
    async with talking(livekit, "mute") as cloud:
        await cloud.join_call()
        stream = await cloud.stream()
        await attached(cloud)
        livekit.room.says(b"ok")
        assert (await cloud.status()).connected
        await cloud.leave()
        assert await stream.read() is grpc.aio.EOF


@pytest.mark.parametrize(("defect", "passes"), [("deaf-after-gap", False), ("", True)])
async def test_deaf_after_a_gap_and_only_then(livekit, monkeypatch, defect, passes):
    now_s = [100.0]
    monkeypatch.setattr(session, "monotonic", lambda: now_s[0])
    async with talking(livekit, *filter(None, [defect])) as cloud:
        await cloud.join_call()
        stream = await cloud.stream()
        await attached(cloud)
        livekit.room.says(b"ab")
        now_s[0] += 0.9
        livekit.room.says(b"cd")
        assert [(await stream.read()).pcm_data, (await stream.read()).pcm_data] == [b"ab", b"cd"]
        now_s[0] += 1.1
        livekit.room.says(b"ef")
        assert (await cloud.status()).connected
        await cloud.leave()
        after = await stream.read()
        assert after.pcm_data == b"ef" if passes else after is grpc.aio.EOF


async def test_a_lost_room_is_dialled_again_with_the_same_token(livekit):
    async with talking(livekit, redial_base_s=0.01) as cloud:
        await cloud.join_call(token="t9")
        stream = await cloud.stream()
        livekit.failures = 2
        lost = livekit.room
        lost.listener.mending()
        lost.listener.gone("UNKNOWN_REASON")
        assert (await cloud.status()).connected

        async def dialled():
            return len(livekit.rooms) == 2

        await soon(dialled)
        lost.says(b"late")  # the room before is not heard any more
        livekit.room.says(b"ok")
        assert (await stream.read()).pcm_data == b"ok"
        assert (livekit.room.token, livekit.dials) == ("t9", 4)


@pytest.mark.parametrize("sdk_gives_up", [True, False])
async def test_a_room_lost_for_too_long_is_given_up(livekit, sdk_gives_up):
    async with talking(livekit, redial_limit_s=0.2, redial_base_s=0.02) as cloud:
        await cloud.join_call()
        lost = livekit.room
        livekit.failures = 1000
        lost.listener.mending()
        if sdk_gives_up:
            lost.listener.gone("UNKNOWN_REASON")

        async def given_up():
            status = await cloud.status()
            return status if not status.connected else None

        status = await soon(given_up)
        assert status.last_disconnect_reason == "disconnected"
        assert await sessions(cloud) == 1
        if not sdk_gives_up:
            await soon(lambda: asyncio.sleep(0, lost.closed))


async def test_a_room_that_comes_back_by_itself_is_kept(livekit):
    async with talking(livekit, redial_limit_s=0.1) as cloud:
        await cloud.join_call()
        livekit.room.listener.mending()
        livekit.room.listener.mended()
        await asyncio.sleep(0.2)  # longer than the limit: nothing may happen
        assert (await cloud.status()).connected
        assert livekit.dials == 1


async def test_the_end_is_quick_and_clean_with_a_stream_open(livekit):
    async with talking(livekit) as cloud:
        await cloud.join_call()
        stream = await cloud.stream()
        await attached(cloud)
        began = time.monotonic()
        await cloud.bridge.__aexit__()
        assert time.monotonic() - began < 2
        assert await stream.code() == grpc.StatusCode.OK
        assert livekit.room.closed


@pytest.mark.parametrize("name", ["", BRIDGE_SERVICE])
async def test_the_standard_health_check(cloud, name):
    check = cloud.channel.unary_unary(
        health_method("Check"),
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    reply = await check(health_pb2.HealthCheckRequest(service=name), timeout=5)
    assert reply.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await check(health_pb2.HealthCheckRequest(service="other"), timeout=5)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(("name", "answers"), [("", [1, 2]), ("other", [3])])
async def test_a_watch_tells_the_end_and_an_unknown_name_stays_unknown(livekit, name, answers):
    async with talking(livekit) as cloud:
        watch = cloud.channel.unary_stream(
            health_method("Watch"),
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )(health_pb2.HealthCheckRequest(service=name))
        got = [(await watch.read()).status]
        await cloud.bridge.__aexit__()
        while (reply := await watch.read()) is not grpc.aio.EOF:
            got.append(reply.status)
        assert got == answers


async def test_playing_needs_a_session_and_is_not_built(cloud):
    stop = bridge_pb2.StopAudioRequest(user_id=USER)
    assert (await cloud.call("StopAudio", stop)).error == "session not found"
    play = cloud.channel.unary_stream(
        bridge_method("PlayAudio"), request_serializer=bridge_pb2.PlayAudioRequest.SerializeToString
    )
    assert await play(bridge_pb2.PlayAudioRequest(user_id=USER)).code() == grpc.StatusCode.NOT_FOUND
    await cloud.join_call()
    assert await play(bridge_pb2.PlayAudioRequest(user_id=USER)).code() == grpc.StatusCode.UNIMPLEMENTED


async def test_nothing_of_a_user_remains_after_leaving(cloud):
    for _ in range(5):
        await cloud.join_call()
        await cloud.leave()
    sessions_map = cloud.bridge.sessions
    assert (len(sessions_map), len(sessions_map._turns), len(sessions_map._closing)) == (0, 0, 0)


async def test_a_taken_port_is_one_sentence(cloud, livekit):
    with pytest.raises(CannotListen, match="another process may hold it"):
        async with Bridge(Options(port=cloud.bridge.port), livekit):
            pass


async def test_a_unix_socket_wins_over_the_port(livekit, tmp_path):
    path = tmp_path / "deep" / "bridge.sock"
    async with Bridge(Options(port=1, socket_path=str(path)), livekit):
        assert path.stat().st_mode & 0o777 == 0o666
        async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
            assert await sessions(Cloud(channel)) == 0
