"""Whose kin a process is, also after its parents are dead and their pids have come again."""

import pytest

from harness import processes
from harness.processes import Kin, Process, kin, look_at


def machine(*processes):
    return {process.pid: process for process in processes}


def process(pid, *, parent=1, group=0, start=10):
    return Process(pid, "S", parent, group or pid, group or pid, start)


def test_children_and_whoever_is_in_a_living_leader_s_group_are_kin():
    child, grouped, other = process(101, parent=100), process(102, group=100), process(103)
    leader = process(100, start=5)
    assert set(kin({100: 5}, machine(leader, child, grouped, other))) == {100, 101, 102}
    assert kin({100: 6}, machine(leader, child, grouped, other)) == {}


def test_who_is_in_the_group_of_a_dead_pid_is_a_stranger():
    assert kin({100: 5}, machine(process(200, group=100, start=9000))) == {}


def test_a_dead_leader_s_group_is_known_while_somebody_known_was_in_it():
    known = Kin({100: 5})
    leader, first = process(100, start=5), process(101, parent=100, group=100)
    assert set(known.look(machine(leader, first))) == {100, 101}
    late = process(102, group=100)  # its parent, the leader, died before anybody saw it
    assert set(known.look(machine(first, late))) == {101, 102}
    assert set(known.look(machine(late, process(103, group=100)))) == {102, 103}
    assert known.look({}) == {}
    assert known.look(machine(process(200, group=100, start=9000))) == {}  # 100 has come again, and gone


def test_one_just_named_may_have_died_since():
    known = Kin()
    known.add(100, 5)
    assert set(known.look(machine(process(101, group=100)))) == {101}
    known = Kin()
    known.add(100, 5)
    known.look({})
    assert known.look(machine(process(101, group=100))) == {}


def test_what_may_not_be_looked_at_is_not_there(monkeypatch):
    class Hidden:
        def __init__(self, _):
            pass

        def read_text(self, **_):
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(processes, "Path", Hidden)
    assert look_at(1) is None


@pytest.mark.parametrize("seeds", [{}, {7: 1}])
def test_nobody_has_no_kin(seeds):
    assert Kin(seeds).look(machine(process(9))) == {}
