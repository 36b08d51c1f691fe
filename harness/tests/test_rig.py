"""The rig's pure parts: what paces a story, what a health answer says, where runs are kept."""

import asyncio
import errno
import json

import numpy as np
import pytest

from harness import events as ev
from harness import frames as fr
from harness.clock import now_ns
from harness.errors import Inconclusive, NotReached
from harness.history import History, Recorder, read_new_events
from harness.rig import Rig, pacing, watching
from harness.rig.health import says_fine
from harness.rig.live import FRAME_NS, Flow, Live
from harness.rig.options import RigOptions
from harness.rig.run_dir import RunDir, is_alive, prune
from harness.rig.settings_file import write_settings
from harness.story import ScenarioInfo
from harness.system import load_system
from harness.waiting import NotYet, until

ALICE = Flow("alice", 7)


class Told:
    """A live view of a run in which words were captioned; speech began ``ago_s`` ago."""

    def __init__(self, tmp_path, ago_s=10.0):
        self.epoch_ns = now_ns() - int(ago_s * 1e9)
        self.recorder = Recorder(tmp_path, "r", "ears")
        self.live = Live(tmp_path, self.epoch_ns)

    def finals(self, *words):
        self.recorder.emit(ev.Caption(hop="app-in", speaker=7, words=words, final=True, text=""))
        self.live.look()

    def heard(self, *indices, flags=0):
        self.recorder.frames(fr.Hop.CLOUD_IN, 7, np.array(indices, "u4"), flags=flags)


def test_nothing_heard_is_not_steady(tmp_path):
    told = Told(tmp_path)
    assert ALICE.steady(told.live, 3) == NotYet("no final caption of alice yet")


def test_steady_since_the_first_word_of_an_unbroken_series(tmp_path):
    told = Told(tmp_path, ago_s=5)
    told.finals(3, 4)
    told.finals(5, 6, 7, 8, 9)
    told.finals(10, 11, 12, 13, 14)
    assert ALICE.steady(told.live, 3) == told.epoch_ns + 30 * FRAME_NS
    assert isinstance(ALICE.steady(told.live, 6), NotYet)


def test_a_missing_word_begins_the_series_anew(tmp_path):
    told = Told(tmp_path, ago_s=5)
    told.finals(0, 1, 2, 3, 4)
    told.finals(5, 7, 8, 9)
    told.finals(10, 11, 12, 13, 14)
    assert isinstance(ALICE.steady(told.live, 4), NotYet)


def test_captions_that_stopped_are_not_steady(tmp_path):
    told = Told(tmp_path, ago_s=10)
    told.finals(0, 1, 2, 3, 4)
    assert ALICE.steady(told.live, 1) == NotYet("no caption of alice after utterance 0")


def test_only_words_spoken_after_the_anchor_count_as_heard(tmp_path):
    told = Told(tmp_path)
    anchor_ns = told.epoch_ns + 71 * FRAME_NS
    told.finals(0, 1, 2, 3, 4, 5)
    assert isinstance(ALICE.heard_after(told.live, anchor_ns), NotYet)
    told.finals(6)
    assert isinstance(ALICE.heard_after(told.live, anchor_ns), int)


def test_flow_after_an_anchor_needs_the_end_of_an_utterance(tmp_path):
    told = Told(tmp_path)
    anchor_ns = told.epoch_ns + 71 * FRAME_NS
    told.finals(5, 6, 7)
    assert isinstance(ALICE.flows_after(told.live, anchor_ns), NotYet)
    told.finals(8, 9)
    assert ALICE.flows_after(told.live, anchor_ns) == told.epoch_ns + 80 * FRAME_NS


def test_two_last_words_are_too_few(tmp_path):
    told = Told(tmp_path)
    told.finals(8, 9)
    assert isinstance(ALICE.flows_after(told.live, told.epoch_ns), NotYet)


def test_steadiness_begins_after_the_last_missing_frame(tmp_path):
    told = Told(tmp_path)
    told.heard(*range(5), *range(7, 20))
    assert told.live.gapless_from(7, told.epoch_ns) == told.epoch_ns + 7 * FRAME_NS + 1
    assert told.live.gapless_from(7, told.epoch_ns + 10 * FRAME_NS) == told.epoch_ns + 10 * FRAME_NS + 1


def test_a_frame_of_which_a_part_was_lost_is_missing(tmp_path):
    told = Told(tmp_path)
    told.heard(*range(5))
    told.heard(5, 6, flags=int(fr.Flag.CUT))
    told.heard(6, *range(7, 20))
    assert told.live.gapless_from(7, told.epoch_ns) == told.epoch_ns + 6 * FRAME_NS + 1


async def test_audio_that_stopped_just_now_is_not_steady(tmp_path, monkeypatch):
    """Captions tell it only an utterance and a second later; what was lost until then would count as lost in peace."""
    told = Told(tmp_path, ago_s=5)
    told.finals(*range(15))
    told.heard(*range(215))
    monkeypatch.setattr(pacing, "STEADY_COMES_WITHIN_S", -2.95)
    with pytest.raises(NotReached, match=r"the audio of alice stopped 0\.\d s ago"):
        await pacing.steady_since(told.live, [ALICE], 3)
    told.heard(*range(215, (now_ns() - told.epoch_ns) // FRAME_NS))
    assert await pacing.steady_since(told.live, [ALICE], 3) == told.epoch_ns + 1


class UnwritableLease:
    """A lease on a disk that takes nothing more."""

    def mark_kept(self, kept):
        raise OSError(errno.ENOSPC, "No space left on device")


async def test_a_stack_that_cannot_be_kept_is_torn_down_and_said_to_be(tmp_path, capsys, monkeypatch):
    rig = Rig(RigOptions(runs=tmp_path, keep=True), ScenarioInfo("story", print))
    rig._open()
    monkeypatch.setattr(rig, "_lease", UnwritableLease(), raising=False)
    torn_down: list[str] = []
    rig._exit.callback(torn_down.append, "all of it")
    await rig._close(None)
    assert torn_down == ["all of it"]
    assert (rig.kept, rig.closed) == (False, True)
    assert "the stack is not kept" in (said := capsys.readouterr().err)
    assert "No space left on device" in said
    with pytest.raises(Inconclusive):
        rig.check()
    assert isinstance(History.load(rig.run_dir).events[-1], ev.Declared)


@pytest.mark.parametrize(
    ("status", "body", "fine"),
    [
        (200, '{"status":"ok","audio":{"available":1,"unavailable":0}}', True),
        (200, '{"status":"ok"}', True),
        (200, "plain words", True),
        (200, '{"status":"degraded"}', False),
        (200, '{"status":"ok","audio":{"available":0,"unavailable":1}}', False),
        (503, '{"status":"ok"}', False),
    ],
)
def test_what_a_health_answer_says(status, body, fine):
    assert says_fine(status, body) is fine


def test_a_run_directory_is_locked_while_it_lives_and_linked_as_latest(tmp_path):
    run = RunDir.create(tmp_path, "kill-cloud[kill]")
    assert run.path.parent.name == "kill-cloud-kill"
    assert (run.path.parent / "latest").resolve() == run.path
    assert is_alive(run.path)
    run.close()
    assert not is_alive(run.path)


def test_only_old_runs_that_held_are_pruned(tmp_path):
    for outcome in ("HOLDS", "BROKEN", "HOLDS", "HOLDS"):
        run = RunDir.create(tmp_path, "baseline")
        (run.path / "verdict.json").write_text(f'{{"outcome": "{outcome}"}}')
        run.close()
    prune(tmp_path, keep=1)
    left = [p for p in (tmp_path / "baseline").iterdir() if not p.is_symlink()]
    assert len(left) == 2


def test_settings_say_what_was_asked_and_hide_secrets(tmp_path):
    options = RigOptions(sets=('cloud.env.SONIOX_API_KEY="abc"', "cloud.env.URL=ws://x?token=hunter2hunter2"), seed=7)
    write_settings(tmp_path, options, load_system("reference", sets=("cloud.ready.within_s=3",)))
    text = (tmp_path / "settings.json").read_text()
    assert "hunter2" not in text
    told = json.loads(text)
    assert told["options"]["seed"] == 7
    assert told["system"]["runtimes"] == {"livekit": "process", "bridge": "process", "cloud": "process"}
    assert told["versions"]["livekit"]


def test_the_rerun_command_names_what_was_changed():
    options = RigOptions(defects=("bridge:mute",), sets=("bridge.process=./b --x",), seed=7)
    assert options.rerun("kill-cloud[kill]") == (
        "aftershock run 'kill-cloud[kill]' --set 'bridge.process=./b --x' --defect bridge:mute --seed 7"
    )


async def test_an_address_that_this_machine_loses_is_written_down(tmp_path, monkeypatch):
    seen = iter([{"127.0.0.1", "172.31.9.1"}, {"127.0.0.1", "172.31.9.1", "172.31.8.1"}])
    monkeypatch.setattr(watching, "LOOK_AT_OURS_EVERY_S", 0.01)
    monkeypatch.setattr(watching, "_addresses", lambda: next(seen, {"127.0.0.1", "172.31.8.1"}))
    recorder = Recorder(tmp_path, "r1", "rig")
    watch = asyncio.create_task(watching.watch_addresses(recorder))

    def told():
        told, _ = read_new_events(tmp_path / "events" / "rig.jsonl", 0)
        found = [e.address for e in told if isinstance(e, ev.AddressGone)]
        return found or NotYet("nothing told")

    assert await until(told, what="the lost address", within_s=2) == ["172.31.9.1"]
    watch.cancel()
    recorder.close()
