"""Scenarios as data: ids, variants, the registry of what is on disk."""

import pytest

from harness.story import info_of, registry, scenario


def test_ids_carry_the_variants_in_brackets():
    @scenario("hurt-it", way={"kill": 1, "restart": 2})
    async def story(rig, way):
        """It is hurt."""

    info = info_of(story)
    assert info is not None
    assert info.ids() == ("hurt-it[kill]", "hurt-it[restart]")
    assert info.parameter == "way"
    assert info.doc == "It is hurt."


def test_one_variant_parameter_only():
    with pytest.raises(TypeError, match="one variant parameter"):
        scenario("two", way={}, away={})


def test_the_incidents_own_stories_are_there():
    found = registry()
    assert found["baseline"].baseline
    assert list(found["force-quit-restart-cloud"].variants) == ["vanish", "kill", "restart"]
    assert found["force-quit-restart-cloud"].checklist
    assert len(found["reconnect-within-grace"].ids()) == 6
