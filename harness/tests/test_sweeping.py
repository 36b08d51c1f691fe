"""Sweeping a dead run's containers: it waits for what comes late, names what stays, and does not hang."""

import json

import docker.errors
import pytest

from harness.errors import MachineError
from harness.remains import Remain
from harness.runtimes.container import sweeping
from harness.runtimes.container.sweeping import Labelled, clear, labelled, sweep, sweep_and_tell

LABELS = {"aftershock.run": "run-1", "aftershock.machine": "m"}


class MadeUpApi:
    """The engine's API: ``late`` turns up after the first look; what is ``stuck`` cannot be removed."""

    def __init__(self, late=(), stuck=()):
        self.there = {"c1": "container", "n1": "network"}
        self.late, self.stuck, self.asked = dict(late), set(stuck), []

    def containers(self, **asked):
        self.asked.append(asked)
        found = self.of("container")
        self.there |= self.late
        self.late = {}
        return [{"Id": one, "Names": [f"/name-{one}"], "Labels": LABELS} for one in found]

    def networks(self, **_):
        named = {"n1": {"com.docker.network.bridge.name": "tap123"}}
        return [
            {"Id": one, "Name": f"name-{one}", "Labels": LABELS, "Options": named.get(one)}
            for one in self.of("network")
        ]

    def of(self, kind):
        return [one for one, what in self.there.items() if what == kind]

    def remove_container(self, one, **how):
        assert how == {"force": True, "v": True}
        self._remove(one)

    def remove_network(self, one):
        if self.of("container"):
            raise docker.errors.APIError("has active endpoints")
        self._remove(one)

    def _remove(self, one):
        if one in self.stuck:
            raise docker.errors.APIError("device or resource busy")
        self.there.pop(one, None)


@pytest.fixture
def engine(monkeypatch, tmp_path):
    class MadeUpEngine:
        api = MadeUpApi()
        client = property(lambda self: self)

        def __init__(self, *_):
            pass

        def close(self):
            pass

    monkeypatch.setattr(sweeping, "Engine", MadeUpEngine)
    monkeypatch.setattr(sweeping, "MAKING_S", 0.05)
    monkeypatch.setattr(sweeping, "QUIET_S", 0.03)
    monkeypatch.setattr(sweeping, "ROUND_S", 0.01)
    monkeypatch.setattr(sweeping, "rules_naming", lambda *words: [f"-A X {word}" for word in words if word != "run-1"])
    monkeypatch.setattr(sweeping, "INTERFACES", tmp_path)
    (tmp_path / "tap9").touch()
    return MadeUpEngine


def test_what_comes_late_goes_too_and_rules_on_its_networks_are_left_to_people(engine):
    engine.api = MadeUpApi(late={"c2": "container", "n2-of-another-name": "network"})
    swept = sweep("run-1", within_s=2)
    assert set(swept.removed) == {
        "container name-c1", "container name-c2", "network name-n1", "network name-n2-of-another-name",
    }  # fmt: skip
    assert swept.left == (Remain("rule", "-A X tap123"), Remain("rule", "-A X br-n2-of-anothe"))
    assert engine.api.asked[0]["filters"] == {"label": "aftershock.run=run-1"}
    assert engine.api.there == {}


def test_what_is_stuck_is_named_within_the_limit(engine, capsys):
    engine.api = MadeUpApi(stuck=["c1"])
    swept = sweep("run-1", within_s=0.2)
    assert swept.removed == ()
    assert swept.left == (Remain("container", "name-c1", "c1"), Remain("network", "name-n1", "n1", interface="tap123"))


def test_it_tells_json_also_without_an_engine(engine, monkeypatch, capsys):
    engine.api = MadeUpApi()
    sweep_and_tell("run-1")
    assert json.loads(capsys.readouterr().out)["problem"] == ""

    def refuses(*_):
        raise MachineError("an engine", "connection refused", "start it")

    monkeypatch.setattr(sweeping, "Engine", refuses)
    sweep_and_tell("run-1")
    assert json.loads(capsys.readouterr().out) == {"removed": [], "left": [], "problem": "connection refused"}


def test_an_interface_that_is_there_again_is_another_run_s(engine):
    assert sweeping.freed(["tap8", "tap9", "tap8", ""]) == ["tap8"]


def test_only_what_was_asked_for_is_cleared(engine):
    engine.api = MadeUpApi(stuck=["n1"])
    one = engine()
    found = labelled(one)
    assert found == [
        Labelled("container", "name-c1", "c1", "run-1", "m"),
        Labelled("network", "name-n1", "n1", "run-1", "m", "tap123"),
    ]  # fmt: skip
    assert clear(one, found[1:], within_s=0.05) == found[1:]
    assert engine.api.there == {"c1": "container", "n1": "network"}
    assert clear(one, found[:1]) == []
