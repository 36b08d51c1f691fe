"""A defect's name is either known or an error that lists the known ones."""

import pytest

from harness.reference.defects import DEFECTS, Defects, UnknownDefect, parse


def test_every_key_names_its_own_defect():
    assert all(key == f"{d.part}:{d.name}" and d.incident and d.what.endswith(".") for key, d in DEFECTS.items())


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], set()),
        (["", " , "], set()),
        (["mute"], {"mute"}),
        (["bridge:mute, refuse-existing-session"], {"mute", "refuse-existing-session"}),
        (["mute,cloud:no-getstatus", "bridge:mute"], {"mute"}),
    ],
)
def test_reads_lists_and_keeps_its_own_part(names, expected):
    assert parse("bridge", names) == expected


def test_passes_over_a_known_defect_of_another_part():
    assert parse("cloud", ["bridge:mute"]) == frozenset()


@pytest.mark.parametrize("name", ["mutte", "bridge:mutte", "nobody:mute", "no-getstatus"])
def test_an_unknown_name_lists_the_known_ones(name):
    with pytest.raises(UnknownDefect) as caught:
        parse("bridge", [name])
    assert "bridge knows: cleanup-by-user-id, deaf-after-gap" in str(caught.value)
    assert name.removeprefix("bridge:") in str(caught.value)


def test_an_unknown_name_of_another_part_lists_that_part():
    with pytest.raises(UnknownDefect, match="cloud knows: ack-hides-audio-failure"):
        parse("bridge", ["cloud:mute"])


def test_asking_for_a_typo_raises():
    defects = Defects("bridge", frozenset({"mute"}))
    assert defects.has("mute")
    assert not defects.has("refuse-existing-session")
    with pytest.raises(UnknownDefect):
        defects.has("refuse-existing-sesion")


def test_cannot_be_made_with_a_typo():
    with pytest.raises(UnknownDefect):
        Defects("bridge", frozenset({"mutte"}))
