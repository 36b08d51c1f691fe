"""No secret reaches a record, whatever it is wrapped in."""

import pytest

from harness.redact import know_secret, mask

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    "text",
    [
        f"joined with {JWT}",
        f"ws://127.0.0.1:1/glasses-ws?token={JWT}&livekit=true",
        "GET /rtc?access_token=abcdef123456 HTTP/1.1",
        f"Authorization: Bearer {JWT}",
        '{"authorization": "Bearer abcdef123456"}',
        '{"api_key":"abcdef123456","model":"x"}',
        '{"\u017fecret": "abcdef123456"}',
        '{"body":"{\\"token\\": \\"abcdef123456\\"}"}',
    ],
)
def test_masks(text):
    masked = mask(text)
    assert JWT not in masked
    assert "abcdef123456" not in masked
    assert "***" in masked


def test_masks_the_secrets_of_this_run():
    know_secret("hunter2hunter2")
    assert mask("the secret hunter2hunter2 leaked") == "the secret *** leaked"


def test_leaves_the_rest_alone():
    text = '{"kind":"step","text":"alice starts talking; tokens come later"}'
    assert mask(text) == text
