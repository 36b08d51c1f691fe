"""Space kept back: what is recorded when the disk is full, by whom, and how the rig hears of it."""

import errno
import os
import shutil

import numpy as np
import pytest

from harness import events as ev
from harness import spare
from harness.frames import Hop
from harness.history import History, Recorder
from harness.rig.run_dir import RunDir
from harness.rig.watching import why_it_ended
from harness.runtimes.log import Log


class Disk:
    """A made-up disk: ``os.write`` fits only so many bytes, and the spare file's once that is gone."""

    def __init__(self, run_dir, monkeypatch, spare_bytes):
        self.left = 10**9
        self._run_dir, self._spare = run_dir, spare_bytes
        self._write = os.write
        monkeypatch.setattr(os, "write", self.write)

    def write(self, file, data):
        if self._spare and spare.spare_is_gone(self._run_dir):
            self.left, self._spare = self.left + self._spare, 0
        if self.left == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._write(file, bytes(data)[: self.left])
        self.left -= written
        return written


@pytest.fixture
def run_dir(tmp_path):
    made = RunDir.create(tmp_path, "story")
    yield made.path
    made.close()


def note(text):
    return ev.Note(text=text)


def texts(run_dir):
    return [event.text for event in History.load(run_dir).all(ev.Note)]


def test_a_run_has_spare_space_until_it_is_over(tmp_path):
    made = RunDir.create(tmp_path, "story")
    assert (made.path / spare.SPARE).stat().st_blocks * 512 >= spare.SPARE_BYTES
    assert why_it_ended(made.path)[1] is False
    made.close()
    assert not list(made.path.glob(".*"))


def test_a_run_whose_directory_was_removed_did_not_find_the_disk_full(tmp_path):
    made = RunDir.create(tmp_path, "story")
    shutil.rmtree(made.path)
    assert why_it_ended(made.path)[1] is False
    made.close()


def test_the_record_that_finds_the_disk_full_is_written_on_the_spare_space(run_dir, monkeypatch):
    disk = Disk(run_dir, monkeypatch, spare_bytes=4000)
    recorder = Recorder(run_dir, "r", "rig")
    recorder.emit(note("before"))
    disk.left = 20
    recorder.emit(note("at the edge"))
    recorder.emit(note("after"))
    recorder.close()
    assert texts(run_dir) == ["before", "at the edge", "after"]
    said, machine = why_it_ended(run_dir)
    assert machine
    assert "full" in said


def test_without_any_space_left_records_are_lost_whole_and_nothing_is_raised(run_dir, monkeypatch):
    disk = Disk(run_dir, monkeypatch, spare_bytes=0)
    recorder = Recorder(run_dir, "r", "rig")
    recorder.emit(note("before"))
    disk.left = 20
    recorder.emit(note("lost"))
    recorder.frames(Hop.PHONE_OUT, 1, np.arange(3, dtype=np.uint32))
    disk.left = 10**6  # somebody made room
    recorder.emit(note("after"))
    recorder.frames(Hop.PHONE_OUT, 1, np.arange(5, dtype=np.uint32))
    recorder.close()
    history = History.load(run_dir)
    assert texts(run_dir) == ["before", "after"]
    assert len(history.frames) == 5
    assert history.notes == ()


def test_a_components_log_goes_on_too(run_dir, monkeypatch):
    disk = Disk(run_dir, monkeypatch, spare_bytes=0)
    recorder = Recorder(run_dir, "r", "rig")
    log = Log(run_dir / "logs" / "bridge.log", "bridge", recorder=recorder, all_events=False)
    disk.left = 5
    log.feed(b"a line that does not fit\n")
    assert log.last_lines() == ("a line that does not fit",)
    assert log.path.read_text() == ""
    log.close()
    recorder.close()


def test_what_is_no_full_disk_is_raised(run_dir):
    reading = os.open(run_dir / "lock", os.O_RDONLY)
    with pytest.raises(OSError, match="Bad file descriptor"):
        spare.append(reading, b"x", run_dir)
    assert not spare.spare_is_gone(run_dir)
    os.close(reading)


def test_a_disk_too_small_for_the_spare_space_is_one_sentence(tmp_path, monkeypatch):
    def full(file, begin, count):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(Exception, match=r"No space left on device.*free space there, or use --runs"):
        RunDir.create(tmp_path, "story")
