"""Scenarios as data: ids, variants, the registry of what is on disk."""

import subprocess
import sys

import pytest

from harness.settings import PROJECT_ROOT
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


def asked_anew(folder, then="sorted(story.registry())"):
    """Ask for the registry of a folder in a fresh interpreter, and return what it printed and its last words."""
    code = (
        "import pathlib, sys; from harness import story; "
        f"story.SCENARIOS_DIR = pathlib.Path({str(folder)!r}); print({then})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=20
    )
    return done.stdout.strip(), (done.stderr.strip().splitlines() or [""])[-1]


STORY = """\
from harness.story import scenario
@scenario("one-more")
async def test_it(rig):
    "It holds."
"""


def test_each_file_is_imported_once(tmp_path):
    (tmp_path / "test_made_up.py").write_text(STORY)
    (tmp_path / "test_other.py").write_text("import sys; assert 'scenarios.test_made_up' in sys.modules\n")
    printed, wrong = asked_anew(tmp_path, "story.registry()['one-more'] is story.registry()['one-more']")
    assert (printed, wrong) == ("True", "")


def test_a_file_that_asks_for_the_registry_while_it_is_imported_is_told_so(tmp_path):
    (tmp_path / "test_made_up.py").write_text(f"{STORY}\nfrom harness.story import registry\nregistry()\n")
    printed, wrong = asked_anew(tmp_path)
    assert printed == ""
    assert "test_made_up.py asks for the registry in line 7, while it is imported" in wrong
    assert "pytest_generate_tests" in wrong


def test_a_file_that_cannot_be_imported_is_not_half_there(tmp_path):
    (tmp_path / "test_made_up.py").write_text(f"{STORY}\nraise OSError('no such thing')\n")
    guarded = "[str(error) for _ in range(2) for error in [fails()]]"
    code = f"(exec({FAILS!r}, globals()), {guarded}, 'scenarios.test_made_up' in sys.modules)[1:]"
    printed, wrong = asked_anew(tmp_path, code)
    assert (printed, wrong) == ("(['no such thing', 'no such thing'], False)", "")


FAILS = """
def fails():
    try:
        story.registry()
    except OSError as error:
        return error
"""
