"""The reference cloud's settings, timers, tables and transcripts, without any network."""

import io
import subprocess
import sys

import pytest

from harness.reference.cloud.errors import BadSetting, PortTaken
from harness.reference.cloud.listening import bind
from harness.reference.cloud.log import Log
from harness.reference.cloud.settings import read_settings
from harness.reference.cloud.soniox import Utterance
from harness.reference.cloud.stt_retry import retry_delay_s
from harness.reference.cloud.subscriptions import read_subscriptions, required_data, transcriptions
from harness.reference.cloud.timers import Timers, parse_timers

ENV = {"AUGMENTOS_AUTH_JWT_SECRET": "s" * 40}


def test_timers_default_to_production():
    timers = parse_timers("")
    assert (timers.grace_s, timers.ping_s, timers.pong_s, timers.rejoin_backoff_s) == (60, 10, 30, 2)
    assert parse_timers('{"grace_s": 5}') == Timers(grace_s=5.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"grace": 5}', "unknown timer 'grace'; known: grace_s"),
        ('{"grace_s": "5"}', "expected a positive number of seconds for grace_s, seen '5'"),
        ('{"grace_s": 0}', "expected a positive number"),
        ("[1]", "expected a JSON object"),
        ("grace", "not JSON"),
    ],
)
def test_bad_timers_are_one_sentence(text, words):
    with pytest.raises(BadSetting) as problem:
        parse_timers(text)
    assert words in str(problem.value)


def test_the_unix_socket_wins_over_the_address():
    both = {"LIVEKIT_GRPC_SOCKET": "/run/b.sock", "LIVEKIT_GRPC_BRIDGE_URL": "127.0.0.1:5"}
    assert read_settings({**ENV, **both}).bridge_address == "unix:/run/b.sock"
    assert read_settings({**ENV, "LIVEKIT_GRPC_BRIDGE_URL": "127.0.0.1:5"}).bridge_address == "127.0.0.1:5"
    assert read_settings(ENV).bridge_address == "livekit-bridge:9090"


def test_livekit_needs_all_three_variables():
    env = {**ENV, "LIVEKIT_URL": "ws://127.0.0.1:1", "LIVEKIT_API_KEY": "k"}
    assert read_settings(env).livekit is None
    assert read_settings({**env, "LIVEKIT_API_SECRET": "s"}).livekit is not None


def test_the_backoff_is_read_in_milliseconds_and_the_timer_table_wins():
    env = {**ENV, "LIVEKIT_REJOIN_BACKOFF_MS": "250"}
    assert read_settings(env).timers.rejoin_backoff_s == 0.25
    assert read_settings({**env, "REFERENCE_TIMERS": '{"rejoin_backoff_s": 1}'}).timers.rejoin_backoff_s == 1


def test_the_grpc_window_is_large_or_what_is_said():
    assert read_settings(ENV).grpc_window_bytes == 4 * 1024 * 1024
    assert read_settings({**ENV, "REFERENCE_GRPC_WINDOW_BYTES": "65536"}).grpc_window_bytes == 65_536
    for wrong in ("0", "64k", "-1"):
        with pytest.raises(BadSetting, match="expected a number of bytes above 0"):
            read_settings({**ENV, "REFERENCE_GRPC_WINDOW_BYTES": wrong})


def test_secrets_stay_out_of_the_settings_printed():
    env = {
        **ENV,
        "LIVEKIT_URL": "ws://x", "LIVEKIT_API_KEY": "k", "LIVEKIT_API_SECRET": "hidden-1", "SONIOX_API_KEY": "hidden-2",
        "REFERENCE_APPS": '[{"packageName": "a", "publicUrl": "http://127.0.0.1:1/", "apiKey": "hidden-3"}]',
    }  # fmt: skip
    settings = read_settings(env)
    assert settings.apps[0].public_url == "http://127.0.0.1:1"
    assert "hidden" not in repr(settings)
    assert "ssss" not in repr(settings)


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"AUGMENTOS_AUTH_JWT_SECRET": ""}, "AUGMENTOS_AUTH_JWT_SECRET"),
        ({"REFERENCE_APPS": "{}"}, "expected a JSON list"),
        ({"REFERENCE_APPS": '[{"packageName": "a"}]'}, '"publicUrl"'),
        ({"REFERENCE_APPS": '[{"packageName": "a", "publicUrl": "u", "apiKey": "k", "x": 1}]'}, "unknown keys ['x']"),
        ({"ROOM_TEMPLATE": "room"}, "{user}"),
        ({"PORT": "many"}, "PORT"),
        ({"LIVEKIT_PCM_ENDIAN": "big"}, "swap"),
    ],
)
def test_bad_settings_are_one_sentence(env, words):
    with pytest.raises(BadSetting) as problem:
        read_settings({**ENV, **env})
    assert words in str(problem.value)


def test_a_taken_port_is_a_sentence():
    with bind("127.0.0.1", 0) as owner, pytest.raises(PortTaken, match="seen it taken"):
        bind("127.0.0.1", owner.getsockname()[1])


def test_wrong_use_exits_64_with_the_known_defects():
    ended = subprocess.run(
        [sys.executable, "-m", "harness.reference.cloud", "--defect", "nonsense"],
        env=ENV, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 64
    assert "no-getstatus" in ended.stderr
    assert "Traceback" not in ended.stderr


def token(text, final):
    return {"text": text, "start_ms": 1, "end_ms": 2, "is_final": final}


def test_finals_come_at_the_end_token_and_interims_are_prefix_and_tail():
    utterance = Utterance()
    said = utterance.take([token("one", True), token(" t", False)])
    assert [(t.text, t.is_final) for t in said] == [("one t", False)]
    said = utterance.take([token(" two", True), token("<end>", True), token("three", True)])
    assert [(t.text, t.is_final) for t in said] == [("one two", True), ("three", False)]
    assert [(t.text, t.is_final) for t in utterance.finish()] == [("three", True)]
    assert utterance.finish() == []


def test_an_answer_without_tokens_says_nothing():
    utterance = Utterance()
    assert utterance.take([]) == []
    assert utterance.take([token("<end>", True)]) == []


@pytest.mark.parametrize(
    ("code", "delays"),
    [
        (0, [5, 10, None]),
        (400, [5, 10, None]),
        (503, [10, 20, None]),
        (429, [5, 10, None]),
        (401, [None]),
        (403, [None]),
        (404, [None]),
    ],
)
def test_stt_retries_follow_the_table(code, delays):
    assert [retry_delay_s(code, n, 5.0) for n in range(1, len(delays) + 1)] == delays


def test_subscriptions_are_read_as_the_contract_says():
    found = read_subscriptions(["transcription", "audio_chunk", 5, ""])
    assert found == {"transcription:en-US", "audio_chunk"}
    assert transcriptions([*found, "transcription:english"]) == {"transcription:en-US"}
    assert required_data(frozenset({"audio_chunk"})) == ("pcm",)
    assert required_data(frozenset({"button_press"})) == ()


def test_log_lines_are_plain():
    stream = io.StringIO()
    Log(stream, userId="u").debug("Calling JoinRoom RPC", roomName="r")
    stamp, level, rest = stream.getvalue().split(" ", 2)
    assert stamp.endswith("Z")
    assert level == "DEBUG"
    assert rest == 'Calling JoinRoom RPC {"userId": "u", "roomName": "r"}\n'
