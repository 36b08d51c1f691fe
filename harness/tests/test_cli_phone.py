"""A phone by hand: which stack it dials, where its secret comes from, and what it prints."""

import asyncio
from pathlib import Path

import pytest

from harness import events as ev
from harness.cli import main
from harness.cli import phone as cli_phone
from harness.cli.phone import Screen, name_of, own_cloud, span, standing
from harness.errors import UsageError
from harness.history import Recorder
from harness.rig.live import Live
from harness.rig.people import Person
from harness.rig.phones import PhoneBooth
from harness.rig.reach import FILE, Reach
from harness.run_lease import RunLease
from harness.settings import scratch_dir

REACH = Reach(
    cloud_url="ws://127.0.0.1:8002", livekit_url="ws://127.0.0.1:7880", media_host="127.0.0.1", epoch_ns=5,
    app="com.example.captions", secret="not-for-logs", timers={"retry_s": 0.5},
)  # fmt: skip
ME = 7


def person(there=Path(), kind=Person):
    booth = PhoneBooth("r", there, REACH.configuration)
    return kind("alice", "alice@example.com", booth, Live(there, 0))


# --- which stack ---


@pytest.fixture
def stack(monkeypatch, tmp_path):
    """Let a stack stand as run ``up-1``."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run_dir = tmp_path / "runs" / "up" / "1"
    run_dir.mkdir(parents=True)
    scratch_dir("up-1").mkdir()
    REACH.write(scratch_dir("up-1"))
    lease = RunLease.take("up-1", run_dir)
    lease.mark_kept(True)
    yield run_dir
    lease.close()


def test_a_stack_is_found_by_its_run_or_by_its_directory(stack):
    assert standing("up-1") == (REACH, stack.parent.parent)
    assert standing(str(stack)) == (REACH, stack.parent.parent)


def test_the_file_with_the_secret_is_its_owners_alone(stack):
    assert (scratch_dir("up-1") / FILE).stat().st_mode & 0o777 == 0o600
    assert "not-for-logs" not in repr(REACH)


def test_an_unknown_stack_says_which_stand(stack):
    with pytest.raises(UsageError, match="there are up-1"):
        standing("up-2")


def test_the_stack_of_a_story_that_goes_on_is_nobodys_to_dial(stack, tmp_path):
    lease = RunLease.take("baseline-1", tmp_path)
    with pytest.raises(UsageError, match=r"there are up-1$"):
        standing("baseline-1")
    lease.close()


def test_a_stack_that_is_not_there_any_more_is_no_stack(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(UsageError, match="start one by `aftershock up`"):
        standing("up-1")
    with pytest.raises(UsageError, match="expected a stack of yours"):
        Reach.read("up-1")


def test_a_phone_is_told_where_to_dial_and_starts_the_app_once():
    alice = person()
    told = REACH.configuration(alice)
    assert (told["rest_url"], told["start_app"], told["retry_s"]) == ("http://127.0.0.1:8002", REACH.app, 0.5)
    assert "not-for-logs" not in str(told)
    alice.starts_app = False
    assert REACH.configuration(alice)["start_app"] is None


# --- a cloud of one's own ---


def test_ones_own_cloud_needs_an_address_and_a_secret(tmp_path):
    (tmp_path / "secret").write_text("mine\n")
    reach = own_cloud("ws://127.0.0.1:8002/", tmp_path / "secret", "", None)
    assert (reach.cloud_url, reach.secret, reach.media_host) == ("ws://127.0.0.1:8002", "mine", "127.0.0.1")
    assert REACH.configuration(person())["rest_url"] == "http://127.0.0.1:8002"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "expected either --stack or --cloud; saw neither"),
        (["--stack", "x", "--cloud", "ws://127.0.0.1:1"], "saw both"),
        (["--cloud", "127.0.0.1:1"], "expected an address such as ws://127.0.0.1:8002"),
        (["--cloud", "ws://127.0.0.1:99999"], "(Port out of range 0-65535); write scheme, host and port only"),
        (["--cloud", "ws://127.0.0.1:abc"], "'abc'); write scheme, host and port only"),
        (["--cloud", "ws://[::1"], "expected an address such as ws://127.0.0.1:8002"),
        (["--cloud", "ws://127.0.0.1:1", "--livekit", "ws://127.0.0.1:x"], "saw 'ws://127.0.0.1:x'"),
        (["--cloud", "ws://127.0.0.1:1/glasses-ws"], "write scheme, host and port only"),
        (["--cloud", "ws://127.0.0.1:1"], "expected --secret-file with --cloud"),
        (["--cloud", "ws://127.0.0.1:1", "--secret-file", "nowhere"], "expected a secret in nowhere"),
        (["--cloud", "ws://127.0.0.1:1", "--secret-file", "/dev/null"], "an empty file"),
        (["--stack", "no-such-run"], "expected a stack that stands; saw 'no-such-run'"),
        (["--stack", "x", "--for", "0"], "--for"),
    ],
)
def test_wrong_use_is_one_sentence_and_exit_64(capsys, words, said):
    assert main(["phone", *words]) == 64
    shown = capsys.readouterr().err
    assert said in shown
    assert "Traceback" not in shown


def test_a_host_that_cannot_be_one_is_a_sentence(tmp_path):
    (tmp_path / "secret").write_text("mine\n")
    with pytest.raises(UsageError, match="a host that has a route"):
        own_cloud(f"ws://{'a' * 70}:1", tmp_path / "secret", "", None)


@pytest.mark.parametrize("user", ["", "@example.com", " @x"])
def test_a_user_has_a_name(user):
    with pytest.raises(UsageError, match="a user such as"):
        name_of(user)


# --- what it shows ---


def caption(*words, speaker=ME, hop="phone-display"):
    text = " ".join(f"s{speaker}w{word}" for word in words)
    return ev.Caption(hop=hop, speaker=speaker, words=words, final=False, text=text)


def test_captions_are_shown_with_their_word_numbers():
    screen = Screen(ME)
    assert screen.line(caption(10, 11, 12)) == "caption of words 10-12: s7w10 s7w11 s7w12"
    assert screen.line(caption(3, speaker=8)) == "display: s8w3"
    assert screen.line(caption(4, hop="app-in")) is None
    assert screen.words == {10, 11, 12}
    assert span([4]) == "4"


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (ev.PhoneSocketOpen(person="a", attempt=1), "socket open"),
        (ev.PhoneDialFailed(person="a", attempt=2, reason="refused"), "dial 2 failed: refused"),
        (ev.PhoneSocketClosed(person="a", code=1006, reason="", by="network"), "socket closed by network, code 1006"),
        (ev.PhoneMessage(person="a", type="connection_ack", body="{}"), "ACK: the cloud knows this phone"),
        (ev.PhoneMessage(person="a", type="settings_update", body="{}"), None),
        (ev.RoomConnected(person="a", room="r", attempt=1), "in room r, audio goes out"),
        (ev.RoomDialFailed(person="a", attempt=1, reason="401"), "room not reached: 401"),
        (ev.RoomLost(person="a", reason="server left"), "room lost: server left"),
        (ev.MicState(person="a", on=True), "microphone on"),
    ],
)
def test_what_happens_to_the_phone_is_a_line(event, line):
    assert Screen(ME).line(event) == line


def test_a_microphone_that_stays_as_it_is_is_told_once():
    screen = Screen(ME)
    assert [screen.line(ev.MicState(person="a", on=on)) for on in (True, True, False)] == [
        "microphone on", None, "microphone off",
    ]  # fmt: skip


class There(Person):
    """A person whose phone's process lives, whatever it records."""

    def is_there(self):
        return True


ACK = ev.PhoneMessage(person="alice", type="connection_ack", body="{}")
FAILED = ev.PhoneDialFailed(person="alice", attempt=1, reason="refused")


@pytest.mark.parametrize(
    ("seen", "code", "said"),
    [
        ([ACK, "caption"], 0, "captions of 1 words seen"),
        ([ACK], 1, "no captions of its own words seen"),
        ([FAILED], 3, "saw dial 1 failed: refused"),
        ([], 3, "saw nothing for"),
    ],
    ids=["captions", "none", "refused", "silence"],
)
async def test_the_exit_code_says_what_was_seen(monkeypatch, tmp_path, capsys, seen, code, said):
    monkeypatch.setattr(cli_phone, "CONNECTS_WITHIN_S", 0.1)
    alice = person(tmp_path, There)
    recorder = Recorder(tmp_path, "r", "phone-1")
    for event in seen:
        recorder.emit(caption(1, speaker=alice.speaker) if event == "caption" else event)
    assert await cli_phone._look_on(alice, asyncio.Event(), 0.2) == code
    shown = capsys.readouterr()
    assert said in shown.out + shown.err
