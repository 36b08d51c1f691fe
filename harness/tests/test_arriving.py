"""People whose phones share a process: names whose speakers differ, and requests that say whose phone is meant."""

from typing import Any

import pytest

from harness.control import ControlError, Puppet
from harness.errors import FaultDidNotLand
from harness.rig.arriving import Guest, names_for
from harness.rig.people import Person
from harness.speech import speaker_id


def person(name, kind: type[Person] = Person) -> Any:
    nothing: Any = None
    return kind(name, f"{name}@example.com", nothing, nothing)


def test_names_of_a_crowd_have_speakers_of_their_own(monkeypatch):
    monkeypatch.setattr(
        "harness.rig.arriving.speaker_id", lambda name: speaker_id("alice" if name == "guest2" else name)
    )
    assert names_for(3, [person("alice")]) == ["guest1", "guest3", "guest4"]
    assert len({speaker_id(name) for name in names_for(50, [])}) == 50


async def test_a_guest_is_not_killed_alone():
    with pytest.raises(FaultDidNotLand, match="shares its process"):
        await person("guest1", Guest).kill()


async def test_a_process_tells_its_phones_apart(tmp_path):
    puppet = Puppet("harness.phone", run="r", run_dir=tmp_path, proc="phone-1")
    await puppet.start()
    try:
        for name, speaker in (("guest1", 1), ("guest2", 2)):
            await puppet.ask(
                "configure", person=name, user_id=f"{name}@example.com", core_token="t", cloud_url="ws://127.0.0.1:9",
                rest_url="http://127.0.0.1:9", livekit_url="", speaker=speaker, epoch_ns=1,
            )  # fmt: skip
        await puppet.ask("talk", phone="guest2", on=True)
        assert (await puppet.ask("state", phone="guest2"))["talking"]
        assert not (await puppet.ask("state", phone="guest1"))["talking"]
        with pytest.raises(ControlError, match="guest1, guest2"):
            await puppet.ask("state")
    finally:
        await puppet.stop()
