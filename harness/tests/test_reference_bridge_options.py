"""What the reference bridge is told at its start is understood, or answered with one sentence."""

import pytest

from harness.reference.bridge.options import BadOptions, read_options


def test_options_come_from_the_environment_and_the_command_line():
    told = {
        "PORT": "1234",
        "LIVEKIT_GRPC_SOCKET": "/tmp/x.sock",
        "REFERENCE_TIMERS": '{"send_timeout_s": 1, "grace_s": 5}',
        "REFERENCE_DEFECTS": "bridge:mute,cloud:no-getstatus",
    }
    options = read_options(["--defect", "refuse-existing-session"], told)
    assert (options.port, options.socket_path, options.bind_address) == (1234, "/tmp/x.sock", "127.0.0.1")
    assert (options.timers.send_timeout_s, options.timers.redial_limit_s) == (1.0, 61.0)
    assert options.defects.active == {"mute", "refuse-existing-session"}
    assert read_options(["--port", "7"], told).port == 7


@pytest.mark.parametrize(
    ("argv", "environ", "sentence"),
    [
        (["--defect", "mutte"], {}, "bridge knows: .*keep-session-on-stream-error"),
        ([], {"REFERENCE_DEFECTS": "mutte"}, "unknown bridge defect 'mutte'"),
        (["--port", "x"], {}, "expected a port"),
        ([], {"PORT": "70000"}, "expected a port"),
        ([], {"REFERENCE_TIMERS": "{"}, "JSON object"),
        ([], {"REFERENCE_TIMERS": "[]"}, "JSON object"),
        ([], {"REFERENCE_TIMERS": '{"send_timeout_s": 0}'}, "send_timeout_s to be seconds above 0, saw 0"),
    ],
)
def test_a_bad_option_is_one_sentence(argv, environ, sentence):
    with pytest.raises(BadOptions, match=sentence):
        read_options(argv, environ)
